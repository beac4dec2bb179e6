"""Limited coupons over a real channel: held by quotes, spent when redeemed, given back when released or expired."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import asyncpg
import grpc
import pytest
from google.protobuf import duration_pb2
from grpc import aio

from batzen.pricing.v1 import pricing_pb2
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from tests.pricing.conftest import CallAs, Stub
from tests.pricing.samples import NOW, Clock, chf, order, refusal_of
from tests.pricing.test_price_book import Tenant, discount, tenant

__all__ = ["tenant"]


def redeem(quote_id: str, **changes: Any) -> pricing_pb2.RedeemQuoteRequest:
    fields: dict[str, Any] = {"request_id": str(uuid.uuid4()), "quote_id": quote_id}
    return pricing_pb2.RedeemQuoteRequest(**(fields | changes))


def release(quote_id: str, **changes: Any) -> pricing_pb2.ReleaseQuoteRequest:
    fields: dict[str, Any] = {"request_id": str(uuid.uuid4()), "quote_id": quote_id}
    return pricing_pb2.ReleaseQuoteRequest(**(fields | changes))


async def counts(tenant: Tenant) -> tuple[int, int]:
    (listed,) = (await tenant.service.ListDiscounts(pricing_pb2.ListDiscountsRequest(code="summer"))).discounts
    return listed.held_count, listed.redeemed_count


async def reason_of(tenant: Tenant, **changes: Any) -> str:
    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.quote(coupon_codes=["SUMMER"], **changes)
    refusal = refusal_of(refused.value)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.field == "coupon_codes[0]"
    return refusal.reason


async def state_of(tenant: Tenant, quote_id: str) -> pricing_pb2.QuoteState:
    return (await tenant.service.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote_id))).state


async def test_a_use_is_held_redeemed_and_then_spent(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=1))
    quote = await tenant.quote(coupon_codes=["SUMMER"])
    assert (quote.adjustments[0].held, await counts(tenant)) == (True, (1, 0))
    assert await reason_of(tenant) == "COUPON_EXHAUSTED"

    redeemed = await tenant.service.RedeemQuote(redeem(quote.quote_id))

    assert redeemed == pricing_pb2.RedeemQuoteResponse(quote=quote, state=pricing_pb2.QUOTE_STATE_REDEEMED)
    assert await counts(tenant) == (0, 1)
    assert await state_of(tenant, quote.quote_id) == pricing_pb2.QUOTE_STATE_REDEEMED
    assert await reason_of(tenant) == "COUPON_EXHAUSTED"


async def test_a_released_use_can_be_held_again(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=1))
    quote = await tenant.quote(coupon_codes=["SUMMER"])

    released = await tenant.service.ReleaseQuote(release(quote.quote_id))

    assert released == pricing_pb2.ReleaseQuoteResponse(quote=quote, state=pricing_pb2.QUOTE_STATE_RELEASED)
    assert await state_of(tenant, quote.quote_id) == pricing_pb2.QUOTE_STATE_RELEASED
    assert await counts(tenant) == (0, 0)
    assert (await tenant.quote(coupon_codes=["SUMMER"])).total == chf(9_000)


async def test_an_expired_quote_gives_its_use_back_by_itself(tenant: Tenant, clock: Clock) -> None:
    await tenant.put(discount(uses_max=1))
    quote = await tenant.quote(coupon_codes=["SUMMER"], ttl=duration_pb2.Duration(seconds=60))
    clock.time = NOW + timedelta(seconds=60)

    assert await counts(tenant) == (0, 0)
    assert (await tenant.quote(coupon_codes=["SUMMER"])).total == chf(9_000)
    assert await counts(tenant) == (1, 0)
    released = await tenant.service.ReleaseQuote(release(quote.quote_id))
    assert released.state == pricing_pb2.QUOTE_STATE_EXPIRED
    assert await counts(tenant) == (1, 0)


async def test_a_release_that_is_late_by_another_clock_gives_its_use_back_once(tenant: Tenant, clock: Clock) -> None:
    """It read its clock just before the quote expired, and waited for one who came just after and gave the use back."""
    await tenant.put(discount(uses_max=2))
    quote = await tenant.quote(coupon_codes=["SUMMER"], ttl=duration_pb2.Duration(seconds=60))
    clock.time = NOW + timedelta(seconds=60)
    await tenant.quote(coupon_codes=["SUMMER"])
    clock.time = NOW + timedelta(seconds=59)

    await tenant.service.ReleaseQuote(release(quote.quote_id))

    assert await counts(tenant) == (1, 0)


@pytest.mark.parametrize("gone", ["released", "expired"])
async def test_a_late_payment_redeems_over_the_limit_and_says_so(tenant: Tenant, clock: Clock, gone: str) -> None:
    await tenant.put(discount(uses_max=1))
    late = await tenant.quote(coupon_codes=["SUMMER"])
    if gone == "released":
        await tenant.service.ReleaseQuote(release(late.quote_id))
    else:
        clock.time = NOW + timedelta(days=2)
    other = await tenant.quote(coupon_codes=["SUMMER"])

    answer = await tenant.service.RedeemQuote(redeem(late.quote_id))

    assert (answer.state, answer.over_limit) == (pricing_pb2.QUOTE_STATE_REDEEMED, True)
    assert await counts(tenant) == (1, 1)
    on_time = await tenant.service.RedeemQuote(redeem(other.quote_id))
    assert on_time.over_limit is False
    assert await counts(tenant) == (0, 2)
    assert (await tenant.service.RedeemQuote(redeem(late.quote_id))).over_limit is True


async def test_a_late_payment_within_the_limit_is_not_over_it(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=2, uses_per_payer_max=1))
    late = await tenant.quote(coupon_codes=["SUMMER"])
    await tenant.service.ReleaseQuote(release(late.quote_id))

    assert (await tenant.service.RedeemQuote(redeem(late.quote_id))).over_limit is False


async def test_a_redeemed_quote_cannot_be_released(tenant: Tenant) -> None:
    quote = await tenant.quote()
    await tenant.service.RedeemQuote(redeem(quote.quote_id))

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.service.ReleaseQuote(release(quote.quote_id))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "QUOTE_REDEEMED")


async def test_repeats_get_the_first_answer(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=5))
    first, second = [(await tenant.quote(coupon_codes=["SUMMER"])).quote_id for _ in range(2)]

    redeem_request, release_request = redeem(first), release(second)
    redeemed = await asyncio.gather(*(tenant.service.RedeemQuote(redeem_request) for _ in range(10)))
    released = await asyncio.gather(*(tenant.service.ReleaseQuote(release_request) for _ in range(10)))
    await tenant.service.RedeemQuote(redeem(second))

    assert all(answer == redeemed[0] for answer in redeemed)
    assert all(answer == released[0] for answer in released)
    assert await tenant.service.ReleaseQuote(release_request) == released[0]
    assert await counts(tenant) == (0, 2)
    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.service.RedeemQuote(redeem(second, request_id=redeem_request.request_id))
    assert refusal_of(refused.value).reason == "REQUEST_ID_REUSED"


@pytest.mark.parametrize("method", ["RedeemQuote", "ReleaseQuote"])
@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"request_id": ""}, "FIELD_MISSING", "request_id"),
        ({"request_id": "1"}, "FIELD_INVALID", "request_id"),
        ({"quote_id": ""}, "FIELD_MISSING", "quote_id"),
        ({"quote_id": "quote_\0"}, "FIELD_INVALID", "quote_id"),
        ({}, "QUOTE_NOT_FOUND", None),
    ],
)
async def test_a_change_that_is_wrong_is_refused(
    pricing: Stub, method: str, changes: dict[str, Any], reason: str, field: str | None
) -> None:
    make = redeem if method == "RedeemQuote" else release
    fields: dict[str, Any] = {"quote_id": f"quote_{0:032x}"} | changes

    with pytest.raises(aio.AioRpcError) as refused:
        await getattr(pricing, method)(make(fields.pop("quote_id"), **fields))

    refusal = refusal_of(refused.value)
    assert (refusal.reason, refusal.field) == (reason, field)


async def test_each_payer_has_uses_of_its_own(tenant: Tenant) -> None:
    await tenant.put(discount(uses_per_payer_max=1))
    first = await tenant.quote(coupon_codes=["SUMMER"])

    assert await reason_of(tenant) == "COUPON_PAYER_LIMIT"
    await tenant.quote(coupon_codes=["SUMMER"], payer_id="payer_2")
    await tenant.service.ReleaseQuote(release(first.quote_id))
    await tenant.quote(coupon_codes=["SUMMER"])
    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.quote(coupon_codes=["SUMMER"], payer_id="")
    refusal = refusal_of(refused.value)
    assert (refusal.reason, refusal.field) == ("FIELD_MISSING", "payer_id")


async def test_a_preview_holds_nothing_and_says_when_nothing_is_left(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=1))
    preview = await tenant.quote(coupon_codes=["SUMMER"], preview=True)
    assert (preview.total, await counts(tenant)) == (chf(9_000), (0, 0))

    await tenant.quote(coupon_codes=["SUMMER"])

    assert await reason_of(tenant, preview=True) == "COUPON_EXHAUSTED"


async def test_a_repeat_holds_one_use_and_gets_its_quote_when_none_is_left(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=1))
    request = order(coupon_codes=["SUMMER"])

    answers = await asyncio.gather(*(tenant.service.CreateQuote(request) for _ in range(10)))

    assert len({answer.quote.quote_id for answer in answers}) == 1
    assert await counts(tenant) == (1, 0)


async def test_what_applies_by_itself_is_left_out_once_it_is_used_up(tenant: Tenant) -> None:
    await tenant.put(discount(code="", uses_max=1))

    first, second = await tenant.quote(), await tenant.quote()

    assert (first.total, second.total) == (chf(9_000), chf(10_000))
    assert (await tenant.quote(preview=True)).total == chf(10_000)


@pytest.mark.faults
async def test_of_a_thousand_at_once_a_hundred_hold_the_coupon(
    tenant: Tenant, call_as: CallAs, database: ServiceDatabase, clock: Clock
) -> None:
    await tenant.put(discount(uses_max=100))
    async with AsyncExitStack() as stack:
        stubs = [
            await stack.enter_async_context(call_as("orchestrator", roles={"service"}, tenant=tenant.tenant_id))
            for _ in range(10)
        ]

        holders = await rush(stubs, each=100)
        assert len(holders) == 100
        for quote_id in holders[:60]:
            await tenant.service.ReleaseQuote(release(quote_id))
        assert len(await rush(stubs, each=10)) == 60
        assert await counts(tenant) == (100, 0)
        states = await states_of_uses(tenant, database)
        clock.time = NOW + timedelta(days=2)
        assert len(await rush(stubs, each=20)) == 100

    assert states == {"HELD": 100, "RELEASED": 60}
    assert await counts(tenant) == (100, 0)


async def states_of_uses(tenant: Tenant, database: ServiceDatabase) -> dict[str, int]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        rows = await connection.fetch(
            "SELECT state, count(*) FROM discount_uses WHERE tenant_id = $1 GROUP BY state", tenant.tenant_id
        )
    finally:
        await connection.close()
    return {row["state"]: row["count"] for row in rows}


async def rush(stubs: list[Stub], *, each: int) -> list[str]:
    """Ask for quotes with the coupon, all at once, and return those that hold it."""
    calls = (stub.CreateQuote(order(coupon_codes=["SUMMER"])) for stub in stubs for _ in range(each))
    answers = await asyncio.gather(*calls, return_exceptions=True)
    refusals = {refusal_of(answer).reason for answer in answers if isinstance(answer, aio.AioRpcError)}
    assert refusals <= {"COUPON_EXHAUSTED"}
    return [answer.quote.quote_id for answer in answers if isinstance(answer, pricing_pb2.CreateQuoteResponse)]
