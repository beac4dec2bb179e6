"""Who gets what of each line: a seller's fee over its lines, discounts that the platform funds, own goods."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from batzen.pricing.v1 import pricing_pb2
from services.pricing.domain.book import FeeBasis, FeePlan, FeeTier, FeeVat
from services.pricing.domain.exact import Percent
from services.pricing.domain.line import TaxBehavior, TaxTreatment, VatLiability
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.price import LineShares, Price, RowKind
from services.pricing.domain.terms import CallerAdjustment, Direction, Funder, Terms
from tests.pricing.conftest import Stub
from tests.pricing.samples import BOOK, NOW, cart, cart_line, line, order
from tests.pricing.shares import check_shares

THIRDS = (3_333, 3_333, 3_334)


def fee_of(*, percent: str = "0", fixed_minor: int = 0, basis: FeeBasis = FeeBasis.BASE, vat: bool = False) -> FeePlan:
    tier = FeeTier(from_minor=0, percent=Percent.of(Decimal(percent)), fixed_minor=fixed_minor)
    return FeePlan(
        fee_plan_id="plan",
        basis=basis,
        currency_code="CHF" if fixed_minor else "",
        tiers=(tier,),
        revision=1,
        effective_from=NOW,
        fee_vat=FeeVat(country="CH", tax_category="standard", tax_behavior=TaxBehavior.EXCLUSIVE) if vat else None,
    )


def thirds(plan: FeePlan) -> Price:
    lines = [cart_line(line_id=f"{index}", unit_amount_minor=minor) for index, minor in enumerate(THIRDS)]
    of = cart(*lines)
    price = price_cart(of, book=replace(BOOK, fee_plans={(plan.seller_id, plan.currency_code): (plan,)}))
    check_shares(of, price)
    return price


@pytest.mark.parametrize(
    ("fixed_minor", "fees"), [(100, [33, 33, 34]), (10_000, [3_333, 3_333, 3_334]), (1, [0, 0, 1]), (2, [1, 0, 1])]
)
def test_a_fee_over_three_lines_comes_to_the_fee(fixed_minor: int, fees: list[int]) -> None:
    price = thirds(fee_of(fixed_minor=fixed_minor))

    assert [one.platform_fee_minor for one in price.shares] == fees


def test_vat_on_the_fee_is_spread_as_the_fee_is() -> None:
    price = thirds(fee_of(percent="15", vat=True))

    assert [(one.platform_fee_minor, one.fee_vat_minor, one.seller_minor) for one in price.shares] == [
        (500, 41, 2_792),
        (500, 40, 2_793),
        (500, 41, 2_793),
    ]
    (seller,) = price.sellers
    assert (seller.platform_fee_minor, seller.fee_vat_minor) == (1_500, 122)


def test_a_line_that_is_priced_without_vat_bears_the_fee_of_what_it_is_priced_at() -> None:
    untaxed = cart_line(
        line_id="untaxed",
        tax_behavior=TaxBehavior.EXCLUSIVE,
        tax_treatment=TaxTreatment.EXEMPT,
        tax_treatment_reason="Exempt",
    )
    taxed = cart_line(line_id="taxed", tax_behavior=TaxBehavior.EXCLUSIVE)

    price = price_cart(cart(untaxed, taxed), book=BOOK)

    assert [one.platform_fee_minor for one in price.shares] == [1_500, 1_500]
    assert [one.seller_minor for one in price.shares] == [8_500, 9_310]


def test_a_fee_that_takes_all_takes_of_each_line_what_it_carries() -> None:
    """The VAT of one line is the platform's, so that this line carries less than the fee is a percentage of."""
    owed = cart_line(line_id="owed", vat_liability=VatLiability.PLATFORM)
    of = cart(owed, cart_line(line_id="own"))
    plan = fee_of(percent="95")

    price = price_cart(of, book=replace(BOOK, fee_plans={("", ""): (plan,)}))

    check_shares(of, price)
    assert sum(one.platform_fee_minor for one in price.shares) == 19_000
    assert [one.platform_fee_minor for one in price.shares] == [9_130, 9_870]


def test_a_coupon_that_the_platform_funds_is_shown_at_its_line() -> None:
    terms = Terms(
        direction=Direction.DISCOUNT,
        percent=None,
        fixed_minor=1_000,
        cap_minor=None,
        funder=Funder.PLATFORM,
        stacking_order=0,
    )
    coupon = CallerAdjustment(
        adjustment_id="coupon", terms=terms, line_ids=frozenset(), currency_codes=frozenset({"CHF"})
    )

    price = price_cart(cart(adjustments=(coupon,)), book=BOOK)

    assert price.shares == (LineShares(8_425, 1_500, 0, 0, 925, 0),)


def test_on_own_goods_there_is_no_fee() -> None:
    of = cart(cart_line(line_id="own", seller_id="platform"), cart_line(line_id="other"), platform_id="platform")

    price = price_cart(of, book=replace(BOOK, fee_plans={("", ""): (fee_of(percent="15", vat=True),)}))

    check_shares(of, price)
    assert price.shares[0] == LineShares(10_000, 0, 0, 0, 0, 0)
    (own,) = (seller for seller in price.sellers if seller.seller_id == "platform")
    assert (own.seller_share_minor, own.platform_fee_minor, own.fee_vat_minor, own.fee_plan) == (10_000, 0, 0, None)
    fees = [row.seller_id for row in price.rows if row.kind in (RowKind.PLATFORM_FEE, RowKind.PLATFORM_FEE_VAT)]
    assert "platform" not in fees


async def test_the_tenant_s_own_goods_are_quoted_without_a_fee(pricing: Stub) -> None:
    quote = (await pricing.CreateQuote(order(line(line_id="own", seller_id="main"), line(line_id="other")))).quote

    own, other = quote.lines
    assert (own.seller_share_minor, own.platform_fee_minor, own.gross_minor) == (10_000, 0, 10_000)
    assert (other.seller_share_minor, other.platform_fee_minor, other.fee_vat_country) == (8_500, 1_500, "")
    assert [(one.seller_id, one.fee_plan_id) for one in quote.sellers] == [("main", ""), (other.seller_id, "default")]
    assert quote.sellers[0].fee_basis == 0
    assert isinstance(quote, pricing_pb2.Quote)
