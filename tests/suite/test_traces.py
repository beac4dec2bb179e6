"""One payment is one connected graph of traces, from a caller to the bank and back, in every process of the suite."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span as ApiSpan

from batzen import errors
from local.environments import SERVICES
from local.ports import free_ports
from local.storage import Storage
from local.suite import running_suite
from tests.eventually import eventually
from tests.forking import ForkServer
from tests.reference.sequence import Message, Note, parsed
from tests.status.restarts import RestartablePostgres
from tests.suite.collector import Span, collecting, pieces
from tests.suite.flow_journeys import FLOWS, Stage
from tests.suite.flows import Recording, Step, differences, store, stored
from tests.suite.journeys import PAYER, SELLER, Traveller
from tests.suite.traced import Traced

THREE_DS: Final = "pm_card_threeDSecure2Required"
CARD: Final = "4242424242424242"

HEAD: Final = "sequenceDiagram\nparticipant A\nparticipant B\nparticipant Stripe"
QUIET_S: Final = 8.0
"""Longer than a process keeps spans before it sends them."""
RECORDED_WITHIN_S: Final = 60.0

OF_THE_START: Final = frozenset({
    "orchestrator server OrchestratorService/StartPayment", "orchestrator client commit start.plan",
    "orchestrator client PricingService/CreateQuote", "pricing server PricingService/CreateQuote",
    "orchestrator client IntentService/CreateIntent", "gateway server IntentService/CreateIntent",
    "gateway client stripe POST payment_intents",
    "orchestrator client StatusService/OpenPayment", "status server StatusService/OpenPayment",
})  # fmt: skip
OF_THE_SUBMIT: Final = frozenset({
    "orchestrator server OrchestratorService/SubmitPayment",
    "orchestrator client IntentService/ConfirmIntent", "gateway server IntentService/ConfirmIntent",
    "gateway client stripe POST payment_intents one confirm",
    "orchestrator client StatusService/RecordTransition", "status server StatusService/RecordTransition",
})  # fmt: skip
OF_WHAT_THE_BANK_SAID: Final = frozenset({
    "gateway server webhook", "gateway consumer work events", "gateway consumer work deliveries",
    "gateway client GatewayEventSinkService/DeliverEvent", "orchestrator server GatewayEventSinkService/DeliverEvent",
    "orchestrator consumer work payments", "orchestrator client StatusService/RecordTransition",
    "status server StatusService/RecordTransition",
})  # fmt: skip


@dataclass(frozen=True)
class Caller:
    """A service that keeps traces of its own."""

    spans: InMemorySpanExporter
    provider: TracerProvider

    def begin(self, name: str) -> ApiSpan:
        return self.provider.get_tracer("shop").start_span(name)

    @contextmanager
    def under(self, span: ApiSpan) -> Iterator[None]:
        """Call inside under a span."""
        token = context.attach(trace.set_span_in_context(span))
        try:
            yield
        finally:
            context.detach(token)

    def written(self) -> list[Span]:
        return [
            Span(
                service="shop",
                name=one.name,
                kind="internal",
                trace_id=f"{one.get_span_context().trace_id:032x}",  # type: ignore[union-attr]
                span_id=f"{one.get_span_context().span_id:016x}",  # type: ignore[union-attr]
                parent_id="",
                links=(),
                attributes={},
            )
            for one in self.spans.get_finished_spans()
        ]


@pytest.fixture
def caller() -> Caller:
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Caller(exporter, provider)


@pytest.fixture(scope="module")
async def traced(suite_folder: Path, suite_postgres: RestartablePostgres) -> AsyncIterator[Traced]:
    storage = Storage(
        admin_url=suite_postgres.server.admin_url, passwords=suite_folder / "passwords.json", prefix="traced_"
    )
    armed = suite_folder / "armed"
    async with (
        collecting() as (collector, address),
        ForkServer() as forks,
        running_suite(
            suite_folder / "traced",
            ports=free_ports(),
            storage=storage,
            spawn=forks.spawn,
            extra=traced_by(address, orchestrator={"BATZEN_CRASH_FILE": str(armed)}),
        ) as suite,
        suite.client("service", sub="shop") as shop,
        suite.client("payer", sub=PAYER) as payer,
    ):
        traveller = Traveller(suite, shop, payer, suite.sandbox)
        await traveller.put_seller()
        await traveller.start()
        await traveller.until_followed()
        yield Traced(suite, collector, traveller, armed)


def traced_by(address: str, **besides: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the settings of services of which every call is recorded."""
    tracing = {"BATZEN_OTLP_ENDPOINT": address, "BATZEN_TRACE_RATIO": "1"}
    return {name: tracing | besides.get(name, {}) for name in SERVICES}


