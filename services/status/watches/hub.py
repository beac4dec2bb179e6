"""The hub: every watch gets every transition of its payment, once and in order.

Only the history is the truth. What this process writes is handed over at once, if it is exactly the next revision; what
other replicas write is hinted at and read, for all watches of all payments together; and every `resync_s` all watched
payments are read, whatever was hinted. What a watch has to catch up with is read in the same way.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from services.errors import DependencyUnavailable, ServiceError, ShuttingDown
from services.status.domain.errors import RevisionAhead, RevisionCompacted, TooManyWatches
from services.status.domain.records import Payment, Transition, open_month
from services.status.storage.rows import Unreadable
from services.status.storage.store import Place, StatusStore
from services.status.watches.send_queue import SendQueue, StreamLimits
from services.status.watches.watch import NOT_BEGUN, Cancel, Form, Topic, Update, Watch

FOLLOWED_AT_ONCE: Final = 500
"""Payments looked at by one statement."""
TRANSITIONS_AT_ONCE: Final = 500
"""Transitions read by it, ~10 ms of the event loop."""
RETRY_S: Final = 0.2
"""Between two looks at a database that is away."""
AGE_SPREAD: Final = 0.2
"""Streams end at 80 to 100 % of their age, so that those opened together do not resume together."""
TICK_S: Final = 1.0
"""How exactly heartbeats and ages are kept, at most."""
UNKNOWN_REVISION: Final = NOT_BEGUN - 1
"""What a hint says, which names no revision."""


class WatchHub:
    """All watches of this process."""

    def __init__(
        self,
        store: StatusStore,
        *,
        announce: Callable[[str, str], None],
        draining: asyncio.Event,
        limits: StreamLimits | None = None,
    ) -> None:
        """`announce` tells other replicas that a payment moved."""
        self.limits = limits or StreamLimits()
        self._store = store
        self._announce = announce
        self._draining = draining
        self._send_queues: set[SendQueue] = set()
        self._topics: dict[str, dict[str, Topic]] = {}
        """By tenant and payment."""
        self._watch_count = 0
        self._unread: dict[Topic, None] = {}
        self._wake = asyncio.Event()
        self._lost = asyncio.Event()

    # What moves.

    def publish(self, tenant_id: str, transition: Transition) -> None:
        """Hand over what this process has just committed, to its own watches and as a hint to other replicas."""
        self._announce(tenant_id, transition.payment_id)
        topic = self._topic(tenant_id, transition.payment_id)
        if topic is None:
            return
        if topic.revision is not None and transition.revision == topic.revision + 1:
            self._deliver(topic, transition)
        else:
            self._hint(topic, transition.revision)

    def moved(self, tenant_id: str, payment_id: str) -> None:
        """Say, here and to other replicas, that a payment moved earlier, of which maybe nobody has heard."""
        self._announce(tenant_id, payment_id)
        self.hear(tenant_id, payment_id)

    def hear(self, tenant_id: str, payment_id: str) -> None:
        """Take a hint that a payment has moved."""
        topic = self._topic(tenant_id, payment_id)
        if topic is not None:
            self._hint(topic, UNKNOWN_REVISION)

    def resync(self) -> None:
        """See soon whether any hint was lost."""
        self._lost.set()

    # Who watches.

    def open_stream(
        self,
        *,
        heartbeat: Callable[[], bytes],
        ended: Callable[[type[ServiceError]], ServiceError],
        on_tick: Callable[[], None] | None = None,
    ) -> SendQueue:
        """Return the send queue of a new stream, to be closed by `close_stream`."""
        send_queue = SendQueue(
            heartbeat=heartbeat,
            ended=ended,
            on_room=self._read_for_starved,
            on_tick=on_tick,
            limits=self.limits,
            age_s=self.limits.stream_age_max_s * random.uniform(1 - AGE_SPREAD, 1),  # noqa: S311 not a secret
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
        watch.start(start)
        topic = watch.topic
        if topic.revision is None:
            topic.revision = payment.revision
            topic.open_month = open_month(payment.open_time)
        known, topic.heard = max(payment.revision, topic.heard), 0
        if start < topic.revision or known > topic.revision:
            self._look(topic)

    def drop(self, watch: Watch) -> None:
        """Forget a watch."""
        topic = watch.topic
        watch.tail = NOT_BEGUN
        topic.watches = tuple(other for other in topic.watches if other is not watch)
        self._watch_count -= 1
        if not topic.watches:
            topics = self._topics[topic.tenant_id]
            del topics[topic.payment_id]
            self._unread.pop(topic, None)
            watch.send_queue.starved.pop(topic, None)
            if not topics:
                del self._topics[topic.tenant_id]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read what has to be read, keep the clock, and end all streams when the process drains, while inside."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._follow(), self._resync(), self._tick(), self._drain())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def _all_topics(self) -> Iterator[Topic]:
        for topics in self._topics.values():
            yield from topics.values()

    def _topic(self, tenant_id: str, payment_id: str) -> Topic | None:
        topics = self._topics.get(tenant_id)
        return None if topics is None else topics.get(payment_id)

    def _deliver(self, topic: Topic, transition: Transition) -> None:
        """Offer a transition to the watches that are right before it; the others are being read for."""
        update = Update(transition)
        revision = update.revision
        if topic.revision is None or topic.revision < revision:
            topic.revision = revision
        for watch in topic.watches:
            if watch.tail == revision - 1 or (watch.latest_only and watch.tail < revision):
                watch.offer(update)

    def _hint(self, topic: Topic, revision: int) -> None:
        """Take in that a payment is said to have come to a revision."""
        if topic.revision is None:  # its watches are about to begin
            topic.heard = max(topic.heard, revision)
        elif revision > topic.revision:
            self._look(topic)

    def _look(self, topic: Topic) -> None:
        """See that the history is read for a topic, soon."""
        self._unread[topic] = None
        self._wake.set()

    def _read_for_starved(self, send_queue: SendQueue) -> None:
        for topic in send_queue.starved:
            self._look(topic)
        send_queue.starved.clear()

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._unread:
                topics = list(self._unread)[:FOLLOWED_AT_ONCE]
                for topic in topics:
                    del self._unread[topic]
                try:
                    await self._read(topics)
                except DependencyUnavailable:
                    for topic in topics:
                        self._look(topic)
                    await asyncio.sleep(RETRY_S)

    async def _read(self, topics: Sequence[Topic]) -> None:
        """Read on for topics, each from where the first of its watches is that is behind and has room."""
        readings = [_Reading(topic) for topic in topics if topic.watches]
        if not readings:
            return
        each = self.limits.queue_max
        try:
            followed = await self._store.follow([one.place for one in readings], each=each, limit=TRANSITIONS_AT_ONCE)
        except Unreadable:
            if len(readings) > 1:  # the others are read without the one that it is
                for reading in readings:
                    await self._read([reading.topic])
            else:
                for watch in readings[0].topic.watches:
                    watch.cancel(watch, Unreadable())
            return
        is_cut = len(followed) == TRANSITIONS_AT_ONCE
        found: dict[tuple[str, str], list[Transition]] = {}
        for tenant_id, transition in followed:
            found.setdefault((tenant_id, transition.payment_id), []).append(transition)
        for reading in readings:
            transitions = found.get((reading.place.tenant_id, reading.place.payment_id), [])
            self._hand_over(reading, transitions, is_cut=is_cut or len(transitions) == each)

    def _hand_over(self, reading: _Reading, transitions: Sequence[Transition], *, is_cut: bool) -> None:
        """Hand over what was read; `is_cut` says that there may be more."""
        topic, revision = reading.topic, reading.revision
        if transitions or not is_cut:  # what was there when it was read and did not come is not kept any more
            oldest_revision = transitions[0].revision if transitions else revision + 1
            for watch in topic.watches:
                if reading.place.revision <= watch.needs_after(revision) < oldest_revision - 1:
                    watch.tail = NOT_BEGUN
                    watch.cancel(watch, RevisionCompacted(field="after_revision", oldest_revision=oldest_revision))
        for transition in transitions:
            self._deliver(topic, transition)
        known = revision if topic.revision is None else topic.revision  # it may have moved on meanwhile
        if is_cut or any(watch.wants(known) for watch in topic.watches):
            self._look(topic)

    async def _resync(self) -> None:
        """Look again and again at what has moved since the last look, and at all payments once hints may be lost."""
        since: int | None = None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self.limits.resync_s):
                    await self._lost.wait()
            if self._lost.is_set():
                since = None  # the database may have crashed, and have begun to count again from an earlier number
                self._lost.clear()
            try:
                horizon = await self._store.horizon()
                if since is None:
                    for topic in self._all_topics():
                        self._hint(topic, UNKNOWN_REVISION)
                else:
                    for tenant_id, payment_id, revision in await self._store.moved_since(since, list(self._topics)):
                        moved = self._topic(tenant_id, payment_id)
                        if moved is not None:
                            self._hint(moved, revision)
                since = horizon
            except DependencyUnavailable:
                continue  # from where it was

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        tick_s = min(TICK_S, self.limits.heartbeat_s / 4, self.limits.stream_age_max_s / 4, self.limits.stall_max_s / 4)
        while True:
            await asyncio.sleep(tick_s)
            now = loop.time()
            for send_queue in tuple(self._send_queues):
                send_queue.tick(now)

    async def _drain(self) -> None:
        await self._draining.wait()
        for send_queue in self._send_queues:
            send_queue.end(ShuttingDown)


class _Reading:
    """A topic that is being read, as it was when that began: watches begin and transitions come meanwhile."""

    __slots__ = ("place", "revision", "topic")

    def __init__(self, topic: Topic) -> None:
        assert topic.revision is not None, "only such topics are read"  # noqa: S101
        assert topic.open_month is not None, "known since the first watch began"  # noqa: S101
        needed = [watch.needs_after(topic.revision) for watch in topic.watches if watch.wants(topic.revision)]
        self.topic = topic
        self.revision = topic.revision
        self.place = Place(
            tenant_id=topic.tenant_id,
            payment_id=topic.payment_id,
            open_month=topic.open_month,
            revision=min([*needed, topic.revision]),
        )
