"""The site of `make docs` has what there is to look up, and each of its checks can fail."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from batzen.orchestrator.v1.orchestrator_pb2 import PaymentSession
from tests.metrics import CATALOGUE
from tests.reference.build import STYLE, files, site, write
from tests.reference.checks import faults_of_contracts, faults_of_examples, faults_of_site
from tests.reference.contracts import Contracts, contracts
from tests.reference.declared import COMMANDS, METRICS, SETTINGS, alerts
from tests.reference.documents import NoSuchPlace, place_of
from tests.reference.examples import as_json, read_examples
from tests.reference.markdown import rendered
from tests.reference.refusals import split_errors
from tests.reference.sequence import NotUnderstood, parsed, svg, told
from tests.reference.state_diagram import ways
from tests.reference.templating import FOLDER
from tests.settings import names

RPC = "contracts/orchestrator/v1/orchestrator.html"
START = "batzen.orchestrator.v1.OrchestratorService/StartPayment"


@pytest.fixture(scope="module")
def pages() -> Mapping[str, str]:
    return site()


def style() -> str:
    return (FOLDER / STYLE).read_text()


def test_the_site_is_whole_and_every_contract_is_told(pages: Mapping[str, str]) -> None:
    assert list(faults_of_site(pages, [*files(pages), STYLE], style())) == []
    assert list(faults_of_contracts(contracts())) == []


def test_what_there_is_has_its_place(pages: Mapping[str, str]) -> None:
    for rpc in contracts().rpcs:
        anchor = f'id="{rpc.service.rpartition(".")[2]}.{rpc.name}"'
        assert sum(anchor in text for page, text in pages.items() if page.startswith("contracts/")) == 1, rpc.method
    assert {name for name in names() if f'id="{name}"' in pages[SETTINGS]} >= {
        name for name in names() if not name.endswith("_FILE")
    }
    for metrics in CATALOGUE.values():
        assert [one.name for one in metrics if f'id="{one.name}"' not in pages[METRICS]] == []
    for alert in alerts():
        assert f"runbook.html#{alert.anchor}" in pages[METRICS]
    for command in ("batzen pay", "batzen hooks list", "batzen up"):
        assert f"<code>{command}</code>" in pages[COMMANDS]


def test_an_rpc_says_what_its_contract_says(pages: Mapping[str, str]) -> None:
    text = pages[RPC]
    (submit,) = re.findall(r'<h3 id="OrchestratorService.SubmitPayment">.*?</article>', text, re.DOTALL)

    assert 'href="#SubmitPaymentRequest"' in submit
    assert 'href="errors.html#ErrorReason.ERROR_REASON_PRICE_CHANGED"' in submit
    assert "nothing was charged" in submit
    assert "<dd>operator, service</dd>" in submit


def test_what_is_written_opens_from_a_folder(tmp_path: Path) -> None:
    write(tmp_path / "site")

    assert (tmp_path / "site/index.html").read_text().startswith("<!DOCTYPE html>")
    assert (tmp_path / "site/docs/pictures/checkout.png").stat().st_size > 0
    assert (tmp_path / "site/docs/openapi.json").is_file()


Change = Callable[[str], str]


@pytest.mark.parametrize(
    ("change", "told_of"),
    [
        (lambda text: text.replace("</main>", ""), "not well formed"),
        (lambda text: text.replace("</main>", '<a href="gone.html">x</a></main>'), "leads to gone.html"),
        (lambda text: text.replace("</main>", '<a href="README.html#gone">x</a></main>'), "no such place"),
        (lambda text: text.replace("</main>", '<p id="content">x</p></main>'), "2 places are named #content"),
        (lambda text: text.replace("</main>", '<img src="https://a.example/b.png" alt=""/></main>'), "loads https"),
        (lambda text: text.replace("</head>", '<link rel="icon" href="//a.example/b"/></head>'), "loads //a.example"),
        (lambda text: text.replace("</head>", "<script>1</script></head>"), "has a script"),
        (lambda text: text.replace("<main", '<main onclick="x()"'), "by onclick"),
        (lambda text: text.replace("<main", '<main style="background: url(x)"'), "by style"),
    ],
)
def test_a_fault_of_a_page_is_found(pages: Mapping[str, str], change: Change, told_of: str) -> None:
    found = list(faults_of_site({**pages, "index.html": change(pages["index.html"])}, [*files(pages), STYLE], style()))

    assert len(found) == 1
    assert told_of in found[0]


def test_a_style_that_loads_something_is_found() -> None:
    found = list(faults_of_site({}, [], style() + "@import 'https://a.example/fonts.css';"))

    assert found == ["the style loads something"]


@pytest.mark.parametrize(
    ("changes", "told_of"), [({"comment": ""}, "no comment"), ({"has_errors": False}, "does not name its errors")]
)
def test_an_rpc_that_says_too_little_is_found(changes: dict[str, object], told_of: str) -> None:
    whole = contracts()
    (file,) = (one for one in whole.files if one.path.endswith("orchestrator.proto"))
    (service,) = file.services
    lesser = replace(service, rpcs=[replace(service.rpcs[0], **changes), *service.rpcs[1:]])  # type: ignore[arg-type]
    without = Contracts([replace(one, services=[lesser]) if one is file else one for one in whole.files])

    (fault,) = faults_of_contracts(without)

    assert fault.startswith("batzen.orchestrator.v1.OrchestratorService/StartPayment")
    assert told_of in fault


def test_a_message_or_field_without_a_comment_is_found() -> None:
    whole = contracts()
    (file,) = (one for one in whole.files if one.path.endswith("money.proto"))
    (money,) = file.messages
    bare = replace(money, comment="", fields=[replace(money.fields[0], comment=""), *money.fields[1:]])

    assert list(faults_of_contracts(Contracts([replace(file, messages=[bare])]))) == [
        "batzen.type.v1.Money: no comment",
        f"batzen.type.v1.Money.{money.fields[0].name}: no comment",
    ]


def test_every_rpc_has_an_example_that_a_test_recorded(pages: Mapping[str, str]) -> None:
    assert list(faults_of_examples(contracts(), read_examples())) == []
    assert f"Recorded by <code>{read_examples()[START].test}</code>" in pages[RPC]


@pytest.mark.parametrize(
    ("changes", "told_of"),
    [
        ({"requests": [{"payer_idd": "payer_1"}]}, 'no StartPaymentRequest: Message type "batzen'),
        ({"responses": [{"session": {"client_secret": 7}}]}, "no StartPaymentResponse"),
        ({"responses": []}, "0 messages of StartPaymentResponse"),
        ({"requests": [{}, {}]}, "2 messages of StartPaymentRequest"),
        ({"test": "tests/orchestrator/test_payments.py::test_gone"}, "a test that there is not"),
    ],
)
def test_an_example_that_is_no_example_is_found(changes: dict[str, object], told_of: str) -> None:
    examples = read_examples()
    changed = {**examples, START: replace(examples[START], **changes)}  # type: ignore[arg-type]

    (fault,) = faults_of_examples(contracts(), changed)

    assert fault.startswith(START)
    assert told_of in fault


def test_an_example_too_few_and_one_too_many_are_found() -> None:
    examples = read_examples()
    gone = examples.pop(START)

    assert [one.partition(":")[0] for one in faults_of_examples(contracts(), {**examples, "a.B/C": gone})] == [
        START,
        "a.B/C",
    ]


def test_what_opens_something_is_no_part_of_an_example() -> None:
    session = PaymentSession(client_secret="pi_1_secret_abc", checkout_url="http://127.0.0.1:8080/pay/1")

    assert as_json(session) == {"client_secret": "pi_1_secret_…", "checkout_url": "https://stripe.example/pay/1"}


def test_errors_are_read_of_a_comment() -> None:
    text = "Does it.\n\nErrors, the first that applies:\n- `NOT_FOUND` / `A_GONE`, `B_GONE`: it is\n  gone.\n"
    text += "- `ABORTED` / a reason of pricing, `UNAVAILABLE` / `AWAY`: later."
    comment, how, refusals = split_errors(text)

    assert (comment, how) == ("Does it.", "the first that applies")
    assert [(one.codes, one.reasons, one.whose, one.text) for one in refusals] == [
        (["NOT_FOUND"], ["A_GONE", "B_GONE"], "", "it is gone."),
        (["ABORTED"], [], "a reason of pricing", "later."),
        (["UNAVAILABLE"], ["AWAY"], "", "later."),
    ]
    assert split_errors("Does it.") == ("Does it.", None, [])
    with pytest.raises(SystemExit, match="none"):
        split_errors("Errors:\n- sometimes")


def test_a_document_that_refers_to_nothing_is_found() -> None:
    assert place_of("docs/errors.md") == "docs/errors.html"
    assert place_of("protos/batzen/type/v1/money.proto") == "contracts/type/v1/money.html"
    with pytest.raises(NoSuchPlace):
        place_of("docs/gone.md")


def test_names_lead_to_what_they_name_and_html_of_a_document_is_shown() -> None:
    text = "# One\n\n`Known` and `unknown` of <tenant>.\n\n<!-- printed: x -->\n|a|\n<!-- end -->\n\n## One"
    read = rendered(
        text,
        link=lambda href: href,
        named=lambda name: "k.html#a" if name == "Known" else None,
        parts={"x": "<hr/>"},
    )

    assert '<a class="name" href="k.html#a"><code>Known</code></a> and <code>unknown</code>' in read.body
    assert "&lt;tenant&gt;" in read.body
    assert "<hr/>" in read.body
    assert "|a|" not in read.body
    assert [anchor for _, anchor, _ in read.headings] == ["one", "one-1"]


def test_a_diagram_is_drawn_and_told() -> None:
    diagram = parsed(
        "sequenceDiagram\n participant A as Anna\n participant B\n A->>B: asks\n alt yes\n B-->>A: <yes>\n else no\n"
        " Note over B: says nothing\n end"
    )
    drawn = svg(diagram, title="Two")

    assert drawn.count('class="arrow') == 2
    assert "&lt;yes&gt;" in drawn
    assert list(told(diagram)) == [
        "Anna to B: asks",
        "alt yes",
        "B answers Anna: <yes>",
        "else no",
        "(B: says nothing)",
    ]


@pytest.mark.parametrize("line", ["A->>C: asks", "rect rgb(0, 0, 0)", "end", "alt never ends"])
def test_a_diagram_that_would_be_drawn_wrong_is_refused(line: str) -> None:
    with pytest.raises(NotUnderstood):
        parsed(f"sequenceDiagram\nparticipant A\nparticipant B\nA->>B: asks\n{line}")


def test_a_state_diagram_is_a_table() -> None:
    text = 'stateDiagram-v2\n state "first: A" as a\n [*] --> a: begins\n a --> B'

    assert ways(text) == [("", "first: A", "begins"), ("first: A", "B", "")]
    with pytest.raises(NotUnderstood):
        ways(text + "\n note right of B")
