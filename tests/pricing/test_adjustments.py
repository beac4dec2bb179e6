"""Discounts, surcharges and coupons, without a server: how much, in which order, spread how, borne by whom."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st

from services.errors import ServiceError
from services.pricing.domain.errors import (
    AmountOverflow,
    CouponCurrencyMismatch,
    CouponMinimumNotReached,
    CouponNotApplicable,
    CouponNotCombinable,
    CouponNotValidNow,
    CouponUnknown,
)
from services.pricing.domain.exact import AMOUNT_MINOR_MAX, Percent, Rounding, allocate
from services.pricing.domain.line import LineKind, TaxBehavior, VatLiability
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.price import Price
from services.pricing.domain.terms import CallerAdjustment, Direction, Discount, Funder, Terms
from tests.pricing.properties import holds_for
from tests.pricing.samples import BOOK, NOW, STEPS, amounts_of, cart, cart_line, rounding_of
from tests.pricing.shares import check_shares


def terms(percent: str | None = None, **changes: Any) -> Terms:
    """Return the terms of a discount that the seller funds."""
    fields: dict[str, Any] = {
        "direction": Direction.DISCOUNT,
        "percent": None if percent is None else Percent.of(Decimal(percent)),
        "fixed_minor": None,
        "cap_minor": None,
        "funder": Funder.SELLER,
        "stacking_order": 0,
    }
    return Terms(**(fields | changes))


def discount(percent: str | None = None, *, code: str = "", **changes: Any) -> Discount:
    """Return an entry of the price book that holds for everything, without limits."""
    of_terms = {key: changes.pop(key) for key in tuple(changes) if key in Terms.__dataclass_fields__}
    fields: dict[str, Any] = {
        "discount_id": code.lower() or "automatic",
        "revision": 1,
        "code": code,
        "terms": terms(percent, **of_terms),
        "currency_code": "",
        "valid_from": NOW - timedelta(days=1),
        "valid_until": None,
        "minimum_spend_minor": None,
        "uses_max": None,
        "uses_per_payer_max": None,
        "seller_ids": frozenset(),
        "kinds": frozenset(),
        "exclusive": False,
        "retired": False,
    }
    return Discount(**(fields | changes))


def own(adjustment_id: str, of: Terms, *, line_ids: tuple[str, ...] = ()) -> CallerAdjustment:
    return CallerAdjustment(
        adjustment_id=adjustment_id, terms=of, currency_codes=frozenset(), line_ids=frozenset(line_ids)
    )


def priced(*discounts: Discount, lines: tuple[Any, ...] = (), **changes: Any) -> Price:
    return price_cart(cart(*lines, **changes), book=replace(BOOK, discounts=discounts))


def test_ten_percent_off_are_off_the_payer_s_and_the_seller_s_side() -> None:
    price = priced(discount("10"))

    (seller,) = price.sellers
    assert (price.total_minor, price.vat_minor) == (9_000, (674,))
    assert (seller.platform_fee_minor, seller.seller_share_minor, seller.platform_funded_minor) == (1_350, 7_650, 0)


def test_what_the_platform_funds_leaves_the_seller_s_net_alone() -> None:
    price = priced(discount("10", funder=Funder.PLATFORM))

    (seller,) = price.sellers
    without = price_cart(cart(), book=BOOK).sellers[0]
    assert price.total_minor == 9_000
    assert (seller.platform_fee_minor, seller.platform_funded_minor) == (without.platform_fee_minor, 1_000)
    net_to_seller = seller.seller_share_minor - seller.vat_minor
    assert net_to_seller == without.seller_share_minor - without.vat_minor
    assert seller.platform_share_minor == 9_000 - seller.seller_share_minor


def test_the_platform_may_fund_more_than_it_takes() -> None:
    (seller,) = priced(discount("80", funder=Funder.PLATFORM)).sellers

    assert seller.gross_minor == 2_000
    assert seller.platform_share_minor < 0


def test_a_surcharge_of_the_platform_is_no_part_of_the_seller_s() -> None:
    surcharge = discount("5", direction=Direction.SURCHARGE, funder=Funder.PLATFORM)
    line = cart_line(vat_liability=VatLiability.PLATFORM)

    price = priced(surcharge, lines=(line,))

    (seller,) = price.sellers
    assert price.total_minor == 10_500
    assert (seller.platform_funded_minor, seller.platform_fee_minor) == (-500, 1_500)
    assert seller.seller_share_minor == 9_251 - 1_500


def test_a_discount_never_goes_below_zero_and_a_cap_holds() -> None:
    assert priced(discount(fixed_minor=20_000, currency_code="CHF")).total_minor == 0
    assert priced(discount("50", cap_minor=1_000, currency_code="CHF")).total_minor == 9_000


def test_turns_are_taken_by_order_then_price_book_before_caller_then_id() -> None:
    halves = [
        discount("50", discount_id="late", stacking_order=1),
        discount(fixed_minor=1_000, discount_id="b", currency_code="CHF"),
        discount(fixed_minor=1_000, discount_id="a", currency_code="CHF"),
    ]

    price = priced(*halves, adjustments=(own("A", terms(fixed_minor=500)), own("first", terms("1", stacking_order=-1))))

    assert [(applied.adjustment_id, applied.amount_minor) for applied in price.adjustments] == [
        ("first", -100),
        ("a", -1_000),
        ("b", -1_000),
        ("A", -500),
        ("late", -3_700),
    ]
    assert price.total_minor == 3_700


def test_remainders_go_to_the_largest_and_ties_to_the_first_line_id() -> None:
    lines = tuple(cart_line(line_id=name, unit_amount_minor=100) for name in ("c", "a", "b"))

    price = priced(adjustments=(own("ten", terms(fixed_minor=100)),), lines=lines)

    assert price.base_minor == (67, 66, 67)
    assert price.adjustments[0].shares == {0: -33, 1: -34, 2: -33}


def test_an_adjustment_of_the_caller_is_for_the_lines_it_names() -> None:
    lines = (cart_line(line_id="a"), cart_line(line_id="b"))

    price = priced(adjustments=(own("x", terms("10"), line_ids=("b",)),), lines=lines)

    assert price.base_minor == (10_000, 9_000)


def test_a_discount_is_for_its_sellers_and_kinds() -> None:
    lines = (
        cart_line(line_id="a"),
        cart_line(line_id="b", seller_id="seller_2"),
        cart_line(line_id="c", seller_id="seller_2", kind=LineKind.GOODS),
    )
    of_goods = discount("10", seller_ids=frozenset({"seller_2"}), kinds=frozenset({LineKind.GOODS}))

    assert priced(of_goods, lines=lines).base_minor == (10_000, 10_000, 9_000)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"code": "WINTER"}, CouponUnknown),
        ({"valid_from": NOW + timedelta(seconds=1)}, CouponNotValidNow),
        ({"valid_until": NOW}, CouponNotValidNow),
        ({"retired": True}, CouponNotValidNow),
        ({"currency_code": "EUR"}, CouponCurrencyMismatch),
        ({"seller_ids": frozenset({"seller_2"})}, CouponNotApplicable),
        ({"kinds": frozenset({LineKind.GOODS})}, CouponNotApplicable),
        ({"minimum_spend_minor": 10_001}, CouponMinimumNotReached),
    ],
)
def test_a_coupon_that_does_not_fit_is_refused(changes: dict[str, Any], refusal: type[ServiceError]) -> None:
    with pytest.raises(refusal) as refused:
        priced(replace(discount("10", code="SUMMER"), **changes), coupon_codes=("SUMMER",))

    assert refused.value.field == "coupon_codes[0]"


@pytest.mark.parametrize(
    "changes",
    [
        {"valid_from": NOW + timedelta(seconds=1)},
        {"retired": True},
        {"currency_code": "EUR"},
        {"kinds": frozenset({LineKind.GOODS})},
        {"minimum_spend_minor": 10_001},
    ],
)
def test_what_applies_by_itself_is_left_out_where_it_does_not_fit(changes: dict[str, Any]) -> None:
    assert priced(replace(discount("10"), **changes)).total_minor == 10_000


def test_a_coupon_reaches_its_minimum_exactly() -> None:
    assert (
        priced(discount("10", code="SUMMER", minimum_spend_minor=10_000), coupon_codes=("SUMMER",)).total_minor == 9_000
    )


def test_an_exclusive_coupon_takes_the_place_of_what_applies_by_itself() -> None:
    alone = discount("20", code="ALONE", exclusive=True)
    night = discount("10", discount_id="night", direction=Direction.SURCHARGE)

    price = priced(alone, discount("10"), night, coupon_codes=("ALONE",))

    assert [applied.adjustment_id for applied in price.adjustments] == ["alone", "night"]


def test_an_exclusive_coupon_is_refused_beside_another() -> None:
    with pytest.raises(CouponNotCombinable) as refused:
        priced(discount("10", code="ONE"), discount("20", code="ALONE", exclusive=True), coupon_codes=("ONE", "ALONE"))

    assert refused.value.field == "coupon_codes[1]"


def test_an_exclusive_discount_is_left_out_beside_any_other() -> None:
    alone = discount("20", discount_id="alone", exclusive=True)
    second = discount("30", discount_id="second", exclusive=True)

    assert priced(alone, second).total_minor == 8_000
    assert priced(alone, discount("10")).total_minor == 9_000
    assert priced(alone, discount("10", code="CODE"), coupon_codes=("CODE",)).total_minor == 9_000


def test_a_surcharge_beyond_int64_is_refused() -> None:
    surcharge = own("x", terms("1000", direction=Direction.SURCHARGE))

    with pytest.raises(AmountOverflow):
        priced(adjustments=(surcharge,), lines=(cart_line(unit_amount_minor=AMOUNT_MINOR_MAX // 10),))


def test_what_is_beyond_the_largest_amount_in_between_is_refused_though_a_discount_brings_it_back() -> None:
    lines = tuple(cart_line(line_id=str(number), unit_amount_minor=9 * 10**14) for number in range(10))
    there_and_back = (
        own("up", terms("900", direction=Direction.SURCHARGE)),
        own("down", terms("99", stacking_order=1)),
    )

    with pytest.raises(AmountOverflow) as refused:
        priced(adjustments=there_and_back, lines=lines)

    assert refused.value.field == "lines"


@pytest.mark.parametrize(
    ("of", "amount_minor"),
    [
        (terms(fixed_minor=1_505), -1_510),
        (terms(fixed_minor=4), 0),  # less than half of what can be paid
        (terms(fixed_minor=1_505, cap_minor=1_505), -1_500),
        (terms("15.015"), -1_500),  # 1,501.50
        (terms("50", cap_minor=1_239), -1_230),
        (terms(fixed_minor=99_999), -10_000),
        (terms(fixed_minor=1_505, direction=Direction.SURCHARGE, cap_minor=1_505), 1_500),
    ],
)
def test_what_nobody_can_pay_is_rounded_within_cap_and_line(of: Terms, amount_minor: int) -> None:
    line = cart_line(currency_code="KWD")

    price = priced(lines=(line,), adjustments=(own("a", of),), rounding=rounding_of("KWD"))

    assert [applied.amount_minor for applied in price.adjustments] == [amount_minor]
    assert price.base_minor == (10_000 + amount_minor,)


@holds_for(
    amount=st.integers(-(10**12), 10**12),
    weights=st.lists(st.integers(0, 10**12), min_size=1, max_size=20),
    step=st.sampled_from(STEPS),
)
def test_an_allocation_is_whole_and_fair_to_one_step(amount: int, weights: list[int], step: int) -> None:
    keys = [f"{index:02}" for index in range(len(weights))]
    amount *= step

    shares = allocate(amount, weights=weights, keys=keys, step_minor=step)

    assert sum(shares) == amount
    assert [share for share in shares if share % step] == []
    whole = sum(weights) or len(weights)
    for share, weight in zip(shares, weights if any(weights) else [1] * len(weights), strict=True):
        assert abs(share * whole - amount * weight) < whole * step


@st.composite
def any_terms(draw: st.DrawFn) -> Terms:
    direction = draw(st.sampled_from(Direction))
    by_percent = draw(st.booleans())
    return terms(
        str(Decimal(draw(st.integers(1, 1_000_000))).scaleb(-4)) if by_percent else None,
        direction=direction,
        fixed_minor=None if by_percent else draw(st.integers(1, 50_000)),
        cap_minor=draw(st.none() | st.integers(1, 20_000)),
        funder=draw(st.sampled_from(Funder)),
        stacking_order=draw(st.integers(-2, 2)),
    )


@holds_for(
    amounts=st.lists(
        st.tuples(st.integers(0, 30_000), st.sampled_from(TaxBehavior), st.integers(1, 3)), min_size=1, max_size=6
    ),
    adjustments=st.lists(any_terms(), min_size=1, max_size=5),
    liability=st.sampled_from(VatLiability),
    step=st.sampled_from(STEPS),
    chance=st.randoms(use_true_random=False),
)
def test_whatever_is_adjusted_the_parts_sum_and_order_does_not_matter(
    amounts: list[tuple[int, TaxBehavior, int]],
    adjustments: list[Terms],
    liability: VatLiability,
    step: int,
    chance: Any,
) -> None:
    lines = [
        cart_line(
            line_id=f"line_{index}",
            seller_id=f"seller_{seller}",
            unit_amount_minor=amount,
            tax_behavior=behavior,
            vat_liability=liability,
        )
        for index, (amount, behavior, seller) in enumerate(amounts)
    ]
    own_adjustments = tuple(own(f"adjustment_{index}", of) for index, of in enumerate(adjustments))
    shuffled = list(lines)
    chance.shuffle(shuffled)

    rounding = Rounding(step_minor=step)

    price = priced(adjustments=own_adjustments, lines=tuple(lines), rounding=rounding)
    other = priced(adjustments=own_adjustments, lines=tuple(shuffled), rounding=rounding)

    assert min(price.base_minor) >= 0
    assert [amount for amount in amounts_of(price) if amount % step] == []
    caps = {f"adjustment_{index}": of.cap_minor for index, of in enumerate(adjustments)}
    for applied in price.adjustments:
        assert sum(applied.shares.values()) == applied.amount_minor
        cap = caps[applied.adjustment_id]
        assert cap is None or abs(applied.amount_minor) <= cap
    shown = sum(row.amount_minor for row in price.rows if row.payer_facing and row.included_in_total)
    assert shown == sum(seller.gross_minor for seller in price.sellers) == price.total_minor
    for seller in price.sellers:
        assert min(seller.seller_share_minor, seller.platform_fee_minor) >= 0
        assert seller.seller_share_minor + seller.platform_share_minor == seller.gross_minor
    assert (price.total_minor, price.sellers) == (other.total_minor, other.sellers)
    check_shares(cart(*lines, rounding=rounding), price)


@holds_for(
    amounts=st.lists(st.tuples(st.integers(0, 30_000), st.sampled_from(TaxBehavior)), min_size=1, max_size=6),
    adjustments=st.lists(any_terms(), min_size=1, max_size=5),
)
def test_what_the_platform_funds_is_not_borne_by_the_seller(
    amounts: list[tuple[int, TaxBehavior]], adjustments: list[Terms]
) -> None:
    """The seller pays the same fee and keeps the same net; of VAT it gets what it owes on what is really paid."""
    lines = tuple(
        cart_line(line_id=f"line_{index}", unit_amount_minor=amount, tax_behavior=behavior)
        for index, (amount, behavior) in enumerate(amounts)
    )
    platform = tuple(
        own(f"adjustment_{index}", replace(of, funder=Funder.PLATFORM)) for index, of in enumerate(adjustments)
    )

    [seller] = priced(adjustments=platform, lines=lines).sellers
    [alone] = priced(lines=lines).sellers

    assert seller.platform_fee_minor == alone.platform_fee_minor
    assert seller.seller_share_minor == alone.net_minor + seller.vat_minor - alone.platform_fee_minor