@pytest.fixture(scope="module")
async def played(traced: Traced, request: pytest.FixtureRequest) -> Mapping[str, Stage]:
    """Every flow of this run, played: those without webhooks first, so that none of theirs is on its way."""
    stages = {}
    asked = {item.callspec.params.get("name") for item in request.session.items if hasattr(item, "callspec")}
    flows = [(name, flow) for name, flow in FLOWS.items() if name in asked]
    for name, flow in sorted(flows, key=lambda one: one[1].has_webhooks):
        await traced.traveller.sandbox.webhooks(drop=0.0 if flow.has_webhooks else 1.0)
        stages[name] = Stage(traced)
        await flow.play(stages[name])
    return stages


def span_of(span_id: str, *, parent: str = "", links: tuple[str, ...] = ()) -> Span:
    return Span(
        service="s",
        name="n",
        kind="server",
        trace_id="t",
        span_id=span_id,
        parent_id=parent,
        links=links,
        attributes={},
    )


def test_what_hangs_together_by_nothing_falls_apart() -> None:
    whole = [span_of("a"), span_of("b", parent="a"), span_of("c", links=("b",)), span_of("d", parent="c")]

    assert len(pieces(whole)) == 1
    assert len(pieces([*whole[:2], span_of("c"), whole[3]])) == 2  # a link is missing
    assert len(pieces([*whole[:1], *whole[2:]])) == 2  # a span is


async def test_one_payment_is_one_connected_graph(traced: Traced, caller: Caller) -> None:
    traveller, checkout = traced.traveller, caller.begin("checkout")
    with caller.under(checkout):
        payment_id = (await traveller.start()).payment.payment_id
    await traveller.submit(payment_id, THREE_DS)
    await traveller.sandbox.authenticate((await traveller.intent_of(payment_id))["id"], succeed=True)
    with caller.under(checkout):
        await traveller.until(payment_id, "SUCCEEDED")  # the webhook alone takes it there
    checkout.end()
    await traced.until_told(payment_id, *OF_THE_START, *OF_THE_SUBMIT, *OF_WHAT_THE_BANK_SAID)

    def told() -> list[Span]:
        return [*traced.of_payment(payment_id), *caller.written()]

    # Each process sends its spans when it comes to that: a call may be there before who made it.
    await eventually(lambda: not hanging(told()), what=lambda: f"these have a parent: {hanging(told())}")
    spans = told()

    trace_id = f"{checkout.get_span_context().trace_id:032x}"
    by_trace: dict[str, set[str]] = {}
    for one in spans:
        by_trace.setdefault(one.trace_id, set()).add(one.title)
    assert by_trace[trace_id] >= OF_THE_START | {"shop internal checkout"}
    (of_submit,) = [titles for titles in by_trace.values() if "gateway server IntentService/ConfirmIntent" in titles]
    assert of_submit >= OF_THE_SUBMIT
    assert not of_submit & OF_THE_START  # a payer's browser has no say in whose trace it is
    assert by_trace[trace_id].isdisjoint(OF_WHAT_THE_BANK_SAID - OF_THE_SUBMIT)

    assert len(pieces(spans)) == 1, [[one.title for one in piece] for piece in pieces(spans)]


async def test_nothing_of_the_payer_and_no_secret_is_exported(traced: Traced) -> None:
    traveller = traced.traveller
    session = await traveller.start()
    payment_id = session.payment.payment_id
    await traveller.submit(payment_id, "pm_card_visa")
    with pytest.raises(errors.InvalidArgument):
        await traveller.submit(payment_id, CARD)
    await traced.until_told(payment_id, *OF_THE_SUBMIT)
    intent = await traveller.intent_of(payment_id)
    marked = {
        "e-mail address of the payer": "payer@example.ch",
        "their name": "Pia Payer",
        "their card": CARD,
        "e-mail address of the seller": "seller@example.ch",
        "id of the payer": PAYER,
        "id of the seller": SELLER,
        "secret of the intent": session.client_secret,
        "end of any secret": "_secret_",
        "id of the intent": intent["id"],
        "id of the customer": intent["customer"],
        "any token": "eyJ",
        "key of Stripe": traced.suite.stripe.api_key,
        "secret of webhooks": traced.suite.stripe.webhook_secrets,
        "any password": "postgresql://",
    }

    assert payment_id in traced.collector.text
    assert [what for what, value in marked.items() if value in traced.collector.text] == []


async def test_a_line_of_the_log_leads_to_its_trace_and_back(traced: Traced) -> None:
    payment_id = (await traced.traveller.start()).payment.payment_id
    spans = await traced.until_told(payment_id, *OF_THE_START)
    (start,) = [one for one in spans if one.name.endswith("/StartPayment")]
    lines = [(service, line) for service, line in traced.lines() if line.get("trace_id") == start.trace_id]

    assert {service for service, _ in lines} == set(SERVICES)
    assert {line["correlation_id"] for _, line in lines} == {start.attributes["batzen.correlation_id"]}
    assert {service for service, line in lines if line.get("payment_id") == payment_id} >= {
        "orchestrator", "gateway", "status",
    }  # fmt: skip


