"""What prices are made from: tax rates by country, category and date, and fee plans."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Self

from .errors import TaxRateUnknown
from .exact import Percent


class FeeBasis(Enum):
    """What a platform fee is a percentage of."""

    BASE = "base"
    """The amounts as priced."""
    NET = "net"
    """Without VAT."""
    GROSS = "gross"
    """With VAT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaxRate:
    """A VAT rate, from a date on until the next one of the same country and category."""

    country: str
    tax_category: str
    effective_from: date
    percent: Percent
    revision: int
    """Counted from 1 with each change of this entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePlan:
    """What the platform takes of a seller's part."""

    fee_plan_id: str
    basis: FeeBasis
    percent: Percent
    revision: int
    """Counted from 1 with each change of this entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Everything that prices of one tenant are made from, at one moment."""

    tax_rates: dict[tuple[str, str], tuple[TaxRate, ...]]
    """By country and category, the latest first."""
    fee_plan: FeePlan

    @classmethod
    def of(cls, *, tax_rates: Iterable[TaxRate], fee_plan: FeePlan) -> Self:
        """Put entries, in any order, into a book."""
        by_key: dict[tuple[str, str], list[TaxRate]] = {}
        for rate in tax_rates:
            by_key.setdefault((rate.country, rate.tax_category), []).append(rate)
        return cls(
            tax_rates={
                key: tuple(sorted(rates, key=lambda rate: rate.effective_from, reverse=True))
                for key, rates in by_key.items()
            },
            fee_plan=fee_plan,
        )

    def tax_rate(self, *, country: str, tax_category: str, on: date) -> TaxRate:
        """Return the rate that holds on a local date; raises `TaxRateUnknown` when there is none."""
        for rate in self.tax_rates.get((country, tax_category), ()):
            if rate.effective_from <= on:
                return rate
        raise TaxRateUnknown(country=country, tax_category=tax_category, tax_date=on.isoformat())
