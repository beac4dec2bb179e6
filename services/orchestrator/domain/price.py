"""What a quote says of a payment: what its payer pays, and what of it falls to whom. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.shared.split import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price as a plan takes it."""

    quote_id: str
    currency_code: str
    total_minor: int
    split: Split
    """Who gets what of each line; the lines add up to the total."""
    holds_uses: bool
    """The quote holds uses of coupons until it is paid, or will not be."""
    expire_time: datetime | None
    """Until when it stands."""
    vat_minor: int = 0
    """The VAT on it, whether prices held it already or not."""
    vat_rate: str = ""
    """In percent; several with commas between."""
    original_minor: int = 0
    """What would be paid without discounts and surcharges."""

    @property
    def is_uncovered(self) -> bool:
        """Whether sellers are due something of a payment that takes nothing."""
        is_due = any(line.seller_minor for line in self.split.lines if not line.is_platform)
        return is_due and not self.total_minor