async def test_no_span_hangs_in_the_air(traced: Traced) -> None:
    of_others = {one.trace_id for one in traced.collector.spans()}
    payment_id = (await traced.traveller.start()).payment.payment_id
    await traced.traveller.submit(payment_id, "pm_card_visa")
    await traced.until_told(payment_id, "gateway server webhook", *OF_THE_SUBMIT)

    def told() -> list[Span]:
        return [one for one in traced.collector.spans() if one.trace_id not in of_others]

    await eventually(lambda: not hanging(told()), what=lambda: f"these have a parent: {hanging(told())}")


def hanging(spans: Sequence[Span]) -> list[str]:
    """Return what has a parent that is not there."""
    known = {"", *(one.span_id for one in spans)}
    return [one.title for one in spans if one.parent_id not in known]


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.faults] if flow.restarts else []) for name, flow in FLOWS.items()],
)
async def test_a_flow_is_as_its_diagram_says(
    played: Mapping[str, Stage], name: str, request: pytest.FixtureRequest
) -> None:
    stage = played[name]
    if request.config.getoption("--record-flows"):
        recorded = await stage.recorded()
        quiet = Quiet(lambda: len(recorded().steps))
        await eventually(quiet.is_so, within_s=RECORDED_WITHIN_S, what="all was told")
        store(name, recorded())
    await as_told(stage, name)


async def test_no_run_went_on_beyond_its_diagram(played: Mapping[str, Stage]) -> None:
    for name, stage in played.items():
        await as_told(stage, name)


async def as_told(stage: Stage, name: str) -> None:
    """Wait until a run is as its diagram says."""
    told, recorded = parsed(stored()[name]), await stage.recorded()
    await eventually(
        lambda: not list(differences(told, recorded())),
        what=lambda: "\n".join([*differences(told, recorded()), recorded().text]),
    )


def test_every_flow_has_its_diagram() -> None:
    assert list(stored()) == list(FLOWS)


def test_a_diagram_that_says_something_else_than_the_run_is_found() -> None:
    def run(*lines: tuple[str, int, int]) -> Recording:
        diagram = parsed("\n".join([HEAD, *(line for line, _, _ in lines)]))
        return Recording(
            [Step(said=said, started_ns=began, ended_ns=ended)
             for said, (_, began, ended) in zip(diagram.steps, lines, strict=True)
             if isinstance(said, Message | Note)]
        )  # fmt: skip

    asks, pays, due = "A->>B: Asks", "B->>Stripe: POST charges", "Note over B: due: payments"
    both = run((asks, 0, 9), (pays, 2, 4), (due, 5, 6))

    told = parsed("\n".join([HEAD, asks, pays, due]))
    assert list(differences(told, both)) == []
    assert list(differences(parsed("\n".join([HEAD, pays, asks, due])), both)) == []  # at the same time
    assert list(differences(told, run((asks, 0, 9), (pays, 2, 4), (due, 5, 6), (due, 7, 8)))) == []
    assert list(differences(parsed("\n".join([HEAD, asks, due])), both)) == [
        "B->>Stripe: POST charges: 0 times in the diagram, 1 times in the run"
    ]
    assert list(differences(told, run((asks, 0, 9), (due, 5, 6)))) == [
        "B->>Stripe: POST charges: 1 times in the diagram, 0 times in the run"
    ]
    assert list(differences(told, run((asks, 0, 9), (pays, 2, 4)))) == ["Note over B: due: payments: not in the run"]
    arrived = "Note over B: due: events"  # done at its arrival where it shows nothing new
    assert list(differences(parsed("\n".join([HEAD, asks, arrived])), run((asks, 0, 9)))) == []
    assert list(differences(told, run((pays, 0, 1), (asks, 2, 9), (due, 5, 6)))) == [
        "A->>B: Asks stands before B->>Stripe: POST charges, which was over when it began"
    ]
    apart = run((pays, 0, 1), (asks, 2, 9), (due, 5, 6))
    beside = Recording([replace(one, trace_id=str(i)) for i, one in enumerate(apart.steps)])
    assert list(differences(told, beside)) == []  # nobody waits for what is done in another trace


@dataclass
class Quiet:
    """Whether a number has not changed for a while."""

    number: Callable[[], int]
    last: int = -1
    since: float = 0.0

    def is_so(self) -> bool:
        now, number = time.monotonic(), self.number()
        if number != self.last:
            self.last, self.since = number, now
        return now - self.since > QUIET_S
