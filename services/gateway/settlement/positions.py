"""What each seller is to have of a payment, and has. Pure.

What a seller is to have follows from what of each line stands: what was captured, less what went back to the payer,
less what disputes took where the seller bears that. What it has is the sum of what moved. Whoever settles makes the one
the other; the ledger books the same figures. Nothing here depends on the order in which things happened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.errors import FieldInvalid
from services.gateway.disputes.domain import Standing
from services.gateway.intents.domain import Intent
from services.gateway.refunds.domain import ON_ITS_WAY, Bearer, Refund
from services.gateway.settlement.domain import TO_SELLER, DisputeRecovery, Movement
from services.shared.split import LineAmount, LinePart, Split, amounts_of, of_fee, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStanding:
    """What became of one line of an attempt, in minor units of the payment's currency."""

    line: LinePart
    captured_minor: int
    shared_minor: int = 0
    """Refunded, each bearing its share."""
    by_seller_minor: int = 0
    """Refunded at the seller's cost alone: the platform keeps its fee."""
    by_platform_minor: int = 0
    """Refunded at the platform's cost alone."""
    lost_minor: int = 0
    """Taken by lost disputes, each bearing its share."""
    lost_by_platform_minor: int = 0
    """Taken by lost disputes at the platform's cost alone."""
    withheld_minor: int = 0
    """Taken by open disputes, each giving its share for as long."""
    withheld_by_platform_minor: int = 0
    """Taken by open disputes; the seller keeps its share for as long."""

    @property
    def refundable_minor(self) -> int:
        """What of it neither went back nor is contested."""
        return self.captured_minor - (
            self.shared_minor
            + self.by_seller_minor
            + self.by_platform_minor
            + self.lost_minor
            + self.lost_by_platform_minor
            + self.withheld_minor
            + self.withheld_by_platform_minor
        )

    @property
    def standing_minor(self) -> int:
        """What of it is shared between its seller and the platform."""
        return self.captured_minor - self.shared_minor - self.lost_minor

    @property
    def released_minor(self) -> int:
        """What of it is shared between them while disputes are open."""
        return self.standing_minor - self.withheld_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """What one seller is to have of one attempt, and has, in minor units of the payment's currency."""

    attempt: int
    seller_id: str
    owed_minor: int
    """What is due to it, whether it has that or not; the balance that `seller:<id>` is credited with."""
    held_minor: int
    """What of that it is not to have while disputes are open; `seller_held:<id>`."""
    taken_back_minor: int
    """Of a destination charge: what of the transfer is to come back, fee included."""
    fee_minor: int
    """Of a destination charge: what the application fee is to be in the end."""
    moved_minor: int
    """What it has: transfers less reversals, less application fees and what of those was refunded. What is written off
    counts as given back; what is netted counts as had where it is kept back, and as given back where it was owed."""

    @property
    def target_minor(self) -> int:
        """What it is to have now."""
        return self.owed_minor - self.held_minor

    @property
    def due_minor(self) -> int:
        """What it is still to get; below 0 what it is to give back."""
        return self.target_minor - self.moved_minor


def split_of(intent: Intent) -> Split:
    """Return how an attempt is split; by what the platform keeps of it where no more was said."""
    if intent.split is not None:
        return intent.split
    if intent.captured_fee_minor is not None:
        return of_fee(intent.seller_id, amount_minor=intent.captured_minor, fee_minor=intent.captured_fee_minor)
    return of_fee(intent.seller_id, amount_minor=intent.amount_minor, fee_minor=intent.application_fee_minor)


def beyond(
    asked: Iterable[LineAmount], left: Mapping[str, int], *, step_minor: int
) -> Iterator[tuple[int, LineAmount]]:
    """Yield those of what is asked for of lines, each with its place, of which less is left.

    Raises FieldInvalid for one that is no line of the charge, and for an amount that is no multiple of the step.
    """
    for number, one in enumerate(asked):
        if one.line_id not in left:
            raise FieldInvalid(field=f"line_amounts[{number}].line_id", detail="must be a line of the charge")
        if one.amount_minor % step_minor:
            detail = f"must be a multiple of {step_minor}"
            raise FieldInvalid(field=f"line_amounts[{number}].amount_minor", detail=detail)
        if one.amount_minor > left[one.line_id]:
            yield number, one


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one dispute took, or takes for now."""

    standing: Standing
    parts: tuple[LineAmount, ...]


def lines_of(intent: Intent, refunds: Iterable[Refund]) -> tuple[LineStanding, ...]:
    """Return what became of each line of an attempt."""
    return became_of(
        intent, refunds, [Taken(standing=one.standing_of_money, parts=one.parts) for one in intent.disputes]
    )


def became_of(intent: Intent, refunds: Iterable[Refund], disputes: Iterable[Taken]) -> tuple[LineStanding, ...]:
    """Return what became of each line of an attempt, given what disputes took of it."""
    split = split_of(intent)
    captured = captured_of_lines(intent)
    found = {line.line_id: LineStanding(line=line, captured_minor=captured[line.line_id]) for line in split.lines}
    for refund in refunds:
        if refund.attempt == intent.attempt and refund.state in ON_ITS_WAY:
            for part in refund.parts:
                if part.line_id in found:
                    found[part.line_id] = _refunded(found[part.line_id], refund.bearer, part.amount_minor)
    for dispute in disputes:
        contested = _CONTESTED.get((dispute.standing, intent.settlement.dispute_recovery))
        for part in dispute.parts if contested is not None else ():
            if part.line_id in found and contested is not None:
                found[part.line_id] = contested(found[part.line_id], part.amount_minor)
    return tuple(found.values())


def positions(intent: Intent, refunds: Iterable[Refund], movements: Sequence[Movement]) -> tuple[Position, ...]:
    """Return where an attempt's sellers stand, in the order of their lines."""
    split, lines = split_of(intent), lines_of(intent, refunds)
    return tuple(
        _position(
            seller_id,
            split,
            lines,
            attempt=intent.attempt,
            moved_minor=moved_minor(movements, intent.attempt, seller_id),
        )
        for seller_id in split.seller_ids
    )


