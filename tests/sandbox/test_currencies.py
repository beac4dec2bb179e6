"""What amounts the stand-in takes; the figures are Stripe's."""

import pytest

from sandbox import currencies
from sandbox.errors import ApiError


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (50, "usd"),
        (50, "chf"),
        (30, "gbp"),
        (50, "jpy"),
        (1, "kes"),
        (17_500, "huf"),
        (99_999_999, "eur"),
        (999_999_999_999, "idr"),
        (5120, "kwd"),
        (500, "ugx"),
        (100, "isk"),
    ],
)
def test_amounts_stripe_charges_pass(amount: int, currency: str) -> None:
    currencies.check(amount, currency=currency)


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "usd", "amount_too_small"),
        (249, "dkk", "amount_too_small"),
        (17_499, "huf", "amount_too_small"),
        (100_000_000, "eur", "amount_too_large"),
        (1_000_000_000_000, "idr", "amount_too_large"),
        (0, "kes", "parameter_invalid_integer"),
        (-5, "usd", "parameter_invalid_integer"),
        (5124, "kwd", "parameter_invalid_integer"),
        (550, "ugx", "parameter_invalid_integer"),
        (101, "isk", "parameter_invalid_integer"),
    ],
)
def test_amounts_stripe_does_not_charge_are_refused(amount: int, currency: str, code: str) -> None:
    with pytest.raises(ApiError) as caught:
        currencies.check(amount, currency=currency)

    assert (caught.value.status, caught.value.code, caught.value.param) == (400, code, "amount")


@pytest.mark.parametrize("currency", ["zzz", "USD", "", "us"])
def test_an_unknown_currency_is_refused(currency: str) -> None:
    with pytest.raises(ApiError) as caught:
        currencies.check(500, currency=currency)

    assert caught.value.param == "currency"


def test_each_currency_has_one_kind_of_digits() -> None:
    kinds = [
        currencies.ZERO_DECIMAL,
        currencies.TWO_DECIMAL,
        currencies.THREE_DECIMAL,
        currencies.TWO_DECIMAL_ENDING_00,
    ]

    assert sum(len(kind) for kind in kinds) == len(currencies.KNOWN)
    assert currencies.KNOWN.issuperset(currencies.MINIMUM_MINOR)


@pytest.mark.parametrize(
    ("amount", "currency", "text"), [(500, "usd", "$5.00"), (5, "chf", "0.05 chf"), (50, "jpy", "50 jpy")]
)
def test_amounts_are_shown_with_the_currencys_digits(amount: int, currency: str, text: str) -> None:
    assert currencies.shown(amount, currency=currency) == text
