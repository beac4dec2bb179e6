"""The feed: every watch gets every transition of its payment once and in order, or is told to resume.

Only the history is the truth. What this process writes is handed over at once, if it is exactly the next revision; what
other replicas write is hinted at and read, for all watches of a payment together; and every `resync_s` all watched
payments are read, whatever was hinted. A watch that starts, or finds a gap, reads for itself.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, Generic

from services.errors import DependencyUnavailable, ShuttingDown
from services.status.domain import is_settled
from services.status.records import Transition
from services.status.store import StatusStore
from services.status.watch import FeedLimits, Message, Topic, Update, Watch

FOLLOWED_AT_ONCE: Final = 500
"""Payments looked at by one statement."""
TRANSITIONS_AT_ONCE: Final = 500
"""Transitions read by it, ~10 ms of the event loop."""
RETRY_S: Final = 0.2
"""Between two looks at a database that is away."""
AGE_SPREAD: Final = 0.2
"""Streams end at 80 to 100 % of their age, so that those opened together do not resume together."""


class Feed(Generic[Message]):
    """All watches of this process."""

    def __init__(
        self,
        store: StatusStore,
        *,
        encode: Callable[[Transition], Message],
        announce: Callable[[str, str], None],
        draining: asyncio.Event,
        limits: FeedLimits | None = None,
    ) -> None:
        self._store = store
        self._limits = limits or FeedLimits()
        self._encode = encode
        self._announce = announce
        self._draining = draining
        self._topics: dict[tuple[str, str], Topic[Message]] = {}
        self._moved: dict[tuple[str, str], None] = {}
        self._wake = asyncio.Event()

    def publish(self, tenant_id: str, transition: Transition) -> None:
        """Hand over what this process has just committed, to its own watches and as a hint to other replicas."""
        self._announce(tenant_id, transition.payment_id)
        topic = self._topics.get((tenant_id, transition.payment_id))
        if topic is not None:
            self._deliver(topic, transition)

    def hear(self, tenant_id: str, payment_id: str) -> None:
        """Take a hint that a payment has moved."""
        topic = self._topics.get((tenant_id, payment_id))
        if topic is not None:
            self._look(topic)

    def resync(self) -> None:
        """Read all watched payments: any hint may have been lost."""
        for topic in self._topics.values():
            self._look(topic)

    @asynccontextmanager
    async def watch(self, tenant_id: str, payment_id: str, *, latest_only: bool) -> AsyncIterator[Watch[Message]]:
        """Register a watch while inside. Read the payment after that, so that nothing falls between, then `begin`.

        Raises the reason when the watch has to end while its reader takes nothing.
        """
        key = (tenant_id, payment_id)
        age_s = self._limits.stream_age_max_s * random.uniform(1 - AGE_SPREAD, 1)  # noqa: S311 not a secret
        topic = self._topics.get(key)
        if topic is None:
            topic = self._topics[key] = Topic(tenant_id, payment_id)
        watch = Watch(
            topic, store=self._store, limits=self._limits, update=self._update, latest_only=latest_only, age_s=age_s
        )
        topic.watches.add(watch)
        try:
            async with watch.cut:
                if self._draining.is_set():
                    watch.end(ShuttingDown)
                yield watch
        except TimeoutError:
            if not watch.cut.expired():
                raise
            raise watch.end_reason() from None
        finally:
            watch.close()
            topic.watches.discard(watch)
            if not topic.watches and self._topics.get(key) is topic:
                del self._topics[key]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow what other replicas write, and end all watches when the process drains, while inside."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._follow(), self._resync(), self._drain())]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    def _update(self, transition: Transition) -> Update[Message]:
        return Update(transition.revision, is_settled(transition.snapshot), self._encode(transition))

    def _deliver(self, topic: Topic[Message], transition: Transition, *, is_read: bool = False) -> None:
        """Offer a transition to the watches if it is their next; otherwise see that it is read, or was forgotten."""
        if topic.revision is None or (transition.revision > topic.revision + 1 and not is_read):
            self._look(topic)
            return
        if transition.revision <= topic.revision:
            return
        topic.revision = transition.revision
        update = self._update(transition)
        for watch in topic.watches:
            watch.offer(update)

    def _look(self, topic: Topic[Message]) -> None:
        if topic.revision is None:  # its watches are about to begin and read for themselves
            for watch in topic.watches:
                watch.look()
        else:
            self._moved[topic.tenant_id, topic.payment_id] = None
            self._wake.set()

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._moved:
                keys = list(self._moved)[:FOLLOWED_AT_ONCE]
                for key in keys:
                    del self._moved[key]
                try:
                    await self._read(keys)
                except DependencyUnavailable:
                    self._moved.update(dict.fromkeys(keys))
                    await asyncio.sleep(RETRY_S)

    async def _read(self, keys: list[tuple[str, str]]) -> None:
        topics = [topic for key in keys if (topic := self._topics.get(key)) is not None]
        places = [topic.place(topic.revision) for topic in topics if topic.revision is not None]
        if not places:
            return
        followed = await self._store.follow(places, limit=TRANSITIONS_AT_ONCE)
        for tenant_id, transition in followed:
            topic = self._topics.get((tenant_id, transition.payment_id))
            if topic is not None:
                self._deliver(topic, transition, is_read=True)
        if len(followed) == TRANSITIONS_AT_ONCE:  # there may be more
            self._moved.update(dict.fromkeys(keys))

    async def _resync(self) -> None:
        while True:
            await asyncio.sleep(self._limits.resync_s)
            self.resync()

    async def _drain(self) -> None:
        await self._draining.wait()
        for topic in self._topics.values():
            for watch in topic.watches:
                watch.end(ShuttingDown)
