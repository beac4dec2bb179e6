"""Writing transitions: one statement for one, one statement for all that come while another is on its way.

Whatever becomes of a connection in the middle, a call that is repeated under its `request_id` finds what it wrote: a
statement commits wholly or not at all, and whoever moved nothing looks up what its request wrote before it is refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from services.errors import RequestIdReused
from services.runtime.database.batching import Batcher
from services.runtime.database.connections import DirectConnections
from services.shared.states import State
from services.status.domain.errors import PaymentNotFound, RevisionConflict
from services.status.domain.moves import refuse_illegal
from services.status.domain.records import Payment, Transition
from services.status.domain.snapshot import ENDS, Snapshot, is_settled, legal_from, state_of
from services.status.metrics import UNCOUNTED, StatusMetrics
from services.status.storage import statements
from services.status.storage.rows import payment_from, snapshot_json, transition_from

CONCURRENCY_MAX: Final = 4
"""Statements on their way at once when some take long, as one does that waits for the lock of its payment."""
BATCH_MAX: Final = 64
"""Transitions of one statement, ~5 ms. Larger ones save nothing more."""
KNOWN_MAX: Final = 10_000
"""Payments of which it is remembered how far this process has moved them, ~2 MB."""
WRITE_TRIES: Final = 3
"""How often a transition is tried again because the payment moved between the write and the look at why it failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """A transition that a caller wants written."""

    tenant_id: str
    payment_id: str
    request_id: str
    expected_revision: int
    snapshot: Snapshot
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a move came to."""

    transition: Transition
    payment: Payment
    """As it stands after the call."""
    is_new: bool
    """False when an earlier call with the same request id wrote the transition."""


class Recorder:
    """Writes transitions. Any call may raise DependencyUnavailable and is safe to send again."""

    def __init__(
        self,
        held: DirectConnections,
        *,
        concurrency_max: int = CONCURRENCY_MAX,
        metrics: StatusMetrics = UNCOUNTED,
    ) -> None:
        self._held = held
        self._metrics = metrics
        self._write = Batcher(
            one=self._write_one,
            many=self._write_many,
            concurrency_max=concurrency_max,
            batch_max=BATCH_MAX,
            partition_key=lambda move: (move.tenant_id, move.payment_id),
        )
        self._known: dict[tuple[str, str], int] = {}
        """Revisions that payments have come to at least, the newest last."""
        self._look_up = Batcher(
            one=self._look_up_one, many=self._look_up_many, concurrency_max=concurrency_max, batch_max=BATCH_MAX
        )

    async def record(self, move: Move) -> Recorded:
        """Write the next revision, or return what an earlier call with this request id wrote.

        Raises PaymentNotFound, RequestIdReused, RevisionConflict, AmountsInconsistent (against the payment's total),
        TransitionIllegal, in this order.
        """
        write: Callable[[Move], Awaitable[Mapping[str, Any] | None]] = self._write
        current_revision = move.expected_revision
        for _ in range(WRITE_TRIES):
            moved = await write(move)
            if moved is not None:
                recorded = _recorded(moved, move)
                self._metrics.recorded(move.tenant_id, recorded.payment)
                return recorded
            # In a snapshot of its own: whoever was quicker has committed, or is about to.
            row = await self._look_up(move)
            if row is None:
                raise PaymentNotFound
            if row["written_revision"] is not None:
                return _replayed(row, move)
            current_revision = row["revision"]
            if current_revision != move.expected_revision:
                raise RevisionConflict(current_revision=current_revision)
            refuse_illegal(State(row["collection"]), move.snapshot, total_is_zero=row["total_amount_minor"] == 0)
            self._known.pop((move.tenant_id, move.payment_id), None)  # the database says otherwise, and is the truth
            write = self._write_one  # another held the payment, and only a statement of its own waits for that
        raise RevisionConflict(current_revision=current_revision)

    async def _write_one(self, move: Move) -> Mapping[str, Any] | None:
        """Return the payment as moved; None if the move did not apply."""
        if self._is_late(move):
            return None
        async with self._held.statement("status.record") as connection:
            row: Mapping[str, Any] | None = await connection.fetchrow(statements.RECORD, *_arguments(move))
        if row is not None:
            self._remember(move, row)
        return row

    async def _write_many(self, moves: Sequence[Move]) -> list[Mapping[str, Any] | None]:
        columns = list(zip(*[_arguments(move) for move in moves if not self._is_late(move)], strict=True))
        if not columns:
            return [None] * len(moves)
        async with self._held.statement("status.record") as connection:
            rows = await connection.fetch(statements.RECORD_MANY, *columns)
        moved = {(row["tenant_id"], row["payment_id"]): row for row in rows}
        answers = [moved.get((move.tenant_id, move.payment_id)) for move in moves]
        for move, row in zip(moves, answers, strict=True):
            if row is not None:
                self._remember(move, row)
        return answers

    def _is_late(self, move: Move) -> bool:
        """Whether the payment is known to be further than the move expects: of many that race, one statement wins."""
        return self._known.get((move.tenant_id, move.payment_id), 0) > move.expected_revision

    def _remember(self, move: Move, row: Mapping[str, Any]) -> None:
        key = (move.tenant_id, move.payment_id)
        self._known.pop(key, None)
        self._known[key] = row["revision"]
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    async def _look_up_one(self, move: Move) -> Mapping[str, Any] | None:
        async with self._held.statement(None) as connection:
            row: Mapping[str, Any] | None = await connection.fetchrow(
                statements.LOOK_UP, move.tenant_id, move.payment_id, move.request_id
            )
            return row

    async def _look_up_many(self, moves: Sequence[Move]) -> list[Mapping[str, Any] | None]:
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(
                statements.LOOK_UP_MANY,
                [move.tenant_id for move in moves],
                [move.payment_id for move in moves],
                [move.request_id for move in moves],
            )
        found = {row["position"]: row for row in rows}
        return [found.get(position) for position in range(1, len(moves) + 1)]


def _arguments(move: Move) -> tuple[Any, ...]:
    """Return the parameters of RECORD."""
    snapshot = move.snapshot
    return (
        move.tenant_id,
        move.payment_id,
        move.expected_revision,
        snapshot.collection,
        state_of(snapshot),
        is_settled(snapshot),
        snapshot_json(snapshot),
        move.now,
        snapshot.collection in ENDS,
        " ".join(legal_from(snapshot, total_is_zero=True)),
        " ".join(legal_from(snapshot, total_is_zero=False)),
        move.request_id,
    )


def _recorded(row: Mapping[str, Any], move: Move) -> Recorded:
    return just_recorded(payment_from(row, snapshot=move.snapshot), move)


def just_recorded(payment: Payment, move: Move) -> Recorded:
    """Return what a move came to that has just written the newest revision of the payment."""
    transition = Transition(
        payment_id=move.payment_id,
        revision=payment.revision,
        snapshot=move.snapshot,
        record_time=payment.update_time,
        request_id=move.request_id,
    )
    return Recorded(transition=transition, payment=payment, is_new=True)


def _replayed(row: Mapping[str, Any], move: Move) -> Recorded:
    written = transition_from(
        {
            "payment_id": row["payment_id"],
            "revision": row["written_revision"],
            "snapshot": row["written_snapshot"],
            "record_time": row["written_time"],
            "request_id": move.request_id,
        }
    )
    if written.snapshot != move.snapshot:
        raise RequestIdReused(field="request_id")
    return Recorded(transition=written, payment=payment_from(row), is_new=False)
