"""How a payment is split: each seller's part of what the payer pays, and what of it goes back with a refund."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict


class StoredPart(TypedDict):
    """A part as it is stored."""

    seller_id: str
    gross_minor: int
    fee_minor: int
    transferred_minor: int
    reversed_minor: int
    refunded_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentPart:
    """One seller's part, in minor units of the payment's currency."""

    seller_id: str
    gross_minor: int
    """What the payer pays for it; all parts add up to the total."""
    fee_minor: int
    """What the platform keeps of it."""
    transferred_minor: int = 0
    """What was transferred to the seller by a step of the plan; 0 where Stripe transfers with the charge."""
    reversed_minor: int = 0
    """What was taken back from the seller by a step of the plan."""
    refunded_minor: int = 0
    """What of the gross went back to the payer, or is on its way."""

    @property
    def left_minor(self) -> int:
        """What of the gross is left; 0 also where more went back, as of a payment that took more than its total."""
        return max(0, self.gross_minor - self.refunded_minor)

    def to_json(self) -> StoredPart:
        """Return what `PaymentPart(**stored)` reads back."""
        return StoredPart(
            seller_id=self.seller_id,
            gross_minor=self.gross_minor,
            fee_minor=self.fee_minor,
            transferred_minor=self.transferred_minor,
            reversed_minor=self.reversed_minor,
            refunded_minor=self.refunded_minor,
        )


def with_total(parts: Sequence[PaymentPart], total_minor: int) -> tuple[PaymentPart, ...]:
    """Return the parts so that they add up to what is charged: what rounding to cash adds is the first one's."""
    first, *others = parts
    rounding_minor = total_minor - sum(part.gross_minor for part in parts)
    return (replace(first, gross_minor=first.gross_minor + rounding_minor), *others)


def with_refunded(parts: Sequence[PaymentPart], refunded_minor: int) -> tuple[PaymentPart, ...]:
    """Return the parts once so much of the payment was refunded. What falls to several is known refund by refund."""
    if len(parts) != 1:
        return tuple(parts)
    return (replace(parts[0], refunded_minor=refunded_minor),)


def allocate(amount_minor: int, parts: Sequence[PaymentPart]) -> list[int]:
    """Return what of a refund falls to each part, in the parts' order: in proportion to what is left of each.

    The largest remainders are rounded up, the earlier of equal ones first. So no part gives back more than it has, none
    gets anything, and refunds that add up to the whole take from each exactly its gross. Needs an amount that is left.
    """
    left = [part.left_minor for part in parts]
    whole = sum(left)
    if not 0 <= amount_minor <= whole:
        raise ValueError("more than is left of the parts")
    if whole == 0:
        return [0 for _ in parts]
    shares = [amount_minor * one // whole for one in left]
    by_remainder = sorted(range(len(left)), key=lambda place: -(amount_minor * left[place] % whole))
    for place in by_remainder[: amount_minor - sum(shares)]:
        shares[place] += 1
    return shares
