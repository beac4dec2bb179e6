"""What of refunds and disputes falls to which line of an attempt, where nobody said it. Pure.

What somebody refunds here is told apart when it is reserved, and stays as its caller was told. What the dashboard gave
back and what disputes took is told apart anew each time that more is known: in the order in which Stripe moved the
money, which is not that in which we hear of it, each in proportion to what was left of each line then, and never of
what somebody decided about. What counts for nothing any more, such as a refund that Stripe refused or the bank sent
back, leaves no trace in the others. So only facts say what falls to a line, and not when each became known.

Of what found no line to fall to, as there was no more left, falls what fits as soon as there is more: also of a refund
that was decided here. That then stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum

from services.gateway.disputes.domain import Dispute
from services.gateway.intents.domain import Intent
from services.gateway.refunds.domain import ON_ITS_WAY, Refund
from services.gateway.settlement.positions import became_of, split_of
from services.shared.split import LineAmount, added, amounts_of, spread


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldApart:
    """The refunds and disputes of an attempt, each with what of it falls to each line."""

    refunds: tuple[Refund, ...]
    disputes: tuple[Dispute, ...]


class _Kind(IntEnum):
    """What takes of the lines, in the order in which it does in one second: what is contested is not refunded then."""

    DECIDED = 0
    DASHBOARD = 1
    DISPUTE = 2


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class _Gone:
    """What one refund or dispute takes of the lines; ordered by when it did."""

    time: datetime
    kind: _Kind
    of: str
    amount_minor: int
    decided: tuple[LineAmount, ...] = field(default=(), compare=False)

    @property
    def open_minor(self) -> int:
        """What of it nobody decided about."""
        return self.amount_minor - sum(one.amount_minor for one in self.decided)


def told_apart(intent: Intent, refunds: Iterable[Refund]) -> ToldApart:
    """Return the refunds and disputes of an attempt as they fall to its lines, by all that is known now."""
    own = [one for one in refunds if one.attempt == intent.attempt]
    found = _parts(intent, own)
    told = [_told(one, found.get(one.refund_id, ())) for one in own]
    # Of what was decided here nothing is taken away again, whatever else is known then.
    if any(after.is_decided and after != before for after, before in zip(told, own, strict=True)):
        return told_apart(intent, told)
    return ToldApart(
        refunds=tuple(told),
        disputes=tuple(replace(one, parts=found.get(one.dispute_id, ())) for one in intent.disputes),
    )


def _told(refund: Refund, parts: tuple[LineAmount, ...]) -> Refund:
    """Return a refund with what falls to each line; one that was decided here and came to nothing stays as it was."""
    is_kept = refund.is_decided and refund.state not in ON_ITS_WAY
    return refund if is_kept else replace(refund, parts=parts)


def _parts(intent: Intent, refunds: Collection[Refund]) -> dict[str, tuple[LineAmount, ...]]:
    step_minor = split_of(intent).step_minor
    gone = sorted(_gone(intent, refunds))
    then = {one.line.line_id: one.captured_minor for one in became_of(intent, (), ())}
    free = _less(then, [part for one in gone for part in one.decided])
    found = {}
    for one in gone:
        then = _less(then, one.decided)
        more = amounts_of(_spread(one.open_minor, then, free, step_minor=step_minor))
        then, free = _less(then, more), _less(free, more)
        found[one.of] = added(one.decided, more) if more else one.decided
    return found


def _gone(intent: Intent, refunds: Iterable[Refund]) -> Iterator[_Gone]:
    for one in refunds:
        if one.state in ON_ITS_WAY:
            kind, decided = (_Kind.DECIDED, one.parts) if one.is_decided else (_Kind.DASHBOARD, ())
            time, minor = one.create_time, one.amount_minor
            yield _Gone(time=time, kind=kind, of=one.refund_id, amount_minor=minor, decided=decided)
    for dispute in intent.disputes:
        time, minor = dispute.withdraw_time, dispute.withdrawn_minor
        if minor:
            yield _Gone(time=time, kind=_Kind.DISPUTE, of=dispute.dispute_id, amount_minor=minor)


def _spread(
    amount_minor: int, then: Mapping[str, int], free: Mapping[str, int], *, step_minor: int
) -> Mapping[str, int]:
    """Return what of an amount falls to each line: in proportion to what was left of it then, as far as it is free."""
    wanted = spread(amount_minor, _positive(then), step_minor=step_minor)
    fits = {key: min(minor, max(0, free[key])) for key, minor in wanted.items()}
    left = _positive({key: free[key] - minor for key, minor in fits.items()})
    rest = spread(amount_minor - sum(fits.values()), left, step_minor=step_minor)
    return {key: minor + rest[key] for key, minor in fits.items()}


def _less(minor: Mapping[str, int], parts: Sequence[LineAmount]) -> dict[str, int]:
    left = dict(minor)
    for one in parts:
        if one.line_id in left:
            left[one.line_id] -= one.amount_minor
    return left


def _positive(minor: Mapping[str, int]) -> dict[str, int]:
    return {key: max(0, one) for key, one in minor.items()}
