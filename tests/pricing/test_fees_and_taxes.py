"""Fee plans and VAT beyond the defaults, without a server."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st

from services.pricing.domain.book import FeeBasis, FeePlan, FeeTier, FeeVat, PriceBook, TaxRate
from services.pricing.domain.errors import AmountOverflow, FeePlanUnknown
from services.pricing.domain.exact import AMOUNT_MINOR_MAX, Percent, Rounding, RoundingMode, RoundingPoint
from services.pricing.domain.line import TaxBehavior, VatLiability
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.price import RowKind, SellerTotal
from services.pricing.domain.terms import CallerAdjustment, Direction, Funder, Terms
from services.pricing.wire.responses import write_quote
from tests.pricing.properties import holds_for
from tests.pricing.samples import BOOK, NOW, STEPS, amounts_of, cart, cart_line, rounding_of
from tests.pricing.shares import check_shares


def tier(percent: str, *, from_minor: int = 0, fixed_minor: int = 0) -> FeeTier:
    return FeeTier(from_minor=from_minor, percent=Percent.of(Decimal(percent)), fixed_minor=fixed_minor)


def plan(*tiers: FeeTier, **changes: Any) -> FeePlan:
    fields: dict[str, Any] = {
        "fee_plan_id": "plan",
        "revision": 1,
        "basis": FeeBasis.BASE,
        "tiers": tiers,
        "effective_from": NOW,
    }
    return FeePlan(**(fields | changes))


def book(*plans: FeePlan) -> PriceBook:
    return replace(BOOK, fee_plans=PriceBook.of(tax_rates=(), fee_plans=plans).fee_plans)


def seller(*plans: FeePlan, amount_minor: int = 10_000, **changes: Any) -> SellerTotal:
    (total,) = price_cart(cart(cart_line(unit_amount_minor=amount_minor, **changes)), book=book(*plans)).sellers
    return total


@pytest.mark.parametrize(
    ("changes", "amount_minor", "fee_minor"),
    [
        ({}, 10_000, 1_530),
        ({}, 0, 0),
        ({"minimum_minor": 2_000}, 10_000, 2_000),
        ({"maximum_minor": 1_000}, 10_000, 1_000),
        ({"minimum_minor": 500}, 300, 300),  # the seller's part carries no more
    ],
)
def test_a_fee_is_a_percentage_and_an_amount_within_bounds(
    changes: dict[str, Any], amount_minor: int, fee_minor: int
) -> None:
    total = seller(plan(tier("15", fixed_minor=30), **changes), amount_minor=amount_minor)

    assert total.platform_fee_minor == fee_minor
    assert total.fee_limited == (amount_minor == 300)


@pytest.mark.parametrize(
    ("changes", "fee_minor"),
    [
        ({}, 1_540),  # 1,535, rounded once
        ({"minimum_minor": 2_001}, 2_010),
        ({"maximum_minor": 1_009}, 1_000),
        ({"minimum_minor": 1_001, "maximum_minor": 1_009}, 1_000),
    ],
)
def test_amounts_of_a_plan_that_nobody_can_pay_are_rounded_within_its_maximum(
    changes: dict[str, Any], fee_minor: int
) -> None:
    of = plan(tier("15", fixed_minor=35), currency_code="KWD", **changes)

    (total,) = price_cart(cart(cart_line(currency_code="KWD"), rounding=rounding_of("KWD")), book=book(of)).sellers

    assert total.platform_fee_minor == fee_minor


@pytest.mark.parametrize(
    ("currency_code", "mode", "percent", "fixed_minor", "amount_minor", "fee_minor"),
    [
        ("CHF", RoundingMode.HALF_EVEN, "15", 1, 10, 2),  # 2.5: one by one they would come to 3
        ("CHF", RoundingMode.HALF_UP, "15", 1, 10, 3),
        ("KWD", RoundingMode.HALF_UP, "0.4", 4, 1_000, 10),  # 8: each for itself would be 0
        ("KWD", RoundingMode.HALF_UP, "0.5", 5, 1_000, 10),  # 10: each for itself would be 10
        ("MGA", RoundingMode.HALF_UP, "10", 30, 200, 100),  # 50
    ],
)
def test_percentage_and_fixed_amount_are_added_up_before_the_one_rounding(
    *, currency_code: str, mode: RoundingMode, percent: str, fixed_minor: int, amount_minor: int, fee_minor: int
) -> None:
    of = plan(tier(percent, fixed_minor=fixed_minor), currency_code=currency_code)
    line = cart_line(currency_code=currency_code, unit_amount_minor=amount_minor)
    rounding = replace(rounding_of(currency_code), mode=mode)

    (total,) = price_cart(cart(line, rounding=rounding), book=book(of)).sellers

    assert total.platform_fee_minor == fee_minor
    assert total.seller_share_minor + total.platform_share_minor == total.gross_minor


def test_of_nothing_a_plan_asks_nothing_whatever_is_fixed_or_the_least() -> None:
    free = seller(plan(tier("10", fixed_minor=30), minimum_minor=50), amount_minor=0)
    small = seller(plan(tier("10", fixed_minor=30), minimum_minor=50), amount_minor=1)

    assert (free.platform_fee_minor, free.fee_limited) == (0, False)
    assert (small.platform_fee_minor, small.fee_limited) == (1, True)


@pytest.mark.parametrize(("amount_minor", "fee_minor"), [(9_999, 2_000), (10_000, 1_000), (50_000, 5_000)])
def test_the_tier_an_amount_falls_into_holds_for_all_of_it(amount_minor: int, fee_minor: int) -> None:
    total = seller(plan(tier("20"), tier("10", from_minor=10_000)), amount_minor=amount_minor)

    assert total.platform_fee_minor == fee_minor


def test_the_plan_that_says_most_goes_first() -> None:
    plans = [
        plan(tier("1"), fee_plan_id="all"),
        plan(tier("2"), fee_plan_id="francs", currency_code="CHF"),
        plan(tier("3"), fee_plan_id="seller", seller_id="seller_1"),
        plan(tier("4"), fee_plan_id="both", seller_id="seller_1", currency_code="CHF"),
    ]

    for percent in (4, 3, 2, 1):
        assert seller(*plans).platform_fee_minor == percent * 100
        plans.pop()
    with pytest.raises(FeePlanUnknown) as refused:
        seller(*plans)
    assert refused.value.field == "lines[0].seller_id"


def test_a_revision_holds_from_its_instant_on_and_may_retire_the_plan() -> None:
    first = plan(tier("10"), effective_from=NOW - timedelta(days=1))
    second = plan(tier("20"), revision=2, effective_from=NOW + timedelta(seconds=1))
    retired = plan(tier("10"), revision=2, effective_from=NOW, retired=True)

    assert seller(first, second).platform_fee_minor == 1_000
    assert seller(first, replace(second, effective_from=NOW)).platform_fee_minor == 2_000
    assert seller(first, retired, plan(tier("5"), fee_plan_id="z")).platform_fee_minor == 500


@pytest.mark.parametrize(
    ("behavior", "percent", "fee_minor", "vat_minor", "limited"),
    [
        (TaxBehavior.EXCLUSIVE, "15", 1_500, 122, False),
        (TaxBehavior.INCLUSIVE, "15", 1_388, 112, False),
        (TaxBehavior.EXCLUSIVE, "95", 9_251, 749, True),
    ],
)
def test_vat_on_the_fee_is_beside_it_or_within(
    behavior: TaxBehavior, percent: str, fee_minor: int, vat_minor: int, limited: bool
) -> None:
    fee_vat = FeeVat(country="CH", tax_category="standard", tax_behavior=behavior)
    price = price_cart(cart(), book=book(plan(tier(percent), fee_vat=fee_vat)))

    (total,) = price.sellers
    assert (total.platform_fee_minor, total.fee_vat_minor, total.fee_limited) == (fee_minor, vat_minor, limited)
    assert total.seller_share_minor == 10_000 - fee_minor - vat_minor
    assert [row.amount_minor for row in price.rows if row.kind is RowKind.PLATFORM_FEE_VAT] == [vat_minor]


def test_per_line_and_per_total_differ_where_halves_add_up() -> None:
    lines = [
        cart_line(line_id=name, unit_amount_minor=100, tax_category="reduced", tax_behavior=TaxBehavior.EXCLUSIVE)
        for name in ("b", "a", "c")
    ]

    per_line = price_cart(cart(*lines), book=BOOK)
    per_total = price_cart(cart(*lines, rounding=Rounding(point=RoundingPoint.PER_TOTAL)), book=BOOK)

    assert (per_line.vat_minor, per_line.total_minor) == ((3, 3, 3), 309)
    assert (per_total.vat_minor, per_total.total_minor) == ((3, 3, 2), 308)  # 7.8 → 8; ties by line id: a, b


@holds_for(
    amounts=st.lists(
        st.tuples(st.integers(0, 10**9), st.sampled_from(("standard", "reduced"))), min_size=1, max_size=20
    ),
    behavior=st.sampled_from(TaxBehavior),
    mode=st.sampled_from(RoundingMode),
    step=st.sampled_from(STEPS),
)
def test_vat_per_total_is_the_vat_of_the_total_and_is_spread_wholly(
    amounts: list[tuple[int, str]], behavior: TaxBehavior, mode: RoundingMode, step: int
) -> None:
    amounts = [(amount * step, category) for amount, category in amounts]
    lines = [
        cart_line(line_id=f"{index}", unit_amount_minor=amount, tax_category=category, tax_behavior=behavior)
        for index, (amount, category) in enumerate(amounts)
    ]
    rounding = Rounding(point=RoundingPoint.PER_TOTAL, mode=mode, step_minor=step)

    price = price_cart(cart(*lines, rounding=rounding), book=BOOK)

    assert [amount for amount in amounts_of(price) if amount % step] == []

    for category in {category for _, category in amounts}:
        of = [index for index, (_, name) in enumerate(amounts) if name == category]
        whole = cart_line(
            unit_amount_minor=sum(amounts[index][0] for index in of), tax_category=category, tax_behavior=behavior
        )
        alone = price_cart(cart(whole, rounding=replace(rounding, point=RoundingPoint.PER_LINE)), book=BOOK)
        assert sum(price.vat_minor[index] for index in of) == alone.vat_minor[0]
    assert min(price.net_minor) >= 0
    assert sum(row.amount_minor for row in price.rows if row.included_in_total) == price.total_minor


def test_the_rate_on_the_fee_is_that_of_the_day_of_the_quote() -> None:
    fee_vat = FeeVat(country="CH", tax_category="standard", tax_behavior=TaxBehavior.EXCLUSIVE)

    (total,) = price_cart(cart(fee_date=date(2023, 12, 31)), book=book(plan(tier("10"), fee_vat=fee_vat))).sellers

    assert total.fee_vat_minor == 77


def funded_by_the_platform(fixed_minor: int) -> CallerAdjustment:
    terms = Terms(
        direction=Direction.DISCOUNT,
        percent=None,
        fixed_minor=fixed_minor,
        cap_minor=None,
        funder=Funder.PLATFORM,
        stacking_order=0,
    )
    return CallerAdjustment(
        adjustment_id="welcome", terms=terms, currency_codes=frozenset({"CHF"}), line_ids=frozenset()
    )


def test_fees_that_are_together_beyond_int64_are_refused() -> None:
    """Each part carries its fee, and the total is within: what the platform funds is in the parts alone."""
    doubling = TaxRate(
        country="CH",
        tax_category="double",
        effective_from=date(1970, 1, 1),
        percent=Percent.of(Decimal(100)),
        revision=1,
    )
    of = PriceBook.of(
        tax_rates=[doubling], fee_plans=[plan(tier("0", fixed_minor=AMOUNT_MINOR_MAX), currency_code="CHF")]
    )
    lines = [
        cart_line(
            line_id=seller_id,
            seller_id=seller_id,
            unit_amount_minor=AMOUNT_MINOR_MAX // 2,
            tax_category="double",
            tax_behavior=TaxBehavior.EXCLUSIVE,
        )
        for seller_id in ("a", "b")
    ]

    with pytest.raises(AmountOverflow) as refused:
        price_cart(cart(*lines, adjustments=(funded_by_the_platform(AMOUNT_MINOR_MAX // 2 + 1),)), book=of)

    assert refused.value.field == "lines"


@st.composite
def any_plan(draw: st.DrawFn) -> FeePlan:
    """Draw a plan of one currency with up to three tiers, bounds, and VAT on the fee."""
    starts = sorted(draw(st.sets(st.integers(1, 2_000_000), max_size=2)))
    tiers = [
        tier(
            str(Decimal(draw(st.integers(0, 1_000_000))).scaleb(-4)),
            from_minor=start,
            fixed_minor=draw(st.integers(0, 50_000)),
        )
        for start in (0, *starts)
    ]
    minimum = draw(st.none() | st.integers(0, 100_000))
    return plan(
        *tiers,
        currency_code="CHF",
        basis=draw(st.sampled_from(FeeBasis)),
        minimum_minor=minimum,
        maximum_minor=draw(st.none() | st.integers(minimum or 0, 200_000)),
        fee_vat=draw(
            st.none()
            | st.sampled_from(TaxBehavior).map(
                lambda behavior: FeeVat(country="CH", tax_category="standard", tax_behavior=behavior)
            )
        ),
    )


@holds_for(
    of=any_plan(),
    amounts=st.lists(st.tuples(st.integers(0, 1_000_000), st.sampled_from(TaxBehavior)), min_size=1, max_size=5),
    liability=st.sampled_from(VatLiability),
    mode=st.sampled_from(RoundingMode),
    step=st.sampled_from(STEPS),
)
def test_whatever_the_plan_asks_the_seller_s_part_carries_it(
    of: FeePlan, amounts: list[tuple[int, TaxBehavior]], liability: VatLiability, mode: RoundingMode, step: int
) -> None:
    lines = [
        cart_line(line_id=f"{index}", unit_amount_minor=amount, tax_behavior=behavior, vat_liability=liability)
        for index, (amount, behavior) in enumerate(amounts)
    ]

    rounding = Rounding(mode=mode, step_minor=step)

    priced = cart(*lines, rounding=rounding)
    price = price_cart(priced, book=book(of))

    assert [amount for amount in amounts_of(price) if amount % step] == []
    check_shares(priced, price)
    (total,) = price.sellers
    part = total.gross_minor - total.platform_vat_minor
    assert total.seller_share_minor + total.platform_fee_minor + total.fee_vat_minor == part
    assert min(total.seller_share_minor, total.platform_fee_minor, total.fee_vat_minor) >= 0
    asked = of.fee_minor(total.fee_basis_minor, rounding=rounding)
    assert of.maximum_minor is None or asked <= of.maximum_minor
    taken = total.platform_fee_minor + total.fee_vat_minor
    if total.fee_limited:
        assert taken == part < asked + (0 if of.fee_vat is None else asked)
    elif of.fee_vat is not None and of.fee_vat.tax_behavior is TaxBehavior.INCLUSIVE:
        assert taken == asked
    else:
        assert total.platform_fee_minor == asked
    shown = [row.amount_minor for row in price.rows if row.kind in (RowKind.PLATFORM_FEE, RowKind.PLATFORM_FEE_VAT)]
    assert sum(shown) == taken


@holds_for(
    of=any_plan(),
    amounts=st.lists(
        st.tuples(st.integers(0, AMOUNT_MINOR_MAX // 2), st.sampled_from(TaxBehavior), st.sampled_from(("a", "b"))),
        min_size=1,
        max_size=4,
    ),
    funded_minor=st.integers(1, AMOUNT_MINOR_MAX),
    fixed_minor=st.integers(0, AMOUNT_MINOR_MAX),
    liability=st.sampled_from(VatLiability),
    step=st.sampled_from(STEPS),
)
def test_no_amount_of_a_quote_is_beyond_the_largest(
    *,
    of: FeePlan,
    amounts: list[tuple[int, TaxBehavior, str]],
    funded_minor: int,
    fixed_minor: int,
    liability: VatLiability,
    step: int,
) -> None:
    lines = [
        cart_line(
            line_id=f"{index}",
            seller_id=seller_id,
            unit_amount_minor=amount,
            tax_behavior=behavior,
            vat_liability=liability,
        )
        for index, (amount, behavior, seller_id) in enumerate(amounts)
    ]
    asked = cart(*lines, adjustments=(funded_by_the_platform(funded_minor),), rounding=Rounding(step_minor=step))
    tiers = tuple(replace(one, fixed_minor=fixed_minor) for one in of.tiers)
    try:
        price = price_cart(asked, book=book(replace(of, tiers=tiers, maximum_minor=None)))
    except AmountOverflow:
        return
    write_quote(price, cart=asked, quote_id="", create_time=NOW, expire_time=None, formats={})  # which takes no more
