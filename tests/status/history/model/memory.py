"""Payments in memory: what is committed in which transaction, and a bell for who waits for more."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from batzen.status.v1 import status_pb2 as pb
from tests.status.history.model.bugs import Bug
from tests.status.history.reports import now_us
from tests.status.history.stored import Revision, StoredPayment, state_of, stored_payment

HEARTBEAT_S: Final = 0.05
ENOUGH: Final = 5
"""So often a bug must have shown itself before a round may end: some of it is seen by nobody."""


@dataclass(slots=True, kw_only=True)
class Kept:
    """A payment."""

    opened: pb.Payment
    rows: list[dict[str, Any]] = field(default_factory=list)


class Memory:
    """What the model keeps, with the bug that it has."""

    def __init__(self, chance: random.Random, *, bug: Bug | None) -> None:
        self.chance = chance
        self.bug = bug
        self.kept: dict[str, Kept] = {}
        self.log: list[tuple[int, str, int]] = []
        """Transaction, payment and revision, in the order of their commits."""
        self.rumours: list[tuple[str, int, pb.Transition]] = []
        """What was refused, in the form in which it would have been sent, with the number of it."""
        self._next_xid = 1
        self._open_xids: set[int] = set()
        self._bell = asyncio.Event()
        self._views: dict[tuple[str, int, str], Revision] = {}
        self._erred = 0
        self.has_erred_enough = asyncio.Event()

    def has(self, bug: Bug, likely: float = 1.0) -> bool:
        """Return whether to err in this way now, which is noted: ask last, where it makes a difference to somebody."""
        if self.bug is not bug or self.chance.random() >= likely:
            return False
        self._erred += 1
        if self._erred >= ENOUGH:
            self.has_erred_enough.set()
        return True

    def stored(self) -> dict[str, StoredPayment]:
        """Return all that is kept, as the checker takes it."""
        return {
            payment_id: stored_payment(kept.opened, kept.rows, standing=len(kept.rows))
            for payment_id, kept in self.kept.items()
        }

    def last(self, payment_id: str) -> int:
        return len(self.kept[payment_id].rows)

    def row(self, payment_id: str, revision: int) -> Revision:
        """Return a revision as the checker takes it."""
        kept = self.kept[payment_id]
        key = (payment_id, revision, kept.rows[revision - 1]["request_id"])
        if key not in self._views:
            payment = stored_payment(kept.opened, kept.rows[:revision], standing=revision)
            self._views[key] = payment.revisions[-1]
        return self._views[key]

    def transition(self, payment_id: str, revision: int) -> pb.Transition:
        return pb.Transition.FromString(self.row(payment_id, revision).transition)

    def payment(self, payment_id: str, revision: int | None = None) -> pb.Payment:
        return pb.Payment.FromString(self.row(payment_id, revision or self.last(payment_id)).payment)

    def begin(self) -> int:
        """Begin a transaction."""
        xid, self._next_xid = self._next_xid, self._next_xid + 1
        self._open_xids.add(xid)
        return xid

    def commit(self, xid: int, payment_id: str, snapshot: Any, request_id: str) -> None:
        """Commit the next transition of a payment."""
        rows = self.kept[payment_id].rows
        rows.append(
            {
                "revision": len(rows) + 1,
                "request_id": request_id,
                "state": state_of(snapshot),
                "snapshot": snapshot,
                "record_time": datetime.now(UTC),
                "committed_us": now_us(),
                "xid": xid,
            }
        )
        self.log.append((xid, payment_id, len(rows)))
        self._open_xids.discard(xid)
        self.ring()

    def horizon(self) -> int:
        """Return the first transaction that has not ended."""
        return min(self._open_xids, default=self._next_xid)

    def ring(self) -> None:
        self._bell.set()
        self._bell = asyncio.Event()

    async def rung(self) -> bool:
        """Wait for the bell, or until it is time for a heartbeat; return whether it rang."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                await self._bell.wait()
        except TimeoutError:
            return False
        return True
