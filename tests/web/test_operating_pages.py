"""The pages by which the suite is operated, before a real suite: who sees them, what they do, what is written down."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import quote

import asyncpg
import httpx
import pytest

from batzen.gateway.v1.ops_pb2 import ListDeadLettersRequest
from batzen.pricing.v1.price_book_pb2 import FeePlan
from batzen.pricing.v1.pricing_pb2 import PutFeePlanRequest
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S, eventually
from tests.gateway.receiving import event_of, signature_of
from tests.web.logging_in import OPERATOR, READER, age_log_ins, console_browser, logged_in

PATHS: Final = (
    "/attention",
    "/stuck",
    "/dead-letters",
    "/disputes",
    "/reconciliations",
    "/sellers",
    "/sellers/receivables",
    "/sellers/payouts",
    "/price-book/tax-rates",
    "/price-book/tax-rates?history=all",
    "/price-book/fee-plans",
    "/price-book/discounts",
    "/webhooks",
    "/notifications",
    "/notifications/mails",
    "/figures",
    "/figures?days=7&currency=CHF&seller=nobody",
    "/figures/seller",
    "/figures/method",
    "/figures.csv",
    "/health",
    "/health/now",
    "/audit",
    "/audit?source=gateway",
    "/audit?source=console",
)
ACTS: Final = (
    "/dead-letters/replay",
    "/attention/pay_a/6f1c0b7e-6a0e-4ed5-8a61-0a4f3f6c7d10/acknowledge",
    "/disputes/dp_1/evidence",
    "/disputes/dp_1/submit",
    "/reconciliations",
    "/sellers/link",
    "/price-book/fee-plans/standard/put",
    "/webhooks/put",
    "/webhooks/a/test",
    "/webhooks/a/rotate",
    "/webhooks/a/delete",
    "/webhooks/a/replay",
    "/notifications/mails/replay",
)
"""All that changes something."""
_GIVE_UP: Final = """
WITH run AS (
    UPDATE event_runs SET failures = 11, due_time = now() - interval '1 s'
    WHERE subject = $1 AND held_until = '-infinity' AND due_time IS NOT NULL RETURNING subject)
UPDATE events SET receive_time = receive_time - interval '11 minutes' FROM run
WHERE events.subject = run.subject AND state = 'WAITING' RETURNING true
"""
"""In one statement and while nobody works on it, or the engine counts a try of its own on top."""
_IS_DEAD: Final = "SELECT dead_time IS NOT NULL FROM event_runs WHERE subject = $1"
_FORM: Final = r'action="{action}".*?name="request_id" value="([^"]+)"'


@pytest.fixture
async def operator(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of an operator."""
    async with logged_in(suite, OPERATOR) as browser:
        yield browser


@pytest.fixture
async def reader(suite: Suite) -> AsyncIterator[httpx.AsyncClient]:
    """A browser of somebody who may only read."""
    async with logged_in(suite, READER) as browser:
        yield browser


async def field(browser: httpx.AsyncClient, page: str, action: str) -> str:
    """Return the request id of a form of a page."""
    html = (await browser.get(page)).text
    found = re.search(_FORM.format(action=re.escape(action)), html, re.DOTALL)
    assert found, f"{page} has no form to {action}"
    return found[1]


async def test_operators_see_every_page_and_nobody_else_does(suite: Suite, operator: httpx.AsyncClient) -> None:
    async with console_browser(suite) as nobody:
        seen = await asyncio.gather(*(operator.get(path) for path in PATHS))
        refused = await asyncio.gather(*(nobody.get(path) for path in PATHS))

    assert {answer.status_code for answer in seen} == {200}
    assert all("<h1" in answer.text or answer.url.path.endswith(".csv") for answer in seen)
    ways = {(answer.status_code, answer.headers["location"].partition("?")[0]) for answer in refused}
    assert ways == {(303, "/login")}


async def test_who_only_reads_sees_all_and_no_form_and_is_refused_what_they_send_all_the_same(
    reader: httpx.AsyncClient,
) -> None:
    pages = await asyncio.gather(*(reader.get(path) for path in PATHS))
    request_id = await own(reader)
    sent = await asyncio.gather(*(reader.post(path, data={"request_id": request_id, "reason": "x"}) for path in ACTS))

    assert {page.status_code for page in pages} == {200}
    forms = {form for page in pages for form in re.findall(r'<form [^>]*method="post"[^>]*>', page.text)}
    assert forms == {'<form action="/logout" method="post">'}
    assert {answer.status_code for answer in sent} == {403}


async def test_a_form_of_another_session_does_nothing(operator: httpx.AsyncClient, suite: Suite) -> None:
    async with logged_in(suite, OPERATOR) as other:
        foreign = (await other.get("/me")).json()["request_id"]
        sent = await asyncio.gather(*(operator.post(path, data={"request_id": foreign}) for path in ACTS))

    assert {answer.status_code for answer in sent} == {403}


