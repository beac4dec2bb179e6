"""The streams of the feed: each reads the log until it is at the head, and from there on is handed what is new.

What is new is read once for all streams of a tenant. A stream whose reader is slow falls back to reading for itself, at
its reader's pace, so that nothing has to be kept for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from services.errors import DependencyUnavailable
from services.runtime.work.loops import detached, repeat
from services.status.changes.cursors import ONLY, Position, cursor_of
from services.status.changes.log import Change, ChangeLog, Head
from services.status.domain.errors import CursorCompacted
from services.status.domain.filters import Filter
from services.status.storage.rows import Unreadable
from services.status.watches.send_queue import SendQueue
from services.status.wire.responses import change_message, cursor_message

PAGE_MAX: Final = 200
"""Changes read at once, ~8 ms of the event loop."""
GATHER_S: Final = 0.005
"""At least this long between two readings for the streams at the head."""
PENDING_S: Final = 0.02
"""How soon to look again while something has begun on the database server that may still commit."""
PENDING_MAX_S: Final = 0.5
"""The same while nothing of it ends: each look waits twice as long as the one before."""
RESYNC_S: Final = 1.5
"""How soon to read again without a hint: one may have been lost."""
RETRY_S: Final = 0.2
"""Between two looks at a database that is away."""


class Followers:
    """The streams of the feed of this process."""

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self._tails: dict[str, _Tail] = {}
        self._is_running = False

    def behind_s(self) -> float:
        """Return for how long a feed has not seen the head of its log, the longest of all that are followed."""
        return max((tail.behind_s() for tail in self._tails.values()), default=0.0)

    def wake(self, tenant_id: str) -> None:
        """Read soon for a tenant: something of it was committed."""
        tail = self._tails.get(tenant_id)
        if tail is not None:
            tail.wake()

    def wake_all(self) -> None:
        """Read soon for all tenants: hints may have been lost."""
        for tail in self._tails.values():
            tail.wake()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read for the streams while inside."""
        self._is_running = True
        try:
            yield
        finally:
            self._is_running = False
            await asyncio.gather(*(tail.stop() for tail in self._tails.values()), return_exceptions=True)

    def join(self, follower: Follower) -> bool:
        """Hand new changes to a stream from now on; False if it is not as far as the others and has to read on."""
        assert self._is_running, "streams end before this does"  # noqa: S101
        tail = self._tails.get(follower.wanted.tenant_id)
        if tail is None:
            tail = _Tail(self._log, follower.wanted.tenant_id, position=follower.position)
            self._tails[follower.wanted.tenant_id] = tail
            tail.start()
        return tail.join(follower)

    def leave(self, follower: Follower) -> None:
        """Hand nothing more to a stream."""
        tail = self._tails.get(follower.wanted.tenant_id)
        if tail is not None and tail.leave(follower):
            tail.stop()
            del self._tails[follower.wanted.tenant_id]


class Follower:
    """One stream of the feed."""

    def __init__(
        self, followers: Followers, *, log: ChangeLog, wanted: Filter, position: Position, until: Head | None
    ) -> None:
        """Go on after `position`; end at `until`, if it is given."""
        self.wanted = wanted
        self.position = position
        """Everything up to here was sent, or will be before anything else."""
        self._followers = followers
        self._log = log
        self._until = until
        self._send_queue: SendQueue | None = None
        self._fall_back = asyncio.Event()

    def heartbeat(self) -> bytes:
        """Write a sign of life, which says how far the stream has come."""
        return cursor_message(cursor_of({ONLY: self.position}, tenant_id=self.wanted.tenant_id))

    async def run(self, send_queue: SendQueue) -> None:
        """Fill the send queue for as long as the stream lasts."""
        self._send_queue = send_queue
        send_queue.put(self.heartbeat())
        try:
            while True:
                await send_queue.room()
                if not await self._read():
                    continue
                if self._until is not None:
                    break
                if self._followers.join(self):
                    await self._fall_back.wait()
                    self._fall_back.clear()
        finally:
            self._followers.leave(self)
        send_queue.finish()

    def offer(self, changes: Sequence[Change], position: Position) -> None:
        """Take what is new up to a position. Without room for it, the stream falls back to reading for itself."""
        assert self._send_queue is not None, "only a stream that runs is offered something"  # noqa: S101
        if self._send_queue.is_full:
            self.fall_back()
            return
        self._send([each for each in changes if each.position > self.position], position)

    def fall_back(self) -> None:
        """Have the stream read for itself again."""
        self._followers.leave(self)
        self._fall_back.set()

    async def _read(self) -> bool:
        """Send what comes next in the log; return whether that was all."""
        try:
            head = self._until or await self._log.head(self.wanted.tenant_id)
            changes = await self._log.page(self.wanted, after=self.position, horizon=head.horizon, limit=PAGE_MAX)
        except Unreadable:
            raise  # another server may be able to
        except DependencyUnavailable:
            await asyncio.sleep(RETRY_S)
            return False
        is_all = len(changes) < PAGE_MAX
        self._send(changes, head.position if is_all else changes[-1].position)
        return is_all

    def _send(self, changes: Sequence[Change], position: Position) -> None:
        assert self._send_queue is not None, "only a stream that runs sends"  # noqa: S101
        is_something = False
        for change in changes:
            relation = change.relation(self.wanted)
            if relation is not None:
                self._send_queue.put(change.in_form(relation, change_message))
                is_something = True
        self.position = max(self.position, position)
        if is_something:
            self._send_queue.put(self.heartbeat())


