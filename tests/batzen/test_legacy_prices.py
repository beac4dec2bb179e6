"""Old price objects become lines that come to the same, or the path that is wrong is named."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batzen.cli.money import DIGITS, DIGITS_USUAL
from batzen.legacy_prices import LegacyPriceError, normalize_legacy_price
from batzen.pricing.v1.price_book_pb2 import LineKind, TaxBehavior
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.type.v1.money_pb2 import Money

NESTED: dict[str, Any] = {"final": {"amount": {"amount": 60, "currency": "CHF"}, "currency": "CHF"}}
INCLUDED = TaxBehavior.TAX_BEHAVIOR_INCLUSIVE
ON_TOP = TaxBehavior.TAX_BEHAVIOR_EXCLUSIVE


def whole(**changes: Any) -> dict[str, Any]:
    """Return a price object of the second shape, with some fields changed."""
    fields: dict[str, Any] = {
        "base": 100,
        "final": 100,
        "vat": {"rate": Decimal("8.1"), "included": True},
        "platformFee": {"percentage": 15},
        "currency": "CHF",
    }
    return fields | changes


def normalize(price: object, **changes: Any) -> list[Line]:
    fields: dict[str, Any] = {"line_id": "a", "seller_id": "s", "kind": LineKind.LINE_KIND_SESSION}
    return normalize_legacy_price(price, **(fields | changes))


def test_a_nested_amount_becomes_a_line() -> None:
    assert normalize(NESTED) == [
        Line(
            line_id="a",
            seller_id="s",
            kind=LineKind.LINE_KIND_SESSION,
            quantity="1",
            unit_amount=Money(amount_minor=6_000, currency_code="CHF"),
            tax_behavior=INCLUDED,
        )
    ]


@pytest.mark.parametrize(
    ("price", "amount_minor", "behavior", "category"),
    [
        (whole(), 10_000, INCLUDED, "standard"),
        (whole(base=Decimal("92.51")), 10_000, INCLUDED, "standard"),  # the base is the final price without VAT
        (whole(final="108.10", vat={"rate": "8.1", "included": False}), 10_000, ON_TOP, "standard"),
        (whole(final="102.60", vat={"rate": "2.60", "included": False}), 10_000, ON_TOP, "reduced"),
        (whole(vat={"rate": Decimal("3.8"), "included": True}), 10_000, INCLUDED, "accommodation"),
        (whole(base={"amount": 100, "currency": "CHF"}, final=NESTED["final"]["amount"] | {"amount": 100}), 10_000,
         INCLUDED, "standard"),
        ({"final": "0.05", "currency": "CHF"}, 5, INCLUDED, ""),
        ({"final": {"amount": 1200, "currency": "JPY"}}, 1_200, INCLUDED, ""),
        ({"final": {"amount": "1.234", "currency": "KWD"}}, 1_234, INCLUDED, ""),
        ({"final": {"amount": Decimal("6E+1"), "currency": "CHF"}}, 6_000, INCLUDED, ""),  # as JSON's 6e1 is read
        ({"final": {"amount": f"60.{'0' * 28}", "currency": "CHF"}}, 6_000, INCLUDED, ""),
    ],
)  # fmt: skip
def test_what_is_known_becomes_a_line(price: object, amount_minor: int, behavior: TaxBehavior, category: str) -> None:
    (line,) = normalize(price)

    assert (line.unit_amount.amount_minor, line.tax_behavior, line.tax_category) == (amount_minor, behavior, category)


def test_what_the_object_does_not_say_the_caller_does() -> None:
    (line,) = normalize(
        {"final": 60, "vat": {"rate": 19, "included": True}, "platformFee": {"percentage": "12.5"}},
        currency_code="EUR",
        quantity="2.5",
        tax_categories={"19": "standard"},
        platform_fee_percent="12.50",
    )

    assert (line.unit_amount.currency_code, line.quantity, line.tax_category) == ("EUR", "2.5", "standard")


@pytest.mark.parametrize(
    ("price", "path"),
    [
        (None, ""),
        ([], ""),
        ("60", ""),
        ({}, "final"),
        ({"amount": {"amount": 60, "currency": "CHF"}, "currency": "CHF"}, "amount"),
        ({"final": 60}, "final"),
        ({"final": None, "currency": "CHF"}, "final"),
        ({"final": {"currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": 60}}, "final.amount"),
        ({"final": {"amount": {"amount": 60, "currency": "EUR"}, "currency": "CHF"}}, "final.amount.currency"),
        ({"final": {"amount": {"amount": 60, "currency": 1}, "currency": "CHF"}}, "final.amount.currency"),
        ({"final": {"amount": 60, "currency": "chf"}}, "final.currency"),
        ({"final": {"amount": 60, "currency": "CHF", "unit": "h"}}, "final.unit"),
        ({"final": {"amount": {"amount": "NaN", "currency": "CHF"}}}, "final.amount.amount"),
        ({"final": {"amount": Decimal("NaN"), "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": Decimal("Infinity"), "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": "6e1", "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": "٦", "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": True, "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": 60.0, "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": -1, "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": "60.005", "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": "0.5", "currency": "JPY"}}, "final.amount"),
        ({"final": {"amount": 10**17, "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": "9" * 5_000, "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": 10**5_000, "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": Decimal("1E+999999"), "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": Decimal("1E-999999"), "currency": "CHF"}}, "final.amount"),
        ({"final": {"amount": f"60.{'0' * 27}1", "currency": "CHF"}}, "final.amount"),
        (whole(currency="EURO"), "currency"),
        (whole(base={"amount": 100, "currency": "EUR"}), "base.currency"),
        (whole(base=120), "base"),
        (whole(base=80), "base"),
        (whole(vat={"rate": Decimal("8.1"), "included": False}), "final"),
        (whole(vat=None), "vat"),
        (whole(vat={"included": True}), "vat.rate"),
        (whole(vat={"rate": Decimal("8.1")}), "vat.included"),
        (whole(vat={"rate": Decimal("8.1"), "included": "yes"}), "vat.included"),
        (whole(vat={"rate": 8.1, "included": True}), "vat.rate"),
        (whole(vat={"rate": Decimal("0.081"), "included": True}), "vat.rate"),
        (whole(vat={"rate": Decimal("7.7"), "included": True}), "vat.rate"),
        (whole(platformFee={}), "platformFee.percentage"),
        (whole(platformFee={"percentage": 12}), "platformFee.percentage"),
        (whole(platformFee=15), "platformFee"),
        (whole(discount=5), "discount"),
    ],
    ids=lambda value: value if isinstance(value, str) else "price",
)
def test_the_path_that_is_wrong_is_named(price: object, path: str) -> None:
    with pytest.raises(LegacyPriceError) as refused:
        normalize(price)

    assert refused.value.path == path
    assert refused.value.problem.endswith(".")


def test_what_is_nested_without_end_is_refused() -> None:
    price: Any = 60
    for _ in range(10_000):
        price = {"amount": price, "currency": "CHF"}

    with pytest.raises(LegacyPriceError):
        normalize({"final": price})


@given(
    amount_minor=st.integers(0, 2**63 - 1),
    currency_code=st.sampled_from(["CHF", "EUR", "JPY", "KWD", "CLF", "ALL"]),
    nested=st.integers(1, 3),
)
def test_every_amount_of_a_json_text_arrives_to_the_unit(amount_minor: int, currency_code: str, nested: int) -> None:
    major = Decimal(amount_minor).scaleb(-DIGITS.get(currency_code, DIGITS_USUAL))
    text = f"{major:f}"
    for _ in range(nested):
        text = f'{{"amount": {text}, "currency": "{currency_code}"}}'

    (line,) = normalize(json.loads(f'{{"final": {text}}}', parse_float=Decimal))

    assert line.unit_amount == Money(amount_minor=amount_minor, currency_code=currency_code)