async def test_a_receiver_is_put_tested_given_a_new_secret_and_deleted(operator: httpx.AsyncClient) -> None:
    name = f"hook-{secrets.token_hex(4)}"
    put = await field(operator, "/webhooks", "/webhooks/put")
    given = {
        "request_id": put,
        "subscription": name,
        "url": "http://127.0.0.1:9/in",
        "form": "full",
        "reason": "a test",
    }
    made = await operator.post("/webhooks/put", data=given)
    again = await operator.post("/webhooks/put", data=given)
    test = await field(operator, f"/webhooks/{name}", f"/webhooks/{name}/test")
    tested = await operator.post(f"/webhooks/{name}/test", data={"request_id": test})
    page = (await operator.get(f"/webhooks/{name}")).text
    rotate = await field(operator, f"/webhooks/{name}", f"/webhooks/{name}/rotate")
    rotated = await operator.post(f"/webhooks/{name}/rotate", data={"request_id": rotate, "reason": "a test"})
    delete = await field(operator, f"/webhooks/{name}", f"/webhooks/{name}/delete")
    untyped = await operator.post(f"/webhooks/{name}/delete", data={"request_id": delete, "reason": "a test"})
    deleted = await operator.post(
        f"/webhooks/{name}/delete", data={"request_id": delete, "reason": "a test", "typed": name}
    )
    gone = await operator.get(f"/webhooks/{name}")

    first = re.search(r"whsec_[A-Za-z0-9+/=]+", made.text)
    second = re.search(r"whsec_[A-Za-z0-9+/=]+", rotated.text)
    assert first
    assert second
    assert again.status_code in (200, 303), "a double submit is one request"
    assert first[0] != second[0]
    assert "whsec_" not in page
    assert "The receiver did not take it." in tested.text
    assert untyped.status_code == 400
    assert (deleted.status_code, deleted.headers["location"], gone.status_code) == (303, "/webhooks", 404)


async def test_comparing_with_stripe_is_begun_and_followed(operator: httpx.AsyncClient) -> None:
    request_id = await field(operator, "/reconciliations", "/reconciliations")
    wrong = await operator.post("/reconciliations", data={"request_id": request_id, "first": "soon", "last": "later"})
    begun = await operator.post(
        "/reconciliations", data={"request_id": request_id, "first": "2026-01-01", "last": "2026-01-01"}
    )
    where = begun.headers["location"]

    async def is_done() -> bool:
        return "1 of 1 days" in (await operator.get(where)).text

    await eventually(is_done)
    runs = (await operator.get("/reconciliations")).text

    assert wrong.status_code == 400
    assert where.rpartition("/")[2] in runs


async def test_an_export_is_a_file_and_is_written_down(operator: httpx.AsyncClient) -> None:
    # Without digits: many of them in a row pass for a card number now and then, and are refused.
    marker = "".join(secrets.choice("abcdefghij") for _ in range(16))
    export = await operator.get("/audit.csv", params={"actor": marker})
    entries = (await operator.get("/audit", params={"source": "console"})).text

    assert export.status_code == 200, export.text
    assert export.headers["content-type"] == "text/csv; charset=utf-8"
    assert export.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert export.text.startswith("\ufeffWhen,Who,What,")
    assert f"actor={marker}" in entries


async def test_pages_of_the_front_s_own_audit_follow_each_other(operator: httpx.AsyncClient) -> None:
    for _ in range(2):
        await operator.get("/audit.csv", params={"actor": "x"})
    malformed = await operator.get("/audit", params={"source": "console", "page": "1 OR 1=1"})

    assert malformed.status_code == 400
    assert "Begin with the first page." in malformed.text


async def test_what_a_service_refuses_is_said_with_its_reason(operator: httpx.AsyncClient) -> None:
    unknown = await operator.get("/disputes/dp_nowhere")
    token = await operator.get("/disputes", params={"page": "not-a-token"})

    assert unknown.status_code == 404
    assert "DISPUTE_NOT_FOUND" in unknown.text
    assert token.status_code == 400
    assert "PAGE_TOKEN_INVALID" in token.text


async def test_a_dead_letter_is_replayed_and_what_came_of_it_is_shown(
    suite: Suite, operator: httpx.AsyncClient
) -> None:
    letter = await dead_letter(suite)

    details = (await operator.get(f"/dead-letters/{quote(letter)}")).text
    request_id = await field(operator, "/dead-letters", "/dead-letters/replay")
    none = await operator.post("/dead-letters/replay", data={"request_id": request_id})
    replayed = await operator.post("/dead-letters/replay", data={"request_id": request_id, "chosen.1": letter})
    again = await operator.post("/dead-letters/replay", data={"request_id": request_id, "chosen.1": letter})
    entries = (await operator.get("/audit", params={"source": "console"})).text

    assert "payment_intent.succeeded" in details
    assert "As stored" in details or "came in" in details, "what was stored is there to be read"
    assert escape(letter) in entries, "that it was looked at is written down"
    assert none.status_code == 400
    assert "1 dead letter failed again." in replayed.text
    assert escape(letter) in replayed.text
    assert again.status_code == 200, "a double submit is one request"


