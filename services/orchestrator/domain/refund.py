"""What a refund takes back: of each seller's part, and of the platform's fee on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.orchestrator.domain.split import PaymentPart, allocate


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundPart:
    """What one seller gives back, in minor units of the payment's currency."""

    seller_id: str
    gross_minor: int
    """What of the refund falls to the seller's part."""
    fee_minor: int
    """What the platform gives back of its fee, and the seller does not bear."""


def by_part(amount_minor: int, parts: Sequence[PaymentPart]) -> tuple[RefundPart, ...]:
    """Return what a refund takes from each part, in their order.

    What Stripe took beyond the total is of no part, and goes back last.
    """
    of_parts_minor = min(amount_minor, sum(part.left_minor for part in parts))
    return tuple(
        RefundPart(
            seller_id=part.seller_id,
            gross_minor=gross_minor,
            fee_minor=share(
                part.fee_minor, before_minor=part.refunded_minor, amount_minor=gross_minor, whole_minor=part.gross_minor
            ),
        )
        for part, gross_minor in zip(parts, allocate(of_parts_minor, parts), strict=True)
    )


def share(total_minor: int, *, before_minor: int, amount_minor: int, whole_minor: int) -> int:
    """Return what of `total_minor` goes back with `amount_minor` of `whole_minor`, after `before_minor` went back.

    In proportion, rounded half up over all that went back, so that the shares of any refunds that add up to the whole
    add up to exactly the total. Stripe says "proportional" of an application fee, and not how it rounds; until our own
    amounts are sent, a share may differ from Stripe's by one minor unit on the way.
    """
    return _share_of(total_minor, before_minor + amount_minor, whole_minor) - _share_of(
        total_minor, before_minor, whole_minor
    )


def _share_of(total_minor: int, gone_minor: int, whole_minor: int) -> int:
    return (2 * total_minor * gone_minor + whole_minor) // (2 * whole_minor) if whole_minor else 0
