"""How a payment is split: each seller's part of what the payer pays, what of it is captured, and what goes back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NotRequired, TypedDict


class StoredPart(TypedDict):
    """A part as it is stored."""

    seller_id: str
    gross_minor: int
    fee_minor: int
    captured_minor: NotRequired[int]
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
    """What the platform keeps of it once all of it is captured."""
    captured_minor: int = 0
    """What of the gross was captured so far."""
    transferred_minor: int = 0
    """What was transferred to the seller by a step of the plan; 0 where Stripe transfers with the charge."""
    reversed_minor: int = 0
    """What was taken back from the seller by a step of the plan."""
    refunded_minor: int = 0
    """What of the captured went back to the payer, or is on its way."""

    @property
    def captured_fee_minor(self) -> int:
        """What the platform keeps of what was captured so far."""
        return share(self.fee_minor, before_minor=0, amount_minor=self.captured_minor, whole_minor=self.gross_minor)

    @property
    def left_minor(self) -> int:
        """What of the captured is left; 0 also where more went back, as of a payment that took more than its total."""
        return max(0, self.captured_minor - self.refunded_minor)

    def to_json(self) -> StoredPart:
        """Return what `PaymentPart(**stored)` reads back."""
        return StoredPart(
            seller_id=self.seller_id,
            gross_minor=self.gross_minor,
            fee_minor=self.fee_minor,
            captured_minor=self.captured_minor,
            transferred_minor=self.transferred_minor,
            reversed_minor=self.reversed_minor,
            refunded_minor=self.refunded_minor,
        )


def with_total(parts: Sequence[PaymentPart], total_minor: int) -> tuple[PaymentPart, ...]:
    """Return the parts so that they add up to what is charged: what rounding to cash adds is the first one's."""
    first, *others = parts
    rounding_minor = total_minor - sum(part.gross_minor for part in parts)
    return (replace(first, gross_minor=first.gross_minor + rounding_minor), *others)


def with_captured(parts: Sequence[PaymentPart], captured_minor: int) -> tuple[PaymentPart, ...]:
    """Return the parts once so much of the payment was captured in all, in however many captures.

    It is allocated over the quote's parts by largest remainder, so that what a capture adds to a part is the allocation
    of all until then less that of all before, and the whole total takes each part whole. Whoever derives it from what
    Stripe says was captured comes to the same. What Stripe took beyond the total is of no part.

    Of three parts and more one could lose a unit to another by a further capture; several sellers are captured once.
    """
    gross = [part.gross_minor for part in parts]
    shares = in_proportion(min(captured_minor, sum(gross)), gross)
    return tuple(replace(part, captured_minor=minor) for part, minor in zip(parts, shares, strict=True))


def captured_fee_minor(parts: Sequence[PaymentPart], captured_minor: int, *, step_minor: int = 1) -> int:
    """Return what the platform keeps of all parts once so much was captured in all: the quote's fee of the total.

    It is a whole number of steps, as Stripe takes amounts of some currencies, and as the quote's is.
    """
    captured = with_captured(parts, captured_minor)
    return sum(
        step_minor * _share_of(part.fee_minor // step_minor, part.captured_minor, part.gross_minor) for part in captured
    )


def with_refunded(parts: Sequence[PaymentPart], refunded_minor: int) -> tuple[PaymentPart, ...]:
    """Return the parts once so much of the payment was refunded. What falls to several is known refund by refund."""
    if len(parts) != 1:
        return tuple(parts)
    return (replace(parts[0], refunded_minor=refunded_minor),)


def allocate(amount_minor: int, parts: Sequence[PaymentPart]) -> list[int]:
    """Return what of a refund falls to each part, in the parts' order: in proportion to what is left of each.

    So no part gives back more than it has, none gets anything, and refunds that add up to the whole take from each
    exactly what was captured of it. Needs an amount that is left.
    """
    return in_proportion(amount_minor, [part.left_minor for part in parts])


def in_proportion(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Return what of an amount, at most the sum of the weights, falls to each weight, by largest remainder.

    The largest remainders are rounded up, the earlier of equal ones first.
    """
    whole = sum(weights)
    if not 0 <= amount_minor <= whole:
        raise ValueError("more than is left of the parts")
    if whole == 0:
        return [0 for _ in weights]
    shares = [amount_minor * one // whole for one in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -(amount_minor * weights[place] % whole))
    for place in by_remainder[: amount_minor - sum(shares)]:
        shares[place] += 1
    return shares


def share(total_minor: int, *, before_minor: int, amount_minor: int, whole_minor: int) -> int:
    """Return what of `total_minor` goes with `amount_minor` of `whole_minor`, after `before_minor` went.

    In proportion, rounded half up over all that went: the largest remainder of two, of which the first gets the tie. So
    the shares of any amounts that add up to the whole add up to exactly the total.
    """
    return _share_of(total_minor, before_minor + amount_minor, whole_minor) - _share_of(
        total_minor, before_minor, whole_minor
    )


def _share_of(total_minor: int, gone_minor: int, whole_minor: int) -> int:
    return (2 * total_minor * gone_minor + whole_minor) // (2 * whole_minor) if whole_minor else 0