async def dead_letter(suite: Suite) -> str:
    """Have an event given up whose payment is not here, as if it had waited for that until now; return its letter."""
    claim = f"pay_{''.join(secrets.choice('abcdefghij') for _ in range(26))}"
    intent = {"id": f"pi_{secrets.token_hex(8)}", "object": "payment_intent", "metadata": {"payment_id": claim}}
    now = datetime.now(UTC)
    event = event_of(intent, "payment_intent.succeeded", at=now)
    body = json.dumps(event).encode()
    secret = suite.env_for("gateway")["BATZEN_STRIPE_WEBHOOK_SECRETS"].split(",")[0]
    async with httpx.AsyncClient(timeout=WITHIN_S) as stripe:
        taken = await stripe.post(
            suite.webhook_url,
            content=body,
            headers={
                "content-type": "application/json; charset=utf-8",
                "stripe-signature": signature_of(body, secret=secret, at=now),
            },
        )
    assert taken.status_code == 200, taken.text
    owner = await asyncpg.connect(plain_dsn(suite.owner_url("gateway")))
    try:
        await eventually(lambda: owner.fetchval(_GIVE_UP, intent["id"]))
        await eventually(lambda: owner.fetchval(_IS_DEAD, intent["id"]))
    finally:
        await owner.close()
    async with suite.client("operator", sub="anna") as batzen:
        found = await batzen.gateway_ops.ListDeadLetters(ListDeadLettersRequest(page_size=200))
    return next(one.dead_letter_id for one in found.dead_letters if one.subject_id == event["id"])


async def test_a_change_of_prices_is_tried_on_a_cart_before_it_is_put_and_kept_with_its_reason(
    suite: Suite, operator: httpx.AsyncClient
) -> None:
    plan = f"plan-{secrets.token_hex(4)}"
    seller = f"seller-{secrets.token_hex(4)}"
    async with suite.client("operator", sub="anna") as batzen:
        entry = FeePlan(fee_plan_id=plan, seller_id=seller, currency_code="CHF", percent="10")
        entry.effective_from.FromSeconds(1_767_225_600)
        request = PutFeePlanRequest(request_id=str(uuid.uuid4()), fee_plan=entry, change_reason="a test")
        await batzen.pricing.PutFeePlan(request)
    path = f"/price-book/fee-plans/{plan}"
    cart = {"percent": "15", "fixed": "", "minimum": "", "maximum": "", "amount.1": "100.00 CHF", "seller.1": seller}

    tried = (await operator.get(f"{path}/try", params=cart)).text
    before = (await operator.get(path)).text
    request_id = re.search(_FORM.format(action=re.escape(f"{path}/put")), tried, re.DOTALL)
    assert request_id
    change = {"request_id": request_id[1], "percent": "15", "expected": "1"}
    silent = await operator.post(f"{path}/put", data=change)
    put = await operator.post(f"{path}/put", data={**change, "reason": "<script>alert(1)</script>"})
    late = await operator.post(f"{path}/put", data={**change, "request_id": await own(operator), "reason": "too late"})
    after = (await operator.get(path)).text
    wrong = await operator.get(f"{path}/try", params={**cart, "amount.1": "a lot"})
    late_night = {**change, "request_id": await own(operator), "expected": "2", "reason": "hours later"}
    await age_log_ins(suite, OPERATOR)
    unproven = await operator.post(f"{path}/put", data=late_night)

    assert "CHF\u00a010.00" in tried
    assert "CHF\u00a015.00" in tried
    assert "+CHF\u00a05.00" in tried
    assert "15\u00a0%" not in before, "nothing was saved by trying it"
    assert (silent.status_code, put.status_code) == (400, 303)
    assert late.status_code == 409, "somebody else changed it meanwhile"
    assert "15\u00a0%" in after
    assert "10\u00a0%" in after, "what stood before is still there"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in after
    assert "<script>alert" not in after
    assert wrong.status_code == 400
    assert unproven.status_code == 401, "prices are changed by who proved who they are a moment ago"


async def own(browser: httpx.AsyncClient) -> str:
    """Return a request id that was made for a browser's session."""
    found: str = (await browser.get("/me")).json()["request_id"]
    return found


async def test_the_processes_of_the_suite_are_asked_and_shown_with_the_limits(operator: httpx.AsyncClient) -> None:
    async def is_known() -> bool:
        return (await operator.get("/health/now")).text.count(">Ready</span>") == 6

    await eventually(is_known)
    page = (await operator.get("/health/now")).text

    for service in ("orchestrator", "pricing", "status", "gateway", "bff", "console"):
        assert f">{service}</span>" in page
    assert "at most 5 a minute" in page
    assert "at least 90 %" in page
