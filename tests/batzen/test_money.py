"""Amounts as people write them."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batzen.cli import money

CURRENCIES = Path(__file__).parents[2] / "services/pricing/data/currencies.toml"
MINOR = st.integers(min_value=0, max_value=2**63 - 1)


@pytest.mark.parametrize(
    ("text", "amount_minor", "currency"),
    [
        ("100.00 CHF", 10_000, "CHF"),
        ("CHF 100", 10_000, "CHF"),
        ("100chf", 10_000, "CHF"),
        ("0.05 CHF", 5, "CHF"),
        ("100.5 EUR", 10_050, "EUR"),
        ("12500 JPY", 12_500, "JPY"),
        ("1.234 KWD", 1_234, "KWD"),
        ("1'250.50 CHF", 125_050, "CHF"),
        ("90071992547409.93 CHF", 9_007_199_254_740_993, "CHF"),  # no float holds it
    ],
)
def test_an_amount_is_read_exactly(text: str, amount_minor: int, currency: str) -> None:
    assert (amount_minor, currency) == ((read := money.parse(text)).amount_minor, read.currency_code)


@pytest.mark.parametrize(
    "text",
    [
        "", "100", "CHF", "-1 CHF", "1e3 CHF", "NaN CHF", "1,50 CHF", "1.005 CHF", "1.0 JPY", "1.0000 KWD", "1..0 CHF",
        "1'00 CHF", "100 CHFX", "１００ CHF", "92233720368547758.08 CHF",
    ],
)  # fmt: skip
def test_what_is_no_exact_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        money.parse(text)


@given(amount_minor=MINOR, currency=st.sampled_from(["CHF", "JPY", "KWD", "CLF", "EUR"]))
def test_what_is_shown_reads_back_the_same(amount_minor: int, currency: str) -> None:
    read = money.parse(money.shown(amount_minor, currency))

    assert (amount_minor, currency) == (read.amount_minor, read.currency_code)


def test_a_currency_has_as_many_digits_here_as_pricing_gives_it() -> None:
    minor_units = tomllib.loads(CURRENCIES.read_text())["minor_units"]
    priced = {code: int(digits) for digits, codes in minor_units.items() for code in codes.split()}

    assert priced == {code: money.DIGITS.get(code, money.DIGITS_USUAL) for code in priced}
