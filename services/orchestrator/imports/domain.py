"""A payment of a system before this one, and the revisions that it came to. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.errors import FieldInvalid
from services.orchestrator.domain.payment import Observation, Snapshot
from services.orchestrator.domain.transitions import observed
from services.shared.payment import Amounts, Method, PaymentError
from services.shared.split import Split
from services.shared.states import Cause, State

ENDS: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.EXPIRED})
WITHOUT_METHOD: Final = frozenset({State.PROCESSING, State.REQUIRES_ACTION, State.AUTHORIZED, State.SUCCEEDED})
"""What no payment comes to as its first step: it asks for a method before, also where a record does not say so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where the collection stood from then on."""

    state: State
    time: datetime
    error: PaymentError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenBack:
    """Money that went back to the payer."""

    amount_minor: int
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Contested:
    """A dispute that is decided."""

    amount_minor: int
    is_lost: bool
    open_time: datetime
    close_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRecord:
    """A payment that is over, as its record says."""

    record_id: str
    payment_id: str
    payer_id: str
    currency_code: str
    total_minor: int
    steps: tuple[Step, ...]
    split: Split
    booking_ids: tuple[str, ...] = ()
    client_reference: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    session_type: str = ""
    session_name: str = ""
    has_charge: bool = False
    """It came to an intent at Stripe."""
    captured_minor: int = 0
    method: Method | None = None
    refunds: tuple[GivenBack, ...] = ()
    disputes: tuple[Contested, ...] = ()

    @property
    def open_time(self) -> datetime:
        """When it began."""
        return self.steps[0].time

    @property
    def attempt(self) -> int:
        """The attempt that counts; 0 where there was none."""
        return int(self.has_charge)

    @property
    def is_paid(self) -> bool:
        """Whether money was taken."""
        return self.captured_minor > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One revision after the first."""

    snapshot: Snapshot
    time: datetime


def refuse_unfinished(record: PaymentRecord) -> None:
    """Raise what says that a payment is not over, or that its record contradicts itself."""
    last = record.steps[-1].state
    if last not in ENDS:
        raise FieldInvalid(field="history", detail=f"must end with a payment that is over, not with {last}")
    if record.is_paid and last is not State.SUCCEEDED:
        raise FieldInvalid(field="history", detail=f"must not end with {last}: money was captured")
    if last is State.SUCCEEDED and record.total_minor and not record.is_paid:
        raise FieldInvalid(field="charge.captured_minor", detail="must be above 0: the payment succeeded")
    for place, (before, after) in enumerate(zip(record.steps, record.steps[1:], strict=False), start=1):
        if after.time < before.time:
            raise FieldInvalid(field=f"history[{place}].time", detail="must not be before the step before it")


def revisions(record: PaymentRecord) -> tuple[Revision, ...]:
    """Return the revisions after the first: of the collection, and then of refunds and disputes by their times."""
    found = list(_collected(record))
    found += _afterwards(record, found[-1])
    return tuple(found)


def concluded(history: Sequence[Revision], observation: Observation | None) -> tuple[Revision, ...]:
    """Return the history whose last revision says all that is observed at Stripe, so that nothing is news of it.

    Where something is awaited of it by now, that is news: it came to be after the record had been taken over.
    """
    if observation is None or is_awaited(observation):
        return tuple(history)
    last = history[-1]
    known = replace(observed(last.snapshot, observation, cancel_outcome=None), cause=Cause.IMPORT)
    return (*history[:-1], replace(last, snapshot=known))


def is_awaited(observation: Observation) -> bool:
    """Whether a refund is on its way, or a dispute is not decided."""
    return bool(observation.amounts.refund_pending_minor or observation.amounts.disputed_open_minor)


def _collected(record: PaymentRecord) -> Iterator[Revision]:
    steps = record.steps[1:] if record.steps[0].state is State.INITIALIZED else record.steps
    first = steps[0] if steps else record.steps[0]
    if first.state in WITHOUT_METHOD and record.total_minor:
        asked = Step(state=State.REQUIRES_PAYMENT_METHOD, time=record.open_time)
        steps = (asked, *steps)
    for step in steps:
        is_taken = step.state is State.SUCCEEDED
        yield Revision(
            snapshot=Snapshot(
                collection=step.state,
                cause=Cause.IMPORT,
                amounts=_amounts(record, step.state),
                last_error=None if is_taken else step.error,
                method=record.method if is_taken else None,
                attempt=record.attempt,
            ),
            time=step.time,
        )


def _amounts(record: PaymentRecord, state: State) -> Amounts:
    if state is State.AUTHORIZED:
        return Amounts(authorized_minor=record.total_minor, capturable_minor=record.total_minor)
    if state is State.SUCCEEDED:
        return Amounts(authorized_minor=record.captured_minor, captured_minor=record.captured_minor)
    return Amounts()


def _afterwards(record: PaymentRecord, last: Revision) -> Iterator[Revision]:
    """Yield what came of the money: nothing before it was taken, as clocks of two systems may say."""
    moves = [(one.time, {"refunded_minor": one.amount_minor}) for one in record.refunds]
    for one in record.disputes:
        closed = {"disputed_open_minor": -one.amount_minor, "disputed_lost_minor": one.amount_minor * one.is_lost}
        moves += [(one.open_time, {"disputed_open_minor": one.amount_minor}), (one.close_time, closed)]
    snapshot = last.snapshot
    for time, changes in sorted(moves, key=lambda move: move[0]):
        amounts = snapshot.amounts
        named = {name: getattr(amounts, name) + minor for name, minor in changes.items()}
        snapshot = replace(snapshot, amounts=replace(amounts, **named))
        yield Revision(snapshot=snapshot, time=max(time, last.time))
