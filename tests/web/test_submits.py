"""A submit of a payer's: the price they were shown and where they are go with it; what is not known is no failure."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg
import httpx
import pytest

from batzen.client import new_request_id
from batzen.gateway.v1.ops_pb2 import ListAttemptsRequest
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.status.v1.status_pb2 import GetPaymentRequest, Payment
from batzen.type.v1.payment_pb2 import PaymentState
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from services.web.rates import READS
from services.wire import timestamp
from tests.eventually import WITHIN_S, eventually
from tests.web import payers
from tests.web.shop import Shop, a_confirm, a_shop, key
from tests.web.test_checkout import looked

EXPIRED_QUOTE: Final = 'course = course || \'{"quote_expire_time": "2020-01-01T00:00:00+00:00"}\''
CONFIRM: Final = "POST /v1/payment_intents/*/confirm"
COUNTED: Final = "SELECT count(*) AS counted FROM declines WHERE payment_id = $1 GROUP BY decline ORDER BY decline"
SEEN_MINOR, NOW_MINOR = 3_000, 5_400


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


async def payment_of(suite: Suite, payment_id: str) -> Payment:
    async with suite.client("service", sub="shop") as batzen:
        return (await batzen.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment


async def captured_minor(suite: Suite, payment_id: str) -> int:
    return (await payment_of(suite, payment_id)).snapshot.amounts.captured_minor


async def put_coupon(suite: Suite, code: str, percent: str) -> None:
    discount = price_book_pb2.Discount(
        discount_id=code.lower(),
        code=code,
        direction="ADJUSTMENT_DIRECTION_DISCOUNT",
        percent=percent,
        funder="FUNDER_SELLER",
        valid_from=timestamp(datetime.now(UTC) - timedelta(days=1)),
    )
    async with suite.client("operator", sub="clerk") as batzen:
        request = pricing_pb2.PutDiscountRequest(request_id=new_request_id(), discount=discount, change_reason="A test")
        for known in (await batzen.pricing.ListDiscounts(pricing_pb2.ListDiscountsRequest(code=code))).discounts:
            request.expected_revision = known.revision.number
        await batzen.pricing.PutDiscount(request)


async def expire_quote(suite: Suite, payment_id: str) -> None:
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("orchestrator")))
    try:
        await connection.execute(f"UPDATE payments SET {EXPIRED_QUOTE} WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()


async def reads(suite: Suite, payment_id: str) -> int:
    """Return how often the hosted page of a payment was read at Stripe."""
    [session] = await suite.sandbox.objects("checkout.session", **{"metadata.payment_id": payment_id})
    routes = await suite.sandbox.calls(session["id"])
    return sum(count for route, count in routes.items() if route.startswith("GET /v1/checkout/sessions/"))


@pytest.fixture
async def payer_id(suite: Suite) -> str:
    """A payer who keeps a card."""
    made = f"payer_{new_request_id()}"
    await payers.keep(suite, made, "pm_card_visa")
    return made


async def test_nobody_pays_a_price_that_they_were_not_shown(suite: Suite, shop: Shop, payer_id: str) -> None:
    """The last look is open in one tab while another has the payment priced anew; then the form is sent twice."""
    code = f"C{secrets.token_hex(6)}".upper()
    await put_coupon(suite, code, "50")
    payment_id = await payers.started(shop, payer_id=payer_id, coupon_codes=[code], collection="ELEMENTS")
    submit = f"/pay/{payment_id}/submit"
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        old = await looked(browser, payment_id)
        await put_coupon(suite, code, "10")
        await expire_quote(suite, payment_id)
        resumed = await browser.post(f"/v1/payments/{payment_id}/resume", json={}, headers=key())
        answers = [await browser.post(submit, data=old) for _ in range(2)]
        api = {
            "payment_method_id": old["method"],
            "expected_total": {"amount_minor": SEEN_MINOR, "currency_code": "CHF"},
        }
        by_api = [
            await browser.post(f"/v1/payments/{payment_id}/confirm", json=api, headers=one) for one in [key()] * 2
        ]
        unseen = await browser.post(
            f"/v1/payments/{payment_id}/confirm", json={"payment_method_id": old["method"]}, headers=key()
        )
        legacy = {"paymentId": payment_id, "paymentMethodId": old["method"]}
        by_legacy = await browser.post("/api/payments/confirm", json=legacy | {"amountMinor": SEEN_MINOR})
        without = await browser.post(submit, data={name: value for name, value in old.items() if name != "total"})
        before = await captured_minor(suite, payment_id)
        paid = await browser.post(submit, data=await looked(browser, payment_id))

    assert resumed.json()["total_now"]["amount_minor"] == NOW_MINOR
    assert [one.status_code for one in answers] == [409, 409]
    assert all("CHF\xa030.00" in one.text and "CHF\xa054.00" in one.text for one in answers)
    assert [(one.status_code, one.json()["code"]) for one in by_api] == [(409, "PRICE_CHANGED")] * 2
    assert by_api[0].json()["metadata"] == {"total_minor": str(NOW_MINOR), "currency_code": "CHF"}
    assert (unseen.status_code, unseen.json()["field"]) == (400, "expected_total")
    assert (by_legacy.status_code, by_legacy.json()["code"]) == (409, "PRICE_CHANGED")
    assert without.status_code == 400
    assert before == 0
    assert (paid.status_code, await captured_minor(suite, payment_id)) == (303, NOW_MINOR)


async def test_a_payers_declines_by_token_count_for_where_they_are(suite: Suite, shop: Shop) -> None:
    payment_id = (await shop.start())["payment"]["payment_id"]
    confirm = f"/v1/payments/{payment_id}/confirm"
    for asker in (shop.payer, shop.service):
        await asker.post(confirm, json=a_confirm("pm_card_chargeDeclined"), headers=key())

    connection = await asyncpg.connect(plain_dsn(suite.database_url("orchestrator")))
    try:
        rows = await connection.fetch(COUNTED, payment_id)
    finally:
        await connection.close()
    assert [row["counted"] for row in rows] == [3, 2]  # payer, card, and where the payer is; a service is elsewhere


async def test_a_page_that_asks_to_be_checked_is_read_at_stripe_so_often_and_no_more(
    suite: Suite, shop: Shop, payer_id: str
) -> None:
    payment_id = await payers.started(shop, payer_id=payer_id)
    before, began = await reads(suite, payment_id), time.monotonic()
    async with shop.browser(payment_id, payer_id=payer_id) as browser:
        answers = [
            await browser.get(f"/pay/{payment_id}", params={one: "1"})
            for one in ("check", "returned") * READS.burst * 2
        ]

    assert {one.status_code for one in answers} == {303}
    earned = READS.per_second * (time.monotonic() - began)
    assert READS.burst <= await reads(suite, payment_id) - before <= READS.burst + earned + 2


async def test_what_is_not_known_of_a_submit_is_never_told_as_a_failure(
    suite: Suite, shop: Shop, payer_id: str
) -> None:
    """The gateway dies, over one submit and before two: nobody is told to try again, and each is paid once."""
    paying = [await payers.started(shop, payer_id=payer_id, collection="ELEMENTS") for _ in range(3)]
    by_page, by_legacy, by_api = paying
    bearer = {"authorization": f"Bearer {suite.token('payer', sub=payer_id)}"}
    async with (
        shop.browser(by_page, payer_id=payer_id) as browser,
        httpx.AsyncClient(base_url=suite.front_url("bff"), headers=bearer, timeout=WITHIN_S) as payer,
    ):
        form = await looked(browser, by_page)
        legacy = {"paymentId": by_legacy, "paymentMethodId": form["method"]}
        await suite.sandbox.fault("pause", route=CONFIRM)
        submitting = asyncio.ensure_future(browser.post(f"/pay/{by_page}/submit", data=form))
        await suite.sandbox.until_paused()
        await suite.kill("gateway")
        await suite.sandbox.resume()
        try:
            page = await submitting
            old = await payer.post("/api/payments/confirm", json=legacy)
            new = await payer.post(f"/v1/payments/{by_api}/confirm", json=a_confirm(form["method"]), headers=key())
        finally:
            await suite.start("gateway")

    assert (page.status_code, "Do not pay again." in page.text) in [(200, True), (303, False)]
    assert (old.status_code, old.json()["status"], old.json()["code"]) == (200, "processing", "OUTCOME_UNKNOWN")
    assert (new.status_code, new.json()["payment"]["state"]) == (202, "PROCESSING")
    for payment_id in paying:

        async def is_paid(of: str = payment_id) -> bool:
            return (await payment_of(suite, of)).state == PaymentState.PAYMENT_STATE_SUCCEEDED

        await eventually(is_paid)
        async with suite.client("operator", sub="clerk") as batzen:
            answer = await batzen.gateway_ops.ListAttempts(ListAttemptsRequest(payment_id=payment_id))
        assert len([one for one in answer.attempts if one.captured_minor]) == 1
