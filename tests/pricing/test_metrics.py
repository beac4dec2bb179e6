"""Quotes and what becomes of them are counted once each, however often they are asked for."""

from __future__ import annotations

import uuid

import pytest
from grpc import aio

from services.runtime.observability.metrics import Meter
from tests.metrics import Figures
from tests.pricing.test_price_book import Tenant, discount, tenant
from tests.pricing.test_uses import redeem, release

__all__ = ["tenant"]


class Counted:
    """What was counted since it was made."""

    def __init__(self, meter: Meter, before: Figures) -> None:
        self._meter = meter
        self._before = before

    async def created(self) -> float:
        now = Figures.read(await self._meter.text())
        return now["batzen_quotes_created_total"] - self._before["batzen_quotes_created_total"]

    async def redemptions(self) -> dict[str, float]:
        now, name = Figures.read(await self._meter.text()), "batzen_quote_redemptions_total"
        outcomes = now.says(name, "outcome")
        grown = {one: now.of(name, outcome=one) - self._before.of(name, outcome=one) for one in outcomes}
        return {outcome: count for outcome, count in grown.items() if count}


@pytest.fixture
async def counted(meter: Meter) -> Counted:
    return Counted(meter, Figures.read(await meter.text()))


async def test_a_quote_is_counted_once_and_a_preview_never(tenant: Tenant, counted: Counted) -> None:
    request_id = str(uuid.uuid4())
    for _ in range(2):
        await tenant.quote(request_id=request_id)
    await tenant.quote(preview=True)
    assert await counted.created() == 1


async def test_a_redemption_is_counted_once(tenant: Tenant, counted: Counted) -> None:
    await tenant.put(discount(uses_max=1))
    quote = await tenant.quote(coupon_codes=["SUMMER"])
    request = redeem(quote.quote_id)
    for again in (request, request, redeem(quote.quote_id)):
        await tenant.service.RedeemQuote(again)
    assert await counted.redemptions() == {"redeemed": 1}


async def test_a_release_is_counted_and_a_redemption_beyond_the_limit_after_it(
    tenant: Tenant, counted: Counted
) -> None:
    await tenant.put(discount(uses_max=1))
    late = await tenant.quote(coupon_codes=["SUMMER"])
    await tenant.service.ReleaseQuote(release(late.quote_id))
    quote = await tenant.quote(coupon_codes=["SUMMER"])
    await tenant.service.RedeemQuote(redeem(quote.quote_id))
    assert (await tenant.service.RedeemQuote(redeem(late.quote_id))).over_limit
    assert await counted.redemptions() == {"released": 1, "redeemed": 1, "over_limit": 1}


async def test_what_is_refused_is_not_counted(tenant: Tenant, counted: Counted) -> None:
    await tenant.put(discount(uses_max=1))
    quote = await tenant.quote(coupon_codes=["SUMMER"])
    await tenant.service.RedeemQuote(redeem(quote.quote_id))
    with pytest.raises(aio.AioRpcError):
        await tenant.service.ReleaseQuote(release(quote.quote_id))
    assert await counted.redemptions() == {"redeemed": 1}
