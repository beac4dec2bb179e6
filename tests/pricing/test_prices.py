"""The rules of prices, without a server: the anchors, the rounding, and what holds for every cart."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import strategies as st

from services.pricing.domain.book import FeeBasis, FeePlan, FeeTier, PriceBook, TaxRate
from services.pricing.domain.cart import Cart
from services.pricing.domain.errors import AmountOverflow, TaxRateUnknown
from services.pricing.domain.exact import AMOUNT_MINOR_MAX, Percent, Rounding, RoundingMode, RoundingPoint, round_ratio
from services.pricing.domain.line import CartLine, LineKind, TaxBehavior, TaxTreatment, VatLiability
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.price import RowKind, Stage
from tests.pricing.properties import holds_for
from tests.pricing.samples import BOOK, CURRENCIES, NOW, STEPS, amounts_of, cart, cart_line, rounding_of
from tests.pricing.shares import check_shares


def rates_of(*percents: str) -> PriceBook:
    """Return a book with one Swiss category `rate_0`, `rate_1`, … for each percentage."""
    return PriceBook.of(
        tax_rates=[
            TaxRate(
                country="CH",
                tax_category=f"rate_{index}",
                effective_from=date(1970, 1, 1),
                percent=Percent.of(Decimal(percent)),
                revision=1,
            )
            for index, percent in enumerate(percents)
        ],
        fee_plans=[plan_of("15", basis=FeeBasis.BASE)],
    )


def plan_of(percent: str, *, basis: FeeBasis) -> FeePlan:
    tier = FeeTier(from_minor=0, percent=Percent.of(Decimal(percent)), fixed_minor=0)
    return FeePlan(fee_plan_id="plan", basis=basis, tiers=(tier,), revision=1, effective_from=NOW)


def fee_of(percent: str, *, basis: FeeBasis) -> PriceBook:
    return replace(BOOK, fee_plans={("", ""): (plan_of(percent, basis=basis),)})


def test_included_vat_is_taken_out_of_the_price() -> None:
    price = price_cart(cart(), book=BOOK)

    (seller,) = price.sellers
    assert (price.net_minor, price.vat_minor, price.gross_minor) == ((9_251,), (749,), (10_000,))
    assert (price.total_minor, seller.platform_fee_minor, seller.seller_share_minor) == (10_000, 1_500, 8_500)


def test_excluded_vat_is_added_to_the_price() -> None:
    price = price_cart(cart(cart_line(tax_behavior=TaxBehavior.EXCLUSIVE)), book=BOOK)

    (seller,) = price.sellers
    assert (price.net_minor, price.vat_minor, price.gross_minor) == ((10_000,), (810,), (10_810,))
    assert (price.total_minor, seller.platform_fee_minor, seller.seller_share_minor) == (10_810, 1_500, 9_310)


@pytest.mark.parametrize(
    ("basis", "fee_minor"), [(FeeBasis.BASE, 1_500), (FeeBasis.NET, 1_388), (FeeBasis.GROSS, 1_500)]
)
def test_a_plan_says_what_its_fee_is_a_percentage_of(basis: FeeBasis, fee_minor: int) -> None:
    price = price_cart(cart(), book=fee_of("15", basis=basis))

    assert price.sellers[0].platform_fee_minor == fee_minor


def test_a_fee_never_exceeds_what_the_seller_s_part_can_carry() -> None:
    line = cart_line(vat_liability=VatLiability.PLATFORM)

    (seller,) = price_cart(cart(line), book=fee_of("100", basis=FeeBasis.BASE)).sellers

    assert seller.fee_limited
    assert (seller.platform_fee_minor, seller.platform_vat_minor, seller.seller_share_minor) == (9_251, 749, 0)
    assert seller.platform_share_minor == 10_000


def test_the_fee_is_rounded_once_for_each_seller() -> None:
    lines = [cart_line(line_id=str(number), unit_amount_minor=10) for number in range(3)]

    (seller,) = price_cart(cart(*lines), book=BOOK).sellers

    assert seller.platform_fee_minor == 5  # 4.5 of 30; thrice 1.5 of 10 would come to 6


@pytest.mark.parametrize(("mode", "list_minor"), [(RoundingMode.HALF_UP, 3), (RoundingMode.HALF_EVEN, 2)])
def test_a_half_goes_where_the_cart_says(mode: RoundingMode, list_minor: int) -> None:
    line = cart_line(quantity=Decimal("2.5"), unit_amount_minor=1)

    price = price_cart(cart(line, rounding=Rounding(mode=mode)), book=BOOK)

    assert price.list_minor == (list_minor,)


@pytest.mark.parametrize(
    ("unit_amount_minor", "currency_code", "total_minor", "fee_minor"),
    [
        (10_010, "KWD", 10_010, 1_500),  # 15 % are 1.5015
        (10_015, "KWD", 10_020, 1_500),
        (1_234_567, "MGA", 1_234_600, 185_200),  # 15 % are 1,851.90
        (10_010, "IQD", 10_010, 1_502),  # three digits too, and nothing is known of a step
    ],
)
def test_amounts_are_rounded_to_what_can_be_paid(
    unit_amount_minor: int, currency_code: str, total_minor: int, fee_minor: int
) -> None:
    line = cart_line(unit_amount_minor=unit_amount_minor, currency_code=currency_code)

    price = price_cart(cart(line, rounding=rounding_of(currency_code)), book=BOOK)

    (seller,) = price.sellers
    assert (price.total_minor, seller.platform_fee_minor) == (total_minor, fee_minor)
    assert seller.seller_share_minor == total_minor - fee_minor


def test_lines_without_vat_keep_their_price_whether_it_was_to_hold_vat_or_not() -> None:
    for treatment in (TaxTreatment.EXEMPT, TaxTreatment.REVERSE_CHARGE):
        for behavior in TaxBehavior:
            line = cart_line(tax_treatment=treatment, tax_treatment_reason="Art. 21 MWSTG", tax_behavior=behavior)
            price = price_cart(cart(line), book=BOOK)
            assert (price.net_minor, price.vat_minor, price.gross_minor) == ((10_000,), (0,), (10_000,))


@pytest.mark.parametrize(
    ("category", "day", "percent"),
    [
        ("standard", date(2023, 12, 31), "7.7"),
        ("standard", date(2024, 1, 1), "8.1"),
        ("reduced", date(2023, 12, 31), "2.5"),
        ("reduced", date(2024, 1, 1), "2.6"),
        ("accommodation", date(2023, 12, 31), "3.7"),
        ("accommodation", date(2024, 1, 1), "3.8"),
    ],
)
def test_the_day_of_supply_decides_the_swiss_rate(category: str, day: date, percent: str) -> None:
    rate = BOOK.tax_rate(country="CH", tax_category=category, on=day)

    assert str(rate.percent) == percent


def test_liechtenstein_has_followed_switzerland() -> None:
    for category in ("standard", "reduced", "accommodation"):
        for day in (date(2018, 1, 1), date(2023, 12, 31), date(2024, 1, 1), NOW.date()):
            swiss = BOOK.tax_rate(country="CH", tax_category=category, on=day)
            assert BOOK.tax_rate(country="LI", tax_category=category, on=day) == replace(swiss, country="LI")


@pytest.mark.parametrize(
    ("country", "percents"),
    [
        ("CH", {"standard": "8.1", "reduced": "2.6", "accommodation": "3.8"}),
        ("DE", {"standard": "19", "reduced": "7"}),
        ("FR", {"standard": "20", "intermediate": "10", "reduced": "5.5", "super_reduced": "2.1"}),
        ("IT", {"standard": "22", "reduced": "10", "reduced_5": "5", "super_reduced": "4"}),
        ("AT", {"standard": "20", "intermediate": "13", "reduced": "10"}),
        ("LI", {"standard": "8.1", "reduced": "2.6", "accommodation": "3.8"}),
    ],
)
def test_the_rates_of_today_come_with_the_service(country: str, percents: dict[str, str]) -> None:
    categories = {category for known, category in BOOK.tax_rates if known == country}

    rates = {name: BOOK.tax_rate(country=country, tax_category=name, on=NOW.date()) for name in categories}

    assert {name: str(rate.percent) for name, rate in rates.items()} == percents


def test_before_the_first_rate_there_is_none() -> None:
    with pytest.raises(TaxRateUnknown) as refused:
        price_cart(cart(cart_line(tax_date=date(2017, 12, 31))), book=BOOK)

    assert refused.value.field == "lines[0].tax_category"
    assert refused.value.metadata == {"country": "CH", "tax_category": "standard", "tax_date": "2017-12-31"}


@pytest.mark.parametrize(
    ("lines", "field"),
    [
        ([{"quantity": Decimal(2), "unit_amount_minor": AMOUNT_MINOR_MAX}], "lines[0].unit_amount"),
        ([{"unit_amount_minor": AMOUNT_MINOR_MAX}, {"unit_amount_minor": 1}], "lines"),
        ([{"unit_amount_minor": AMOUNT_MINOR_MAX, "tax_behavior": TaxBehavior.EXCLUSIVE}], "lines[0].unit_amount"),
    ],
)
def test_no_stage_goes_beyond_the_largest_amount(lines: list[dict[str, object]], field: str) -> None:
    with pytest.raises(AmountOverflow) as refused:
        price_cart(cart(*(cart_line(line_id=str(index), **line) for index, line in enumerate(lines))), book=BOOK)

    assert refused.value.field == field


def test_the_largest_amount_is_priced_exactly() -> None:
    price = price_cart(cart(cart_line(unit_amount_minor=AMOUNT_MINOR_MAX)), book=BOOK)

    assert price.total_minor == AMOUNT_MINOR_MAX
    assert price.net_minor[0] + price.vat_minor[0] == AMOUNT_MINOR_MAX
    assert price.vat_minor == (round_ratio(AMOUNT_MINOR_MAX * 81, denominator=1_081, rounding=Rounding()),)


HALVES = st.tuples(st.integers(-(10**20), 10**20), st.integers(1, 10**12)).map(
    lambda drawn: ((2 * drawn[0] + 1) * drawn[1], 2 * drawn[1])
)
"""Among ratios of any two numbers there is hardly ever one."""


@holds_for(
    ratio=HALVES | st.tuples(st.integers(-(10**40), 10**40), st.integers(1, 10**12)),
    mode=st.sampled_from(RoundingMode),
    step=st.sampled_from(STEPS),
)
def test_rounding_is_to_the_nearest_and_halves_go_as_stated(
    ratio: tuple[int, int], mode: RoundingMode, step: int
) -> None:
    numerator, denominator = ratio[0] * step, ratio[1]
    rounded = round_ratio(numerator, denominator=denominator, rounding=Rounding(mode=mode, step_minor=step))

    steps, rest = divmod(rounded, step)
    assert rest == 0
    off_by = 2 * abs(rounded * denominator - numerator)
    assert off_by <= denominator * step
    if off_by == denominator * step:
        assert steps % 2 == 0 if mode is RoundingMode.HALF_EVEN else abs(rounded) * denominator > abs(numerator)


KNOWN_RATES = {rate.percent.text for rates in BOOK.tax_rates.values() for rate in rates}
RATES = rates_of(*sorted(KNOWN_RATES | {"0", "0.0001", "33.3333", "100"}))
ANY_RATE = st.integers(0, 1_000_000).map(lambda parts: f"{Decimal(parts).scaleb(-4):f}")
"""In percent, with as many digits as a rate may have."""


ANY_CURRENCY = st.one_of(
    st.sampled_from([code for code, currency in sorted(CURRENCIES.items()) if currency.step_minor == step])
    for step in STEPS
)
"""Each step as often as the others, though nearly all currencies have the step 1."""


@st.composite
def any_cart(draw: st.DrawFn) -> Cart:
    """Draw a cart that is within the bounds, of any currency, in which no amount comes near the largest."""
    currency = draw(ANY_CURRENCY)
    lines = [_any_line(draw, line_id=f"line_{number}", currency=currency) for number in range(draw(st.integers(1, 8)))]
    rounding = Rounding(
        point=draw(st.sampled_from(RoundingPoint)),
        mode=draw(st.sampled_from(RoundingMode)),
        step_minor=CURRENCIES[currency].step_minor,
    )
    return cart(*lines, rounding=rounding)


def _any_line(draw: st.DrawFn, *, line_id: str, currency: str) -> CartLine:
    treatment = draw(st.sampled_from(TaxTreatment))
    return cart_line(
        line_id=line_id,
        seller_id=f"seller_{draw(st.integers(1, 3))}",
        kind=draw(st.sampled_from(LineKind)),
        quantity=draw(st.integers(1, 10_000_000_000).map(lambda millionths: Decimal(millionths).scaleb(-6))),
        unit_amount_minor=draw(st.integers(0, 10**10)),
        currency_code=currency,
        tax_category=f"rate_{draw(st.integers(0, len(RATES.tax_rates) - 1))}",
        tax_behavior=draw(st.sampled_from(TaxBehavior)),
        tax_treatment=treatment,
        tax_treatment_reason="" if treatment is TaxTreatment.TAXABLE else "Exempt",
        vat_liability=draw(st.sampled_from(VatLiability)),
    )


@holds_for(of=any_cart())
def test_the_parts_sum_to_the_whole(of: Cart) -> None:
    price = price_cart(of, book=RATES)

    shown = [row.amount_minor for row in price.rows if row.payer_facing and row.included_in_total]
    assert sum(shown) == sum(price.gross_minor) == price.total_minor
    assert sum(seller.gross_minor for seller in price.sellers) == price.total_minor
    assert sum(amount for stage, amount in price.contributions if stage is not Stage.PLATFORM_FEE) == price.total_minor
    assert sum(row.amount_minor for row in price.rows if row.kind is RowKind.VAT) == sum(price.vat_minor)
    for net, vat, gross in zip(price.net_minor, price.vat_minor, price.gross_minor, strict=True):
        assert net + vat == gross
        assert min(net, vat) >= 0
    for seller in price.sellers:
        assert seller.net_minor + seller.vat_minor == seller.gross_minor
        assert seller.seller_share_minor + seller.platform_share_minor == seller.gross_minor
        assert seller.platform_fee_minor + seller.platform_vat_minor == seller.platform_share_minor
        assert min(seller.seller_share_minor, seller.platform_fee_minor) >= 0
    check_shares(of, price)


@holds_for(of=any_cart(), chance=st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter_to_totals(of: Cart, chance: random.Random) -> None:
    shuffled = list(of.lines)
    chance.shuffle(shuffled)

    price, other = price_cart(of, book=RATES), price_cart(replace(of, lines=tuple(shuffled)), book=RATES)

    assert price.total_minor == other.total_minor
    assert price.sellers == other.sellers
    assert sorted(zip((line.line_id for line in of.lines), price.shares, strict=True)) == sorted(
        zip((line.line_id for line in shuffled), other.shares, strict=True)
    )
    assert price.contributions == other.contributions
    assert [row for row in price.rows if row.kind is not RowKind.LINE] == [
        row for row in other.rows if row.kind is not RowKind.LINE
    ]


@holds_for(of=any_cart())
def test_no_amount_leaves_the_integers(of: Cart) -> None:
    price = price_cart(of, book=RATES)

    assert {type(amount) for amount in amounts_of(price)} == {int}


@holds_for(of=any_cart())
def test_every_amount_is_a_multiple_of_the_step_of_its_currency(of: Cart) -> None:
    price = price_cart(of, book=RATES)

    step = CURRENCIES[of.currency_code].step_minor
    assert [amount for amount in amounts_of(price) if amount % step] == []


@holds_for(
    net=st.integers(0, 10**12),
    percent=ANY_RATE,
    currency_code=ANY_CURRENCY,
    mode=st.sampled_from(RoundingMode),
)
def test_inclusive_and_exclusive_agree_within_one_step(
    net: int, percent: str, currency_code: str, mode: RoundingMode
) -> None:
    """Adding VAT and taking it out again is off by the rounding of each: half a step and less."""
    step = CURRENCIES[currency_code].step_minor
    book, rounding = rates_of(percent), Rounding(mode=mode, step_minor=step)
    line = cart_line(
        unit_amount_minor=net,
        tax_category="rate_0",
        tax_behavior=TaxBehavior.EXCLUSIVE,
        currency_code=currency_code,
    )
    priced = price_cart(cart(line, rounding=rounding), book=book)

    included = replace(line, unit_amount_minor=priced.total_minor, tax_behavior=TaxBehavior.INCLUSIVE)
    back = price_cart(cart(included, rounding=rounding), book=book)

    assert abs(back.net_minor[0] - priced.net_minor[0]) <= step