def _position(
    seller_id: str, split: Split, lines: Sequence[LineStanding], *, attempt: int, moved_minor: int
) -> Position:
    standing = {one.line.line_id: one.standing_minor for one in lines}
    released = {one.line.line_id: one.released_minor for one in lines}
    own = [one for one in lines if one.line.seller_id == seller_id and not one.line.is_platform]
    by_seller = sum(one.by_seller_minor for one in own)
    owed = sum(split.seller_minor(one.line, standing) for one in own) - by_seller
    to_have = sum(split.seller_minor(one.line, released) for one in own) - by_seller
    return Position(
        attempt=attempt,
        seller_id=seller_id,
        owed_minor=owed,
        held_minor=owed - to_have,
        taken_back_minor=sum(one.captured_minor - one.released_minor for one in own) + by_seller,
        fee_minor=sum(one.released_minor - split.seller_minor(one.line, released) for one in own),
        moved_minor=moved_minor,
    )


def moved_minor(movements: Iterable[Movement], attempt: int, seller_id: str) -> int:
    """Return what a seller has of an attempt."""
    return sum(
        one.charge_minor if one.kind in TO_SELLER else -one.charge_minor
        for one in movements
        if one.attempt == attempt and one.seller_id == seller_id and one.is_out
    )


def captured_of_lines(intent: Intent) -> dict[str, int]:
    """Return what of each line of an attempt was captured: as its captures said, and of what they did not, its share.

    So none of what was taken is of no line, whichever capture names lines and whichever does not.
    """
    split = split_of(intent)
    told = {part.line_id: part.amount_minor for part in intent.captured_parts}
    if not told:
        return split.of_amount(intent.captured_minor)
    left = {line.line_id: max(0, line.gross_minor - told.get(line.line_id, 0)) for line in split.lines}
    more = spread(max(0, intent.captured_minor - sum(told.values())), left, step_minor=split.step_minor)
    return {line_id: told.get(line_id, 0) + more[line_id] for line_id in left}


def _refunded(line: LineStanding, bearer: Bearer, amount_minor: int) -> LineStanding:
    match bearer:
        case Bearer.SHARED:
            return replace(line, shared_minor=line.shared_minor + amount_minor)
        case Bearer.SELLER:
            return replace(line, by_seller_minor=line.by_seller_minor + amount_minor)
        case Bearer.PLATFORM:
            return replace(line, by_platform_minor=line.by_platform_minor + amount_minor)


def allocated(
    amount_minor: int, intent: Intent, refunds: Iterable[Refund], line_ids: Collection[str] = ()
) -> tuple[LineAmount, ...]:
    """Return what of an amount that goes falls to each line of an attempt: in proportion to what is left of each.

    Where lines are named it falls to those alone. So no line gives more than it has, and amounts that add up to all of
    it take from each exactly what was captured. What is more than is left falls to none.
    """
    left = {
        one.line.line_id: max(0, one.refundable_minor)
        for one in lines_of(intent, refunds)
        if not line_ids or one.line.line_id in line_ids
    }
    return amounts_of(spread(amount_minor, left, step_minor=split_of(intent).step_minor))


def _lost(line: LineStanding, amount_minor: int) -> LineStanding:
    return replace(line, lost_minor=line.lost_minor + amount_minor)


def _lost_by_platform(line: LineStanding, amount_minor: int) -> LineStanding:
    return replace(line, lost_by_platform_minor=line.lost_by_platform_minor + amount_minor)


def _withheld(line: LineStanding, amount_minor: int) -> LineStanding:
    return replace(line, withheld_minor=line.withheld_minor + amount_minor)


def _withheld_by_platform(line: LineStanding, amount_minor: int) -> LineStanding:
    return replace(line, withheld_by_platform_minor=line.withheld_by_platform_minor + amount_minor)


_CONTESTED: Final = {
    (Standing.LOST, DisputeRecovery.NONE): _lost_by_platform,
    (Standing.LOST, DisputeRecovery.AT_LOSS): _lost,
    (Standing.LOST, DisputeRecovery.AT_WITHDRAWAL): _lost,
    (Standing.OPEN, DisputeRecovery.NONE): _withheld_by_platform,
    (Standing.OPEN, DisputeRecovery.AT_LOSS): _withheld_by_platform,
    (Standing.OPEN, DisputeRecovery.AT_WITHDRAWAL): _withheld,
}
"""What a dispute takes of a line, by how it stands and when the seller gives its part back."""
