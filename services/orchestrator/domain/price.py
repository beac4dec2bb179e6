"""What a quote says of a payment: what its payer pays, and what of it falls to whom. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.orchestrator.domain.split import PaymentPart


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price as a plan takes it."""

    quote_id: str
    currency_code: str
    total_minor: int
    parts: tuple[PaymentPart, ...]
    """Each seller's; they add up to the total."""
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
    def platform_fee_minor(self) -> int:
        """What the platform keeps of all parts."""
        return sum(part.fee_minor for part in self.parts)
