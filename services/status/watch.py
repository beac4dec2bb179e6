"""One watch: a place in the history of a payment, a bounded queue, one reason to end. And all watches of a payment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Generic, TypeVar

from services.errors import ServiceError
from services.status.domain import RevisionAhead, StreamTooOld, WatchOverflow
from services.status.records import Payment, Transition, open_month
from services.status.store import Place, StatusStore

Message = TypeVar("Message")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedLimits:
    """How much one watch may cost; tests shorten them."""

    queue_max: int = 64
    """Transitions that wait for a slow reader, ~30 KB; a payment has about ten in its life."""
    page_max: int = 100
    """Transitions read from the history at once, and sent in one message."""
    heartbeat_s: float = 15.0
    """Below the 60 s after which proxies cut a quiet stream."""
    stream_age_max_s: float = 300.0
    write_grace_s: float = 0.25
    """How long a watch that has to end waits for its reader to take the message on its way."""
    resync_s: float = 1.5
    """A lost hint is repaired within 2 s."""


@dataclass(frozen=True, slots=True)
class Update(Generic[Message]):
    """One transition on its way to watches."""

    revision: int
    settled: bool
    message: Message
    """What is sent for it, made once for all watches."""


class Watch(Generic[Message]):
    """One stream's place in the feed. `begin`, then `next` and `wrote` in turns, by one task."""

    def __init__(
        self,
        topic: Topic[Message],
        *,
        store: StatusStore,
        limits: FeedLimits,
        update: Callable[[Transition], Update[Message]],
        latest_only: bool,
        age_s: float,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.cut = asyncio.timeout(None)
        self.sent = 0
        """The last revision that was written to the stream, or that it resumes after; 0 before `begin`."""
        self._topic = topic
        self._store = store
        self._limits = limits
        self._update = update
        self._loop = loop
        self._latest_only = latest_only
        self._tail: int | None = None
        self._behind = False
        self._pending: list[Update[Message]] = []
        self._ending: type[ServiceError] | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._heartbeat_due = False
        self._wrote_at = loop.time()
        self._end_at = self._wrote_at + age_s
        self._timer = loop.call_later(min(limits.heartbeat_s, age_s), self._tick)

    def begin(self, payment: Payment, *, after_revision: int | None) -> None:
        """Start at the payment as it was read after this watch was registered, or after an earlier revision.

        Raises RevisionAhead if the payment has not come that far.
        """
        start = payment.revision if after_revision is None else after_revision
        if start > payment.revision:
            raise RevisionAhead(field="after_revision", current_revision=payment.revision)
        self.sent = self._tail = start
        if self._topic.begin(payment) > start or payment.revision > start:
            self._behind = True

    async def next(self) -> list[Update[Message]]:
        """Wait for the next updates, oldest first, without a gap after the last; an empty list: a heartbeat is due.

        Raises what ends the watch: ShuttingDown, StreamTooOld or WatchOverflow with the revision to resume after,
        RevisionCompacted, DependencyUnavailable.
        """
        while True:
            if self._ending is not None:
                raise self.end_reason()
            if self._behind:
                await self._catch_up()
            if self._pending:
                updates, self._pending = self._pending, []
                return updates
            if self._heartbeat_due:
                self._heartbeat_due = False
                return []
            if self._ending is None and not self._behind:
                self._waiter = self._loop.create_future()
                try:
                    await self._waiter
                finally:
                    self._waiter = None

    def wrote(self, revision: int) -> None:
        """Note that everything up to a revision was written to the stream just now."""
        self.sent = revision
        self._wrote_at = self._loop.time()
        self._heartbeat_due = False

    def offer(self, update: Update[Message]) -> None:
        """Take the next transition, or notice that there is a gap before it."""
        tail = self._tail
        if tail is None:
            self._behind = True
        elif update.revision <= tail:
            return
        elif self._latest_only:
            self._pending = [update]
            self._tail = update.revision
        elif update.revision > tail + 1:
            self._behind = True
        elif len(self._pending) >= self._limits.queue_max:
            self._pending = []
            self.end(WatchOverflow)
        else:
            self._pending.append(update)
            self._tail = update.revision
        self._wake()

    def look(self) -> None:
        """Read the history, since something may have moved."""
        self._behind = True
        self._wake()

    def end(self, reason: type[ServiceError]) -> None:
        """End the watch: at once if it waits, soon if its reader does not take what is being written."""
        if self._ending is None:
            self._ending = reason
            self.cut.reschedule(self._loop.time() + self._limits.write_grace_s)
            self._wake()

    def end_reason(self) -> ServiceError:
        assert self._ending is not None, "only asked once the watch ends"  # noqa: S101
        return self._ending(resume_after_revision=self.sent) if self._tail is not None else self._ending()

    def close(self) -> None:
        self._timer.cancel()

    async def _catch_up(self) -> None:
        assert self._tail is not None, "a watch begins before it reads"  # noqa: S101
        self._behind = False
        place = self._topic.place(self._tail)
        if self._latest_only:
            transitions = await self._store.newest(place)
        else:
            transitions = await self._store.history(place, limit=self._limits.page_max)
            self._behind |= len(transitions) == self._limits.page_max
        for transition in transitions:
            if transition.revision > self._tail:
                update = self._update(transition)
                self._pending = [update] if self._latest_only else [*self._pending, update]
                self._tail = transition.revision

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _tick(self) -> None:
        now = self._loop.time()
        heartbeat_at = self._wrote_at + self._limits.heartbeat_s
        if now >= self._end_at:
            self.end(StreamTooOld)
            return
        if now >= heartbeat_at:
            self._heartbeat_due = True
            self._wake()
            heartbeat_at = now + self._limits.heartbeat_s
        self._timer = self._loop.call_at(min(heartbeat_at, self._end_at), self._tick)


class Topic(Generic[Message]):
    """The watches of one payment."""

    def __init__(self, tenant_id: str, payment_id: str) -> None:
        self.tenant_id = tenant_id
        self.payment_id = payment_id
        self.watches: set[Watch[Message]] = set()
        self.open_month: date | None = None
        self.revision: int | None = None
        """All watches that have begun were offered everything up to it; None until the first of them has."""

    def begin(self, payment: Payment) -> int:
        """Take in that a watch begins with `payment`; return up to where the other watches are."""
        if self.revision is None:
            self.open_month = open_month(payment.open_time)
            self.revision = payment.revision
        return self.revision

    def place(self, revision: int) -> Place:
        assert self.open_month is not None, "a watch has begun"  # noqa: S101
        return Place(
            tenant_id=self.tenant_id, payment_id=self.payment_id, open_month=self.open_month, revision=revision
        )
