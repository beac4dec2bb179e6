"""Discounts, surcharges and coupons: how much one comes to, who bears it, and when one of the price book holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.pricing.domain.exact import Percent, Rounding, round_ratio
from services.pricing.domain.line import CartLine, LineKind
from services.pricing.domain.word import Word


class Direction(Word):
    """Whether a price is lowered or raised."""

    DISCOUNT = "discount"
    SURCHARGE = "surcharge"


class Funder(Word):
    """Who bears a discount, or whose a surcharge is."""

    PLATFORM = "platform"
    SELLER = "seller"


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How much, for whom, and when its turn comes. Amounts are in the currency of the cart."""

    direction: Direction
    percent: Percent | None
    """Of what its lines cost when its turn comes."""
    fixed_minor: int | None
    """Over all its lines together, when there is no percentage."""
    cap_minor: int | None
    """The most it may come to; None: no cap."""
    funder: Funder
    stacking_order: int
    """Lower first."""

    def amount_minor(self, *, of_minor: int, rounding: Rounding) -> int:
        """Return what it comes to over lines that cost `of_minor` together: a discount is below 0, and never more.

        It is a multiple of the step, as `of_minor` is: a fixed amount is rounded as a percentage is, and a cap that is
        no multiple counts as the next one below, so nothing exceeds its cap. What is less than half a step is nothing.
        """
        if self.percent is not None:
            ratio = self.percent
            amount = round_ratio(of_minor * ratio.numerator, denominator=ratio.denominator, rounding=rounding)
        else:
            amount = round_ratio(self.fixed_minor or 0, denominator=1, rounding=rounding)
        if self.cap_minor is not None:
            amount = min(amount, self.cap_minor - self.cap_minor % rounding.step_minor)
        return amount if self.direction is Direction.SURCHARGE else -min(amount, of_minor)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallerAdjustment:
    """A discount or surcharge that the caller answers for itself."""

    adjustment_id: str
    terms: Terms
    currency_codes: frozenset[str]
    """That its amounts name."""
    line_ids: frozenset[str]
    """Empty: all lines."""

    def covers(self, line: CartLine) -> bool:
        """Tell whether it is for this line."""
        return not self.line_ids or line.line_id in self.line_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount:
    """A discount, surcharge or coupon of the price book, at one revision."""

    discount_id: str
    revision: int
    code: str
    """What a payer types in, upper case; empty: it applies by itself wherever it fits."""
    terms: Terms
    currency_code: str
    """Empty: all currencies, and then there are no amounts in it."""
    valid_from: datetime
    valid_until: datetime | None
    """First instant at which it holds no more."""
    minimum_spend_minor: int | None
    """What its lines must come to at their list price."""
    uses_max: int | None
    uses_per_payer_max: int | None
    seller_ids: frozenset[str]
    """Empty: all sellers."""
    kinds: frozenset[LineKind]
    """Empty: all kinds."""
    exclusive: bool
    retired: bool

    @property
    def limited(self) -> bool:
        """Whether a quote has to hold a use of it."""
        return self.uses_max is not None or self.uses_per_payer_max is not None

    def holds_at(self, moment: datetime) -> bool:
        """Tell whether it is used for quotes made at that moment."""
        ended = self.valid_until is not None and moment >= self.valid_until
        return not self.retired and moment >= self.valid_from and not ended

    def covers(self, line: CartLine) -> bool:
        """Tell whether it is for lines of this seller and kind."""
        return (not self.seller_ids or line.seller_id in self.seller_ids) and (
            not self.kinds or line.kind in self.kinds
        )
