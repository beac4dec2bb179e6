"""What a change of the price book would do to a cart: priced as if it had been put, and nothing is kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from grpc import aio

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from tests.pricing.samples import NOW, chf, line, refusal_of
from tests.pricing.test_price_book import Tenant, discount, instant, plan, rate, tenant

__all__ = ["tenant"]  # a fixture


def draft(*things: Any) -> pricing_pb2.DraftPriceBook:
    """Return a draft of rates, plans and discounts."""
    book = pricing_pb2.DraftPriceBook()
    fields = {
        price_book_pb2.TaxRate: book.tax_rates,
        price_book_pb2.FeePlan: book.fee_plans,
        price_book_pb2.Discount: book.discounts,
    }
    for thing in things:
        fields[type(thing)].append(thing)
    return book


async def refused(tenant: Tenant, *things: Any, **changes: Any) -> tuple[str, str | None]:
    with pytest.raises(aio.AioRpcError) as error:
        await tenant.quote(preview=changes.pop("preview", True), draft=draft(*things), **changes)
    refusal = refusal_of(error.value)
    return refusal.reason, refusal.field


async def test_a_draft_prices_as_what_is_put_would_and_is_not_kept(tenant: Tenant) -> None:
    changes = [
        rate(country="CH", effective_from="2024-01-01", rate_percent="10"),
        plan(fee_plan_id="default", percent="20", effective_from=instant(NOW)),
        discount(discount_id="spring", code="spring", percent="5"),
    ]
    before = await tenant.quote(preview=True)

    drafted = await tenant.quote(preview=True, draft=draft(*changes), coupon_codes=["SPRING"])

    assert await tenant.quote(preview=True) == before, "nothing is kept"
    for thing, expected in zip(changes, (1, 1, 0), strict=True):
        await tenant.put(thing, expected_revision=expected)
    assert drafted == await tenant.quote(preview=True, coupon_codes=["SPRING"])
    assert drafted.total == chf(9_500)
    assert (drafted.lines[0].tax.rate_percent, drafted.lines[0].tax.rate_revision) == ("10", 2)
    assert (drafted.sellers[0].fee_plan_id, drafted.sellers[0].platform_fee_minor) == ("default", 1_900)


async def test_a_draft_counts_the_uses_of_what_it_takes_the_place_of(tenant: Tenant) -> None:
    await tenant.put(discount(uses_max=2))
    await tenant.quote(coupon_codes=["SUMMER"])

    assert (await refused(tenant, discount(uses_max=1), coupon_codes=["SUMMER"]))[0] == "COUPON_EXHAUSTED"
    more = await tenant.quote(preview=True, draft=draft(discount(uses_max=2, percent="50")), coupon_codes=["SUMMER"])
    assert more.total == chf(5_000)


async def test_what_holds_later_changes_nothing_yet(tenant: Tenant) -> None:
    later = plan(fee_plan_id="default", percent="20", effective_from=instant(NOW + timedelta(days=1)))

    drafted = await tenant.quote(preview=True, draft=draft(later))

    assert drafted == await tenant.quote(preview=True)


async def test_codes_may_change_places(tenant: Tenant) -> None:
    await tenant.put(discount())
    await tenant.put(discount(discount_id="winter", code="WINTER", percent="20"))
    swapped = draft(discount(code="WINTER"), discount(discount_id="winter", code="SUMMER", percent="20"))

    assert (await tenant.quote(preview=True, draft=swapped, coupon_codes=["SUMMER"])).total == chf(8_000)


async def test_a_draft_that_could_not_be_put_is_refused_where_it_stands(tenant: Tenant) -> None:
    await tenant.put(discount())
    await tenant.put(plan(seller_id="seller_1"))

    assert await refused(tenant, rate(rate_percent="x")) == ("DECIMAL_INVALID", "draft.tax_rates[0].rate_percent")
    assert await refused(tenant, plan(percent="101")) == ("PERCENT_OUT_OF_RANGE", "draft.fee_plans[0].percent")
    assert await refused(tenant, plan(seller_id="seller_2")) == ("FIELD_INVALID", "draft.fee_plans[0].seller_id")
    assert await refused(tenant, discount(percent="")) == ("FIELD_MISSING", "draft.discounts[0].percent")
    taken = discount(discount_id="other")
    assert await refused(tenant, rate(), taken) == ("COUPON_CODE_TAKEN", "draft.discounts[0].code")
    assert await refused(tenant, rate(), rate()) == ("FIELD_INVALID", "draft.tax_rates[1]")
    many = [discount(discount_id=f"many_{number}", code="") for number in range(21)]
    assert await refused(tenant, *many) == ("FIELD_INVALID", "draft.discounts")
    assert await refused(tenant, rate(), preview=False) == ("FIELD_INVALID", "draft")


async def test_a_wrong_cart_is_named_before_a_wrong_draft(tenant: Tenant) -> None:
    with pytest.raises(aio.AioRpcError) as error:
        await tenant.quote(line(quantity="0"), preview=True, draft=draft(rate(rate_percent="x")))

    assert refusal_of(error.value).reason == "QUANTITY_OUT_OF_RANGE"
