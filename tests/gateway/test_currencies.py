"""Between ISO minor units and Stripe's: exact both ways, and refused where it cannot be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.errors import ServiceError
from services.gateway.stripe_api import currencies
from services.gateway.stripe_api.currencies import AmountNotChargeable, AmountNotRepresentable, CurrencyUnknown

CODES = sorted(currencies.currency_codes())


@pytest.mark.parametrize(
    ("amount_minor", "currency_code", "amount"),
    [
        (1234, "CHF", 1234),
        (1234, "JPY", 1234),
        (5120, "KWD", 5120),
        (5, "UGX", 500),
        (5, "ISK", 500),
        (500, "MGA", 5),
        (12345, "HUF", 12345),
        (12345, "TWD", 12345),
        (-1234, "CHF", -1234),
        (-500, "MGA", -5),
    ],
)
def test_amounts_are_converted_as_stripe_documents_it(amount_minor: int, currency_code: str, amount: int) -> None:
    assert currencies.to_stripe(amount_minor, currency_code) == amount
    assert currencies.from_stripe(amount, currency_code.lower()) == amount_minor


@pytest.mark.parametrize(("amount_minor", "currency_code"), [(5124, "KWD"), (550, "MGA"), (20, "MGA"), (-1, "BHD")])
def test_what_stripe_cannot_express_is_refused_with_the_step(amount_minor: int, currency_code: str) -> None:
    with pytest.raises(AmountNotChargeable) as refusal:
        currencies.to_stripe(amount_minor, currency_code, field="intent.amount")

    assert refusal.value.field == "intent.amount"
    assert int(refusal.value.metadata["step_minor"]) == currencies.limits(currency_code).step_minor > 1


@pytest.mark.parametrize("currency", ["isk", "ugx"])
def test_an_amount_of_stripe_without_an_iso_value_is_never_rounded(currency: str) -> None:
    with pytest.raises(AmountNotRepresentable):
        currencies.from_stripe(550, currency)


def test_an_amount_of_stripe_in_a_currency_that_is_not_known_is_no_refusal() -> None:
    """Whoever asked did nothing wrong, and money may have moved."""
    with pytest.raises(AmountNotRepresentable) as caught:
        currencies.from_stripe(550, "xxx")
    assert not isinstance(caught.value, ServiceError)


@pytest.mark.parametrize("currency_code", ["XXX", "chf", "", "BTC", "IRR"])
def test_a_currency_stripe_does_not_charge_in_is_refused(currency_code: str) -> None:
    with pytest.raises(CurrencyUnknown):
        currencies.to_stripe(100, currency_code)
    with pytest.raises(CurrencyUnknown):
        currencies.limits(currency_code)


@pytest.mark.parametrize(
    ("currency_code", "minimum_minor", "maximum_minor", "step_minor"),
    [
        ("CHF", 50, 99_999_999, 1),
        ("JPY", 50, 99_999_999, 1),
        ("HUF", 17_500, 99_999_999, 1),
        ("IDR", 1, 999_999_999_999, 1),
        ("KWD", 10, 99_999_990, 10),
        ("MGA", 100, 9_999_999_900, 100),
        ("ISK", 1, 999_999, 1),
    ],
)
def test_limits_are_in_iso_minor_units(
    currency_code: str, minimum_minor: int, maximum_minor: int, step_minor: int
) -> None:
    found = currencies.limits(currency_code)

    assert (found.minimum_minor, found.maximum_minor, found.step_minor) == (minimum_minor, maximum_minor, step_minor)


def test_payouts_of_forint_and_taiwan_dollar_are_whole() -> None:
    assert currencies.limits("HUF").payout_step_minor == currencies.limits("TWD").payout_step_minor == 100
    assert currencies.limits("CHF").payout_step_minor == 1


@pytest.mark.parametrize("currency_code", CODES)
def test_the_bounds_of_a_currency_can_be_charged_and_what_is_beyond_cannot(currency_code: str) -> None:
    found = currencies.limits(currency_code)

    for amount_minor in (found.minimum_minor, found.maximum_minor):
        amount = currencies.charge_to_stripe(amount_minor, currency_code)
        assert currencies.from_stripe(amount, currency_code.lower()) == amount_minor
    for amount_minor in (found.minimum_minor - found.step_minor, found.maximum_minor + found.step_minor, 0, -100):
        with pytest.raises(AmountNotChargeable):
            currencies.charge_to_stripe(amount_minor, currency_code)


@given(st.sampled_from(CODES), st.integers(min_value=-(10**13), max_value=10**13))
def test_every_iso_amount_comes_back_exactly_or_is_refused(currency_code: str, amount_minor: int) -> None:
    step_minor = currencies.limits(currency_code).step_minor
    if amount_minor % step_minor:
        with pytest.raises(AmountNotChargeable):
            currencies.to_stripe(amount_minor, currency_code)
    else:
        amount = currencies.to_stripe(amount_minor, currency_code)
        assert currencies.from_stripe(amount, currency_code.lower()) == amount_minor


@given(st.sampled_from(CODES), st.integers(min_value=-(10**13), max_value=10**13))
def test_every_amount_of_stripe_keeps_its_value(currency_code: str, amount: int) -> None:
    whole = {"ISK": 100, "UGX": 100}.get(currency_code, 1)
    if amount % whole:
        with pytest.raises(AmountNotRepresentable):
            currencies.from_stripe(amount, currency_code.lower())
        return
    amount_minor = currencies.from_stripe(amount, currency_code.lower())
    scale = {"ISK": (1, 100), "UGX": (1, 100), "MGA": (100, 1)}.get(currency_code, (1, 1))
    assert amount_minor * scale[1] == amount * scale[0]
