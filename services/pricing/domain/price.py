"""What comes out of the pipeline. All `_minor` amounts are integers in the minor unit of the cart's currency.

Per line the values stand in columns, one tuple per kind of amount in the order of the cart's lines, so that a stage
adds a column and touches nothing that was there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from services.pricing.domain.book import FeePlan, TaxRate
from services.pricing.domain.line import TaxBehavior, TaxTreatment
from services.pricing.domain.terms import Direction, Discount, Funder
from services.pricing.domain.word import Word


class Stage(Word):
    """The stages that contribute amounts, in their order."""

    BASE_LINES = "base lines"
    ADJUSTMENTS = "adjustments"
    TAX = "tax"
    PLATFORM_FEE = "platform fee"


class RowKind(Word):
    """What a row of the breakdown is."""

    LINE = "line"
    ADJUSTMENT = "adjustment"
    VAT = "vat"
    PLATFORM_FEE = "platform fee"
    PLATFORM_FEE_VAT = "platform fee vat"


class Row(NamedTuple):
    """One row of the breakdown. Rows that are payer-facing and included in the total sum to the total.

    A named tuple: there is one for each of up to 1,000 lines, and a frozen dataclass takes four times as long to make.
    """

    kind: RowKind
    amount_minor: int
    payer_facing: bool
    included_in_total: bool
    line_id: str = ""
    seller_id: str = ""
    adjustment_id: str = ""
    rate_percent: str = ""
    country: str = ""
    tax_category: str = ""
    tax_behavior: TaxBehavior | None = None
    tax_treatment: TaxTreatment | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AppliedAdjustment:
    """A discount or surcharge that took part."""

    adjustment_id: str
    coupon_code: str
    """Empty where it is none."""
    revision: int
    """In the price book; 0 for the caller's own."""
    direction: Direction
    funder: Funder
    amount_minor: int
    """Below 0 for a discount."""
    shares: dict[int, int]
    """What each line bears, by its index; they sum to the amount."""
    discount: Discount | None
    """The entry of the price book; None for the caller's own."""


class SellerTotal(NamedTuple):
    """What one seller gets: seller share + platform share = gross. A named tuple, as a row is."""

    seller_id: str
    base_minor: int
    net_minor: int
    vat_minor: int
    gross_minor: int
    platform_fee_minor: int
    """Without its VAT."""
    fee_vat_minor: int
    platform_vat_minor: int
    """The VAT that the platform owes; it stays with the platform."""
    platform_funded_minor: int
    """What the platform's discounts took off, less what its surcharges put on."""
    seller_share_minor: int
    fee_plan: FeePlan | None
    """None of the platform's own goods."""
    fee_basis_minor: int
    """What the fee is a percentage of."""
    fee_limited: bool
    """Whether the plan asks for more than the seller's part can carry."""

    @property
    def platform_share_minor(self) -> int:
        """What the platform keeps of the gross amount."""
        return self.gross_minor - self.seller_share_minor


class LineShares(NamedTuple):
    """Who gets what of one line: seller + fee + VAT on it + the platform's VAT + surcharges - discounts = gross."""

    seller_minor: int
    platform_fee_minor: int
    """Without its VAT."""
    fee_vat_minor: int
    platform_vat_minor: int
    discounts_funded_minor: int
    """What the platform adds for its own discounts, less what its own surcharges put on the same line."""
    surcharges_minor: int
    """What the platform keeps of its own surcharges, less what it adds to the same line."""


class Price(NamedTuple):
    """What a cart costs, as far as the stages have come. A named tuple, since each stage makes one from the last."""

    list_minor: tuple[int, ...] = ()
    """Quantity × unit amount, per line."""
    base_minor: tuple[int, ...] = ()
    """As priced, with or without VAT, per line."""
    seller_base_minor: tuple[int, ...] = ()
    """The same without what the platform funds: what the seller asks, per line."""
    adjustments: tuple[AppliedAdjustment, ...] = ()
    """In the order of their turn."""
    tax_rates: tuple[TaxRate | None, ...] = ()
    """The rate of each line; None where VAT is not charged."""
    net_minor: tuple[int, ...] = ()
    vat_minor: tuple[int, ...] = ()
    gross_minor: tuple[int, ...] = ()
    seller_net_minor: tuple[int, ...] = ()
    """As `seller_base_minor`, without VAT, per line."""
    seller_gross_minor: tuple[int, ...] = ()
    """As `seller_base_minor`, with VAT, per line."""
    sellers: tuple[SellerTotal, ...] = ()
    """By seller_id."""
    shares: tuple[LineShares, ...] = ()
    """Per line; over the lines of a seller they add up to its total."""
    rows: tuple[Row, ...] = ()
    contributions: tuple[tuple[Stage, int], ...] = ()
    """What each stage added to the total or, the fee, took from the sellers."""
    total_minor: int = 0