class _Tail:
    """Reads what is new of one tenant's changes, for the streams that are at the head."""

    def __init__(self, log: ChangeLog, tenant_id: str, *, position: Position) -> None:
        self._log = log
        self._all = Filter(tenant_id=tenant_id)
        self._position = position
        self._followers: set[Follower] = set()
        self._woken = asyncio.Event()
        self._horizon = 0
        self._behind_since: float | None = None
        """Since when it does not see the head: the log cannot be read, or what began on the server does not end."""
        self._pending_s = PENDING_S
        self._wait_s = RESYNC_S
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        loop = repeat(self._read, name="feed", every_s=self._until_woken, retry_s=RETRY_S)
        self._task = detached(loop, name="feed")

    def stop(self) -> asyncio.Task[None]:
        """Stop reading, and return what ends then."""
        assert self._task is not None, "it was started"  # noqa: S101
        self._task.cancel()
        return self._task

    def wake(self) -> None:
        self._woken.set()

    def behind_s(self) -> float:
        return 0.0 if self._behind_since is None else asyncio.get_running_loop().time() - self._behind_since

    def _see_head(self, is_seen: bool) -> None:
        if is_seen:
            self._behind_since = None
        elif self._behind_since is None:
            self._behind_since = asyncio.get_running_loop().time()

    def join(self, follower: Follower) -> bool:
        if follower.position < self._position:
            return False
        self._followers.add(follower)
        return True

    def leave(self, follower: Follower) -> bool:
        """Return whether that was the last one."""
        self._followers.discard(follower)
        return not self._followers

    async def _read(self) -> None:
        """Hand on everything that is new."""
        try:
            self._wait_s = await self._read_on()
        except (CursorCompacted, Unreadable):  # each stream finds out for itself
            self._wait_s = RETRY_S
            self._see_head(False)
            for follower in tuple(self._followers):
                follower.fall_back()
        except DependencyUnavailable:
            self._see_head(False)
            raise

    async def _until_woken(self) -> None:
        await asyncio.sleep(GATHER_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._wait_s):
                await self._woken.wait()
        self._woken.clear()

    async def _read_on(self) -> float:
        """Hand on everything that is new; return how soon to read again without a hint."""
        horizon, end = await self._log.horizon()
        is_all = False
        while not is_all:
            changes = await self._log.page(self._all, after=self._position, horizon=horizon, limit=PAGE_MAX)
            is_all = len(changes) < PAGE_MAX
            if changes:
                last = changes[-1].position
                self._position = Position.after(last.xid) if is_all else last
                for follower in tuple(self._followers):
                    follower.offer([each for each in changes if follower.wanted.covers(each.payment)], self._position)
        is_stuck, self._horizon = horizon == self._horizon, horizon
        self._see_head(horizon == end or not is_stuck)
        self._pending_s = min(2 * self._pending_s, PENDING_MAX_S) if is_stuck else PENDING_S
        return self._pending_s if horizon < end else RESYNC_S
