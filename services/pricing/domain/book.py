"""What prices are made from: tax rates by country, category and date, fee plans, discounts."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Self

from services.pricing.domain.errors import FeePlanUnknown, TaxRateUnknown
from services.pricing.domain.exact import Percent, Rounding, round_ratio
from services.pricing.domain.line import TaxBehavior
from services.pricing.domain.terms import Discount
from services.pricing.domain.word import Word


class FeeBasis(Word):
    """What a platform fee is a percentage of: amounts after seller-funded discounts, before the platform's own."""

    BASE = "base"
    """As priced."""
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
class FeeTier:
    """What is taken of amounts from `from_minor` on."""

    from_minor: int
    percent: Percent
    fixed_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeVat:
    """The VAT on a fee: within what the plan asks for, or beside it."""

    country: str
    tax_category: str
    tax_behavior: TaxBehavior


@dataclass(frozen=True, slots=True, kw_only=True)
class FeePlan:
    """What the platform takes of a seller's part. Amounts are in `currency_code`."""

    fee_plan_id: str
    revision: int
    """Counted from 1 with each change of this entry."""
    seller_id: str = ""
    """Empty: all who have no plan of their own."""
    currency_code: str = ""
    """Empty: all currencies, and then there are no amounts in it."""
    basis: FeeBasis
    tiers: tuple[FeeTier, ...]
    """By rising amount, the first from 0; the one an amount falls into holds for the whole amount."""
    minimum_minor: int | None = None
    maximum_minor: int | None = None
    fee_vat: FeeVat | None = None
    effective_from: datetime
    retired: bool = False

    def tier(self, basis_minor: int) -> FeeTier:
        """Return the tier that an amount falls into."""
        return next(tier for tier in reversed(self.tiers) if tier.from_minor <= basis_minor)

    def fee_minor(self, basis_minor: int, *, rounding: Rounding) -> int:
        """Return what the plan asks for: nothing of nothing, whatever is fixed or the least.

        Percentage and fixed amount are added up exactly, and the sum is rounded once, to a multiple of the step. A
        minimum that is none counts as the next one above, a maximum as the next below; the maximum goes before the
        minimum.
        """
        if not basis_minor:
            return 0
        step, tier = rounding.step_minor, self.tier(basis_minor)
        percent = tier.percent
        fee = round_ratio(
            basis_minor * percent.numerator + tier.fixed_minor * percent.denominator,
            denominator=percent.denominator,
            rounding=rounding,
        )
        if self.minimum_minor is not None:
            fee = max(fee, self.minimum_minor + -self.minimum_minor % step)
        if self.maximum_minor is not None:
            fee = min(fee, self.maximum_minor - self.maximum_minor % step)
        return fee


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceBook:
    """Everything that prices of one tenant are made from; all revisions that may still hold."""

    tax_rates: dict[tuple[str, str], tuple[TaxRate, ...]]
    """By country and category, the latest first."""
    fee_plans: dict[tuple[str, str], tuple[FeePlan, ...]]
    """By seller and currency, each possibly empty; by id, the newest revision first."""
    discounts: tuple[Discount, ...] = ()
    """Current revisions only."""

    @classmethod
    def of(
        cls, *, tax_rates: Iterable[TaxRate], fee_plans: Iterable[FeePlan], discounts: Iterable[Discount] = ()
    ) -> Self:
        """Put entries, in any order, into a book."""
        rates: dict[tuple[str, str], list[TaxRate]] = {}
        for rate in tax_rates:
            rates.setdefault((rate.country, rate.tax_category), []).append(rate)
        plans: dict[tuple[str, str], list[FeePlan]] = {}
        for plan in fee_plans:
            plans.setdefault((plan.seller_id, plan.currency_code), []).append(plan)
        return cls(
            tax_rates={
                key: tuple(sorted(found, key=lambda rate: rate.effective_from, reverse=True))
                for key, found in rates.items()
            },
            fee_plans={
                key: tuple(sorted(found, key=lambda plan: (plan.fee_plan_id, -plan.revision)))
                for key, found in plans.items()
            },
            discounts=tuple(sorted(discounts, key=lambda discount: discount.discount_id)),
        )

    def without(self, discount_ids: Collection[str]) -> PriceBook:
        """Return the book without some of its discounts."""
        if not discount_ids:
            return self
        kept = tuple(discount for discount in self.discounts if discount.discount_id not in discount_ids)
        return replace(self, discounts=kept)

    def tax_rate(self, *, country: str, tax_category: str, on: date) -> TaxRate:
        """Return the rate that holds on a local date; raises `TaxRateUnknown` when there is none."""
        for rate in self.tax_rates.get((country, tax_category), ()):
            if rate.effective_from <= on:
                return rate
        raise TaxRateUnknown(country=country, tax_category=tax_category, tax_date=on.isoformat())

    def fee_plan(self, *, seller_id: str, currency_code: str, at: datetime) -> FeePlan:
        """Return the plan that holds for a seller: its own before everybody's, one for the currency before one for all.

        Of several that fit alike, the first by id. Raises `FeePlanUnknown` when every one was retired.
        """
        for key in ((seller_id, currency_code), (seller_id, ""), ("", currency_code), ("", "")):
            decided: set[str] = set()
            for plan in self.fee_plans.get(key, ()):
                if plan.fee_plan_id in decided or plan.effective_from > at:
                    continue
                decided.add(plan.fee_plan_id)  # the newest revision that holds by now speaks for the plan
                if not plan.retired:
                    return plan
        raise FeePlanUnknown(seller_id=seller_id, currency_code=currency_code)
