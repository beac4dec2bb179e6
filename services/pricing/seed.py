"""Reads the data that comes with the service: the currencies, and the price book a new tenant starts with.

The files say where each fact was read. A file that is wrong stops the process at its start, not a request later.
"""

from __future__ import annotations

import tomllib
from decimal import Decimal
from pathlib import Path
from typing import Any

from .domain.book import FeeBasis, FeePlan, FeeTier, PriceBook, TaxRate
from .domain.exact import Percent

DATA = Path(__file__).parent / "data"


def load_currencies() -> dict[str, int]:
    """Return how many digits after the point each ISO 4217 currency has."""
    table: dict[str, str] = _read("currencies.toml")["minor_units"]
    return {code: int(digits) for digits, codes in table.items() for code in codes.split()}


def load_price_book() -> PriceBook:
    """Return the tax rates and the fee plans that every tenant starts with, as revision 1 of each."""
    return PriceBook.of(
        tax_rates=[
            TaxRate(
                country=rate["country"],
                tax_category=rate["tax_category"],
                effective_from=rate["effective_from"],
                percent=Percent.of(Decimal(rate["rate_percent"])),
                revision=1,
            )
            for rate in _read("tax_rates.toml")["rate"]
        ],
        fee_plans=[
            FeePlan(
                fee_plan_id=plan["fee_plan_id"],
                revision=1,
                basis=FeeBasis[plan["basis"]],
                tiers=(FeeTier(from_minor=0, percent=Percent.of(Decimal(plan["percent"])), fixed_minor=0),),
            )
            for plan in _read("fee_plans.toml")["plan"]
        ],
    )


def _read(name: str) -> dict[str, Any]:
    return tomllib.loads((DATA / name).read_text(encoding="utf-8"))
