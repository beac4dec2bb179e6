"""The watch hub: every watch gets every transition of its payment, once and in order.

Only the history is the truth. A watch is a number, its `tail`: the last revision that its stream was given. Each is in
one of four groups, which no list but its tail, its topic and its send queue says:

- *beginning*: registered, its payment not read yet. What is hinted meanwhile is kept as `Topic.hinted`.
- *synced*: at its topic's revision. The next transition is offered to it as it commits.
- *behind*: below its topic's revision, with room in its send queue. `CatchUp` reads the history for it, for all topics
  together, from the tail that is furthest behind.
- *starved*: below it, without room: its topic is in `SendQueue.starved`. It is behind once its reader made room.

What this process writes is published to synced watches at once if it is exactly the next revision. What other replicas
write is hinted at, and then read; every `resync_s` the hub asks what has moved, whatever was hinted.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Final

from services.errors import ServiceError, ShuttingDown
from services.runtime.work.loops import repeating
from services.status.domain.errors import RevisionAhead, TooManyWatches
from services.status.domain.records import Payment, open_month
from services.status.metrics import UNCOUNTED, WATCH_STREAMS_OPEN, WATCHES_OPEN, StatusMetrics
from services.status.storage.store import StatusStore
from services.status.watches.catch_up import CatchUp
from services.status.watches.send_queue import SendQueue, StreamLimits
from services.status.watches.watch import NOT_BEGUN, UNKNOWN_REVISION, Cancel, Form, Topic, Update, Watch

AGE_SPREAD: Final = 0.2
"""Streams end at 80 to 100 % of their age, so that those opened together do not resume together."""
TICK_S: Final = 1.0
"""How exactly heartbeats and ages are kept, at most."""


class WatchHub:
    """All watches of this process."""

    def __init__(
        self,
        store: StatusStore,
        *,
        announce: Callable[[str, str], None],
        draining: asyncio.Event,
        limits: StreamLimits | None = None,
        metrics: StatusMetrics = UNCOUNTED,
    ) -> None:
        """`announce` tells other replicas that a payment moved."""
        self.limits = limits or StreamLimits()
        self.metrics = metrics
        self._store = store
        self._announce = announce
        self._draining = draining
        self._send_queues: set[SendQueue] = set()
        self._topics: dict[str, dict[str, Topic]] = {}
        """By tenant and payment."""
        self._watch_count = 0
        self._catch_up = CatchUp(store, queue_max=self.limits.queue_max)
        self._may_have_moved = asyncio.Event()
        self._hints_lost = False
        self._since: int | None = None
        """The horizon of the last resync: what may have moved since was begun at it or later."""
        watches_open, streams_open = metrics.meter.gauge(WATCHES_OPEN), metrics.meter.gauge(WATCH_STREAMS_OPEN)
        metrics.meter.read_when_asked(lambda: watches_open.set(self._watch_count))
        metrics.meter.read_when_asked(lambda: streams_open.set(len(self._send_queues)))

    def publish(self, tenant_id: str, update: Update) -> None:
        """Hand over what this process has just committed, to its own watches and as a hint to other replicas."""
        self._announce(tenant_id, update.payment_id)
        topic = self._topic(tenant_id, update.payment_id)
        if topic is None:
            return
        if topic.revision is not None and update.revision == topic.revision + 1:
            topic.deliver(update)
        elif topic.hint(update.revision):
            self._catch_up.add(topic)

    def moved(self, tenant_id: str, payment_id: str) -> None:
        """Hint, here and to other replicas, at a payment that moved earlier, maybe without a hint."""
        self._announce(tenant_id, payment_id)
        self.hint(tenant_id, payment_id)

    def hint(self, tenant_id: str, payment_id: str, revision: int = UNKNOWN_REVISION) -> None:
        """Take a hint that a payment has moved."""
        topic = self._topic(tenant_id, payment_id)
        if topic is not None and topic.hint(revision):
            self._catch_up.add(topic)

    def resync(self) -> None:
        """Ask soon about all payments: hints may have been lost."""
        self._hints_lost = True
        self._may_have_moved.set()

    def look_again(self) -> None:
        """Ask soon what has moved since the last time: another replica moved payments without a hint."""
        self._may_have_moved.set()

    def open_stream(
        self,
        *,
        heartbeat: Callable[[], bytes],
        ended: Callable[[type[ServiceError]], ServiceError],
        on_tick: Callable[[], None] | None = None,
        joined: Callable[[Sequence[bytes]], bytes] = b"".join,
    ) -> SendQueue:
        """Return the send queue of a new stream, to be closed by `close_stream`."""
        send_queue = SendQueue(
            heartbeat=heartbeat,
            ended=ended,
            on_room=self._catch_up.add_starved,
            on_tick=on_tick,
            joined=joined,
            limits=self.limits,
            age_s=self.limits.stream_age_max_s * random.uniform(1 - AGE_SPREAD, 1),  # noqa: S311 not a secret
            metrics=self.metrics,
        )
        if self._draining.is_set():
            send_queue.end(ShuttingDown)
        self._send_queues.add(send_queue)
        return send_queue

    def close_stream(self, send_queue: SendQueue) -> None:
        """Forget a stream."""
        self._send_queues.discard(send_queue)

    def add(
        self,
        tenant_id: str,
        payment_id: str,
        *,
        send_queue: SendQueue,
        form: Form,
        cancel: Cancel,
        latest_only: bool,
        until_settled: bool = False,
    ) -> Watch:
        """Register a watch, to `drop` in any case. Read the payment after that, then `begin`; nothing falls between.

        Raises TooManyWatches.
        """
        if self._watch_count >= self.limits.watches_max:
            raise TooManyWatches(max=self.limits.watches_max)
        topics = self._topics.setdefault(tenant_id, {})
        topic = topics.get(payment_id)
        if topic is None:
            topic = topics[payment_id] = Topic(tenant_id, payment_id)
        watch = Watch(topic, send_queue, form=form, cancel=cancel, latest_only=latest_only, until_settled=until_settled)
        topic.watches += (watch,)
        self._watch_count += 1
        return watch

    def begin(self, watch: Watch, payment: Payment, *, after_revision: int | None) -> None:
        """Start at the payment as it was read, or after an earlier revision. Raises RevisionAhead."""
        start = payment.revision if after_revision is None else after_revision
        if start > payment.revision:
            raise RevisionAhead(field="after_revision", current_revision=payment.revision)
        watch.start(start, live_after=payment.revision)
        topic = watch.topic
        if topic.revision is None:
            topic.revision = payment.revision
            topic.open_month = open_month(payment.open_time)
        known, topic.hinted = max(payment.revision, topic.hinted), 0
        if start < topic.revision or known > topic.revision:
            self._catch_up.add(topic)

    def drop(self, watch: Watch) -> None:
        """Forget a watch."""
        topic = watch.topic
        watch.tail = NOT_BEGUN
        topic.watches = tuple(other for other in topic.watches if other is not watch)
        self._watch_count -= 1
        if not topic.watches:
            topics = self._topics[topic.tenant_id]
            del topics[topic.payment_id]
            self._catch_up.drop(topic)
            watch.send_queue.starved.pop(topic, None)
            if not topics:
                del self._topics[topic.tenant_id]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the hub's four loops while inside.

        1. `CatchUp.running` reads the history for the watches that are behind.
        2. `_resync` asks what has moved, in case a hint was lost.
        3. `_tick` keeps heartbeats, ages and stalls of streams.
        4. `_drain` ends all streams once the process drains.
        """
        async with AsyncExitStack() as loops:
            for loop in (
                self._catch_up.running(),
                repeating(self._resync, name="watch_resync", every_s=self._until_resync, rests_first=True),
                repeating(self._tick, name="stream_clock", every_s=self._tick_s, rests_first=True),
                repeating(self._drain, name="stream_drain", every_s=0.0),
            ):
                await loops.enter_async_context(loop)
            yield

    def _all_topics(self) -> Iterator[Topic]:
        for topics in self._topics.values():
            yield from topics.values()

    def _topic(self, tenant_id: str, payment_id: str) -> Topic | None:
        topics = self._topics.get(tenant_id)
        return None if topics is None else topics.get(payment_id)

    async def _resync(self) -> None:
        """Ask what has moved since the last time; about all payments once hints may be lost.

        1. Read the horizon: nothing before it will commit any more.
        2. Hint at all topics, or at those that moved since the horizon of the round before.
        3. Keep the horizon for the next round. If the database is away, that begins where this one did.
        """
        if self._hints_lost:
            self._since = None  # the database may have crashed, and have begun to count again from an earlier number
            self._hints_lost = False
        horizon = await self._store.horizon()
        if self._since is None:
            for topic in self._all_topics():
                if topic.hint(UNKNOWN_REVISION):
                    self._catch_up.add(topic)
        else:
            for tenant_id, payment_id, revision in await self._store.moved_since(self._since, list(self._topics)):
                self.hint(tenant_id, payment_id, revision)
        self._since = horizon

    async def _until_resync(self) -> None:
        """Wait for `resync_s`, or until something may have moved without a hint."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.limits.resync_s):
                await self._may_have_moved.wait()
        self._may_have_moved.clear()

    @property
    def _tick_s(self) -> float:
        limits = self.limits
        return min(TICK_S, limits.heartbeat_s / 4, limits.stream_age_max_s / 4, limits.stall_max_s / 4)

    async def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        for send_queue in tuple(self._send_queues):
            send_queue.tick(now)

    async def _drain(self) -> bool:
        """End all streams once the process drains; False, since that happens once."""
        await self._draining.wait()
        for send_queue in self._send_queues:
            send_queue.end(ShuttingDown)
        return False
