"""One reading for all who ask for it meanwhile.

Who asks wants to know what is true after it asked. So nobody joins a reading that has begun: at most one reading of a
thing runs, and those who ask meanwhile share the one that comes after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.errors import RequestInProgress, TooManyCalls
from services.runtime.rpc import call_context
from services.runtime.work.loops import detached

ASKING_MAX: Final = 128
"""Calls of this process that wait for one reading."""
ANSWER_MARGIN_S: Final = 0.1
"""How long before its deadline a call gives up, so that its answer still arrives."""
KEPT_MAX: Final = 10_000
"""Answers kept at once; the oldest goes first."""

Answer = TypeVar("Answer")


@dataclass(slots=True)
class _Thing(Generic[Answer]):
    """One thing that is read."""

    running: asyncio.Task[Answer] | None = None
    next: asyncio.Task[Answer] | None = None
    asking: int = 0
    """How many wait for the next one."""
    ended: float | None = None
    """When the last reading ended, by the loop's clock."""


class SharedReadings(Generic[Answer]):
    """Reads things, each once at a time, and not again before `pause_s` went by since the last time it was read."""

    def __init__(self, *, pause_s: float = 0.0, asking_max: int = ASKING_MAX) -> None:
        self._pause_s = pause_s
        self._asking_max = asking_max
        self._things: dict[Hashable, _Thing[Answer]] = {}

    @property
    def known_count(self) -> int:
        """How many things are remembered: those that are read, and those that were a moment ago."""
        return len(self._things)

    async def ask(self, key: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what a reading says that begins from now on. It goes on when its caller disconnects.

        It runs for the tenant of who asked first, without a deadline: `read` has to have an end of its own. Raises
        `TooManyCalls` when as many wait for it as may, and `RequestInProgress` shortly before the deadline.
        """
        thing = self._things.setdefault(key, _Thing())
        loop = asyncio.get_running_loop()
        if thing.next is None:
            is_free = thing.running is None and (thing.ended is None or loop.time() >= thing.ended + self._pause_s)
            with call_context.acting_for(call_context.current_tenant(), correlation=call_context.correlation_id()):
                task = detached(self._read(key, thing, read), name="reading")
            if is_free:
                thing.running = task
                return await _answer(task, is_own=True)
            thing.next, thing.asking = task, 0
        if thing.asking >= self._asking_max:
            raise TooManyCalls(detail="Too many ask for this payment.")
        thing.asking += 1
        return await _answer(thing.next, is_own=False)

    @asynccontextmanager
    async def draining(self) -> AsyncIterator[None]:
        """At the end of the block stop what is still read: nothing lasts of a reading that has no answer."""
        try:
            yield
        finally:
            tasks = {
                task for thing in self._things.values() for task in (thing.running, thing.next) if task is not None
            }
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    async def _read(self, key: Hashable, thing: _Thing[Answer], read: Callable[[], Awaitable[Answer]]) -> Answer:
        loop = asyncio.get_running_loop()
        me = asyncio.current_task()
        if thing.running is not me:
            if thing.running is not None:
                await asyncio.wait({thing.running})
            if thing.ended is not None and (pause_s := thing.ended + self._pause_s - loop.time()) > 0:
                await asyncio.sleep(pause_s)
            thing.running, thing.next = thing.next, None
        try:
            return await read()
        finally:
            thing.running, thing.ended = None, loop.time()
            loop.call_later(self._pause_s, self._forget, key, thing, thing.ended)

    def _forget(self, key: Hashable, thing: _Thing[Answer], ended: float) -> None:
        """Forget a thing that nobody asked for since; if it was read again, that reading forgets it."""
        if thing.running is None and thing.next is None and thing.ended == ended:
            self._things.pop(key, None)


class KeptReadings(Generic[Answer]):
    """Reads things whose answer stays good for `kept_s`: who asks within that time, and meanwhile, gets the same.

    For what may be a moment old. It is kept in memory alone, and never longer.
    """

    def __init__(self, *, kept_s: float, kept_max: int = KEPT_MAX) -> None:
        self._kept_s = kept_s
        self._kept_max = kept_max
        self._kept: dict[Hashable, asyncio.Task[Answer]] = {}

    @property
    def kept_count(self) -> int:
        """How many answers are kept, or on their way."""
        return len(self._kept)

    async def ask(self, key: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return what was read at most `kept_s` ago. What failed is not kept."""
        task = self._kept.get(key)
        is_own = task is None
        if task is None:
            with call_context.acting_for(call_context.current_tenant(), correlation=call_context.correlation_id()):
                task = detached(self._read(key, read), name="reading")
            if len(self._kept) >= self._kept_max:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = task
        return await _answer(task, is_own=is_own)

    def forget(self, key: Hashable) -> None:
        """Have the next one who asks get a reading that begins then."""
        self._kept.pop(key, None)

    async def _read(self, key: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        task = asyncio.current_task()
        try:
            answer = await read()
        except BaseException:
            self._forget(key, task)
            raise
        asyncio.get_running_loop().call_later(self._kept_s, self._forget, key, task)
        return answer

    def _forget(self, key: Hashable, task: asyncio.Task[Answer] | None) -> None:
        if self._kept.get(key) is task:
            del self._kept[key]


async def _answer(task: asyncio.Task[Answer], *, is_own: bool) -> Answer:
    """Wait for a reading as long as the caller's time allows; who began it with next to none waits until its end."""
    remaining_s = call_context.time_remaining()
    wait_s = None if remaining_s is None else remaining_s - ANSWER_MARGIN_S
    if is_own and wait_s is not None and wait_s <= 0:
        return await asyncio.shield(task)
    done, _ = await asyncio.wait({task}, timeout=None if wait_s is None else max(wait_s, 0))
    if not done:
        raise RequestInProgress
    return task.result()
