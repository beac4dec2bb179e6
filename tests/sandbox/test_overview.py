"""The first page of the stand-in: what it shows, what its forms do, and from where they are taken."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import httpx
import pytest

from sandbox.control import SandboxControl
from sandbox.faults import Kind
from sandbox.overview import EXPLAINED, ROWS_MAX
from tests.eventually import WITHIN_S
from tests.sandbox.samples import Api, Receiver, opened, paid, seller

Fresh = tuple[Api, SandboxControl]
EVIL = "<script>alert(1)</script>"
FAULT = {"kind": "server_error", "route": "POST /v1/customers", "times": "2", "after": "1", "seconds": "0"}
SWITCHES = {"delay_ms": "0", "duplicate": "1", "drop": "0", "skew_s": "-60", "hold": "1"}


@pytest.fixture
async def browser(fresh: Fresh) -> AsyncIterator[httpx.AsyncClient]:
    """A browser on the page: its forms say where they come from."""
    base = fresh[1].base_url
    async with httpx.AsyncClient(base_url=base, headers={"Origin": base}, trust_env=False, timeout=WITHIN_S) as client:
        yield client


class Links(HTMLParser):
    """The links and forms of a page, and whatever else it would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.actions: set[str] = set()
        self.loaded: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in ("action", "formaction"):
                self.actions.add(value or "")
            elif name in ("src", "srcset", "data") or (name == "href" and tag != "a"):
                self.loaded.append(value or "")


async def test_an_empty_one_says_so(browser: httpx.AsyncClient) -> None:
    page = await browser.get("/")

    assert page.status_code == 200
    assert page.text.count("None yet") >= 5
    assert page.headers["Referrer-Policy"] == "same-origin", "without it a form says that it comes from nowhere"
    assert "there again after a restart" in page.text


async def test_everything_is_listed_and_leads_to_the_pages_of_payers(
    fresh: Fresh, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    v1, control = fresh
    await control.endpoint(receiver.url, secrets=["whsec_one"])
    account = await seller(v1)
    asked = await paid(v1, card="pm_card_threeDSecure2Required", metadata={"payment_id": "pay_1"})
    session = await opened(v1)
    await control.drain()

    page = (await browser.get("/")).text
    links = Links(page)

    banks = [link for link in links.links if "/3ds/" in link]
    assert (await browser.get(banks[0])).status_code == 200, "where the payer authenticates"
    assert session.url in links.links
    assert f"/objects/{asked.id}" in links.links
    assert '"client_secret"' in (await browser.get(f"/objects/{asked.id}")).text.replace("&#34;", '"')
    for shown in ("pay_1", account, "payment_intent.requires_action", receiver.url, ">200</span>"):
        assert shown in page, shown
    assert [loaded for loaded in links.loaded if loaded != "data:,"] == [], "nothing from elsewhere"


async def test_what_others_wrote_is_text(fresh: Fresh, browser: httpx.AsyncClient) -> None:
    v1, _ = fresh
    intent = await v1.payment_intents.create_async(
        {"amount": 500, "currency": "chf", "metadata": {"payment_id": EVIL}, "description": EVIL}
    )
    await browser.post("/faults", data=FAULT | {"route": EVIL})

    pages = [await browser.get("/"), await browser.get(f"/objects/{intent.id}"), await browser.get(f"/objects/{EVIL}")]

    for page in pages:
        assert "<script" not in page.text
        assert "default-src 'none'" in page.headers.get("Content-Security-Policy", "default-src 'none'")
    assert "&lt;script&gt;" in pages[0].text
    assert pages[2].status_code == 404


async def test_only_the_newest_are_shown(fresh: Fresh, browser: httpx.AsyncClient) -> None:
    v1, _ = fresh
    for amount in range(ROWS_MAX + 1):
        await v1.payment_intents.create_async({"amount": 1_000 + amount, "currency": "chf"})

    page = (await browser.get("/")).text

    assert f"the newest {ROWS_MAX} of {ROWS_MAX + 1}" in page
    assert f"{10 + ROWS_MAX / 100:.2f} CHF" in page


async def test_forms_order_faults_and_take_them_back(fresh: Fresh, browser: httpx.AsyncClient) -> None:
    _, control = fresh
    answer = await browser.post("/faults", data=FAULT)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/#faults")
    [fault] = await control.faults()
    assert (fault["kind"], fault["route"], fault["times"], fault["after"]) == (
        "server_error",
        "POST /v1/customers",
        2,
        True,
    )
    assert "0 of 2" in (await browser.get("/")).text

    await browser.post("/faults", data={"kind": "timeout", "times": ""})
    assert (await control.faults())[1]["times"] is None
    await browser.post("/faults/clear")
    await browser.post("/latency", data={"ms": "0"})
    await browser.post("/resume")
    assert await control.faults() == []


async def test_forms_hold_webhooks_let_them_go_and_send_one_again(
    fresh: Fresh, browser: httpx.AsyncClient, receiver: Receiver
) -> None:
    v1, control = fresh
    await control.endpoint(receiver.url, secrets=["whsec_one"])
    await browser.post("/webhooks", data=SWITCHES)
    await v1.customers.create_async({})
    await control.drain()
    page = (await browser.get("/")).text
    assert "held (2)" in page
    assert receiver.deliveries == []

    await browser.post("/webhooks/release")
    await control.drain()
    assert len(receiver.deliveries) == 2
    [again] = {action for action in Links(page).actions if action.startswith("/events/")}
    assert (await browser.post(again)).status_code == 303
    await control.drain()
    assert len(receiver.deliveries) == 3


@pytest.mark.parametrize(
    ("path", "data"),
    [
        ("/faults", FAULT | {"kind": "nothing"}),
        ("/faults", FAULT | {"times": "0"}),
        ("/faults", FAULT | {"seconds": "soon"}),
        ("/webhooks", SWITCHES | {"drop": "101"}),
        ("/latency", {}),
    ],
)
async def test_what_cannot_be_is_refused(browser: httpx.AsyncClient, path: str, data: dict[str, str]) -> None:
    assert (await browser.post(path, data=data)).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "https://elsewhere.example"}, {"Origin": "null"}, {"Origin": ""}, {"Host": "rebound.example"}],
)
async def test_no_other_site_switches_anything(
    fresh: Fresh, browser: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    if "Host" in headers:
        headers |= {"Origin": "http://rebound.example"}
    actions = Links((await browser.get("/")).text).actions | {"/events/evt_1/deliver"}
    assert len(actions) == 7

    for action in actions:
        assert (await browser.post(action, data=FAULT, headers=headers)).status_code == 403, action
    control = await browser.post("/_control/reset", headers=headers)

    assert control.status_code == 403
    assert await fresh[1].faults() == []


async def test_no_other_site_reads_through_a_name_of_its_own(fresh: Fresh, browser: httpx.AsyncClient) -> None:
    intent = await fresh[0].payment_intents.create_async({"amount": 500, "currency": "chf"})

    for path in ("/", f"/objects/{intent.id}"):
        refused = await browser.get(path, headers={"Host": "rebound.example:7200"})
        assert (refused.status_code, intent.id in refused.text) == (403, False)
    assert (await browser.get("/", headers={"Host": "localhost:7200"})).status_code == 200


def test_every_fault_is_explained() -> None:
    assert set(EXPLAINED) == set(Kind)


async def test_every_link_within_the_page_leads_somewhere(browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/")).text

    ids = set(re.findall(r' id="([a-z]+)"', page))

    assert {link[1:] for link in Links(page).links if link.startswith("#")} <= ids
