"""Reads the history for watches that are behind, for all topics together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final

from services.runtime.work.loops import repeating
from services.status.domain.errors import RevisionCompacted
from services.status.domain.records import Transition
from services.status.storage.rows import Unreadable
from services.status.storage.store import Place, StatusStore
from services.status.watches.send_queue import SendQueue
from services.status.watches.watch import NOT_BEGUN, Topic, Update

TOPICS_AT_ONCE: Final = 500
"""Payments looked at by one statement."""
TRANSITIONS_AT_ONCE: Final = 500
"""Transitions read by it, ~10 ms of the event loop."""
RETRY_S: Final = 0.2
"""Between two looks at a database that is away."""


class CatchUp:
    """The topics that have a watch behind, and the loop that reads for them."""

    def __init__(self, store: StatusStore, *, queue_max: int) -> None:
        """Read at most `queue_max` transitions of one payment at once: no watch has room for more."""
        self._store = store
        self._queue_max = queue_max
        self._behind: dict[Topic, None] = {}
        self._wake = asyncio.Event()

    def add(self, topic: Topic) -> None:
        """Read the history for a topic, soon."""
        self._behind[topic] = None
        self._wake.set()

    def add_starved(self, send_queue: SendQueue) -> None:
        """Read for the topics that waited for room in a send queue, now that it has some."""
        for topic in send_queue.starved:
            self.add(topic)
        send_queue.starved.clear()

    def drop(self, topic: Topic) -> None:
        """Read no more for a topic, which has no watch any more."""
        self._behind.pop(topic, None)

    def running(self) -> AbstractAsyncContextManager[None]:
        """Read while inside."""
        return repeating(self._read_on, name="watch_catch_up", every_s=self._wake.wait, retry_s=RETRY_S)

    async def _read_on(self) -> None:
        """Read until no topic is behind.

        1. Take the `TOPICS_AT_ONCE` that have waited longest.
        2. Read each from the lowest tail of its watches that have room, with one statement.
        3. Cancel the watches whose next transition is not kept any more, and deliver the others theirs.
        4. Add the topic again if there may be more, or a watch fell behind meanwhile; all if the reading failed.
        """
        self._wake.clear()
        while self._behind:
            topics = list(self._behind)[:TOPICS_AT_ONCE]
            for topic in topics:
                del self._behind[topic]
            try:
                await self._read(topics)
            except Exception:
                for topic in topics:
                    self.add(topic)
                raise

    async def _read(self, topics: Sequence[Topic]) -> None:
        readings = [_Reading(topic) for topic in topics if topic.watches]
        if not readings:
            return
        places = [reading.place for reading in readings]
        try:
            followed = await self._store.follow(places, each=self._queue_max, limit=TRANSITIONS_AT_ONCE)
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
            self._hand_over(reading, transitions, is_cut=is_cut or len(transitions) == self._queue_max)

    def _hand_over(self, reading: _Reading, transitions: Sequence[Transition], *, is_cut: bool) -> None:
        """Deliver what was read; `is_cut` says that there may be more."""
        topic, revision = reading.topic, reading.revision
        if transitions or not is_cut:  # what was there when it was read and did not come is not kept any more
            oldest_revision = transitions[0].revision if transitions else revision + 1
            for watch in topic.watches:
                if reading.place.revision <= watch.needs_after(revision) < oldest_revision - 1:
                    watch.tail = NOT_BEGUN
                    watch.cancel(watch, RevisionCompacted(field="after_revision", oldest_revision=oldest_revision))
        for transition in transitions:
            topic.deliver(Update.of(transition))
        known = revision if topic.revision is None else topic.revision  # it may have moved on meanwhile
        if is_cut or any(watch.wants(known) for watch in topic.watches):
            self.add(topic)


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
