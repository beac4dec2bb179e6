"""What a refund takes back: of each seller's part, and of the platform's fee on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.orchestrator.domain.split import PaymentPart, allocate, share


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPart:
    """What one seller gives back, in minor units of the payment's currency."""

    seller_id: str
    gross_minor: int
    """What of the refund falls to the seller's part."""
    fee_minor: int
    """What the platform gives back of its fee, and the seller does not bear."""


def by_part(amount_minor: int, parts: Sequence[PaymentPart]) -> tuple[RefundPart, ...]:
    """Return what a refund takes from each part, in their order: of what was captured of it, and of the fee on that.

    What Stripe took beyond the total is of no part, and goes back last. Stripe says "proportional" of an application
    fee, and not how it rounds; until our own amounts are sent, a share may differ from Stripe's by one minor unit on
    the way.
    """
    of_parts_minor = min(amount_minor, sum(part.left_minor for part in parts))
    return tuple(
        RefundPart(
            seller_id=part.seller_id,
            gross_minor=gross_minor,
            fee_minor=share(
                part.captured_fee_minor,
                before_minor=part.refunded_minor,
                amount_minor=gross_minor,
                whole_minor=part.captured_minor,
            ),
        )
        for part, gross_minor in zip(parts, allocate(of_parts_minor, parts), strict=True)
    )
