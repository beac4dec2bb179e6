"""Prices as tax authorities, Stripe and others work them out on public pages: ours are the same to the minor unit."""

from __future__ import annotations

import tomllib
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.pricing.domain.book import FeeBasis, FeePlan, FeeTier, PriceBook, TaxRate
from services.pricing.domain.exact import Percent
from services.pricing.domain.line import TaxBehavior
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.terms import CallerAdjustment, Direction, Funder, Terms
from tests.pricing.samples import CURRENCIES, NOW, cart, cart_line

EXAMPLES: list[dict[str, Any]] = tomllib.loads(
    (Path(__file__).parent / "data/worked_examples.toml").read_text(encoding="utf-8")
)["example"]
AUTHORITIES = {"tax authority", "tax authority, as reported", "Stripe"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example['publisher']}: {example['figure']}")
def test_an_example_comes_to_what_its_page_says(example: dict[str, Any]) -> None:
    lines = [
        cart_line(
            line_id=f"line_{index}",
            unit_amount_minor=amount,
            currency_code=example["currency_code"],
            tax_behavior=TaxBehavior[example["tax_behavior"]],
        )
        for index, amount in enumerate(example["unit_amounts_minor"])
    ]

    price = price_cart(cart(*lines, adjustments=discounts_of(example)), book=book_of(example))

    assert price.total_minor == example["total_minor"]
    if "vat_minor" in example:
        assert list(price.vat_minor) == example["vat_minor"]
    if "fee" in example:
        assert price.sellers[0].platform_fee_minor == example["fee"]["fee_minor"]


def test_every_example_names_its_page_and_most_are_of_tax_authorities_or_stripe() -> None:
    assert len(EXAMPLES) >= 20
    for example in EXAMPLES:
        assert example["url"].startswith(("https://", "http://"))
        assert example["figure"]
        assert example["currency_code"] in CURRENCIES
    assert sum(example["by"] in AUTHORITIES for example in EXAMPLES) > len(EXAMPLES) / 2


def book_of(example: dict[str, Any]) -> PriceBook:
    """Return a price book with the rate and the fee of the example."""
    rate = TaxRate(
        country="CH",
        tax_category="standard",
        effective_from=date(1970, 1, 1),
        percent=Percent.of(Decimal(example["rate_percent"])),
        revision=1,
    )
    fee = example.get("fee", {"percent": "0", "fixed_minor": 0})
    tier = FeeTier(from_minor=0, percent=Percent.of(Decimal(fee["percent"])), fixed_minor=fee["fixed_minor"])
    plan = FeePlan(fee_plan_id="plan", revision=1, basis=FeeBasis.BASE, tiers=(tier,), effective_from=NOW)
    return PriceBook.of(tax_rates=[rate], fee_plans=[plan])


def discounts_of(example: dict[str, Any]) -> tuple[CallerAdjustment, ...]:
    if "discount_minor" not in example:
        return ()
    terms = Terms(
        direction=Direction.DISCOUNT,
        percent=None,
        fixed_minor=example["discount_minor"],
        cap_minor=None,
        funder=Funder.SELLER,
        stacking_order=0,
    )
    discount = CallerAdjustment(adjustment_id="discount", terms=terms, currency_codes=frozenset(), line_ids=frozenset())
    return (discount,)
