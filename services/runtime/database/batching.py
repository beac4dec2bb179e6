"""Calls of one moment carried out together: one alone goes at once, those that come meanwhile go after it in one batch.

A batch costs a round trip and a commit like a single call does, so under load most of both is saved, and a call that
has nobody to share with waits for nobody.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from contextvars import Context
from itertools import islice
from typing import Final, Generic, TypeVar

from services.errors import DependencyUnavailable
from services.runtime.work.loops import detached

WAITING_MAX: Final = 20_000
"""Calls that wait for their batch, as many as a server lets wait to be picked up."""

PATIENCE_S: Final = 0.005
"""How long calls wait for one that is on its way before they go beside it: several times what a statement takes."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Batcher(Generic[Item, Answer]):
    """Carries out calls, together where it can. A caller that disconnects takes back only what was not begun."""

    def __init__(
        self,
        *,
        one: Callable[[Item], Awaitable[Answer]],
        many: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        concurrency_max: int,
        batch_max: int,
        partition_key: Callable[[Item], Hashable] | None = None,
    ) -> None:
        """Have one call or batch under way, and at most `concurrency_max` when they take longer than `PATIENCE_S`.

        `many` answers each of its items, in order. If it raises, each item is tried again by `one`, which hence must be
        safe to repeat: no item can fail another. Items of one `partition_key` never share a batch; they
        go in the order they came.
        """
        self._one = one
        self._many = many
        self._concurrency_max = concurrency_max
        self._batch_max = batch_max
        self._partition_key = partition_key
        self._loop = asyncio.get_running_loop()
        self._begun_at: dict[object, float] = {}
        """When what is on its way in each slot began, by the loop's clock."""
        self._waiting: dict[Hashable, deque[tuple[Item, asyncio.Future[Answer]]]] = {}
        self._count = 0
        self._overtaking: asyncio.TimerHandle | None = None
        self._draining: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Answer:
        """Return the answer for `item`, or raise what `one` does; DependencyUnavailable if too many wait already."""
        if self._begun_at:
            return await self._wait(item)
        slot = object()
        self._begun_at[slot] = self._loop.time()
        try:
            return await self._one(item)
        finally:
            if self._waiting:
                self._drain_soon(slot)
            else:
                del self._begun_at[slot]

    def _wait(self, item: Item) -> asyncio.Future[Answer]:
        if self._count >= WAITING_MAX:
            raise DependencyUnavailable(dependency="database")
        future: asyncio.Future[Answer] = self._loop.create_future()
        key = object() if self._partition_key is None else self._partition_key(item)
        self._waiting.setdefault(key, deque()).append((item, future))
        self._count += 1
        self._overtake_soon()
        return future

    def _overtake_soon(self) -> None:
        """See after a while whether to go beside what is on its way, where a call waits and a slot is free."""
        if self._waiting and self._overtaking is None and len(self._begun_at) < self._concurrency_max:
            self._overtaking = self._loop.call_later(PATIENCE_S, self._overtake)

    def _overtake(self) -> None:
        """Go beside what takes so long, if all that is on its way does."""
        self._overtaking = None
        if not self._waiting or len(self._begun_at) >= self._concurrency_max:
            return
        slow_at = max(self._begun_at.values()) + PATIENCE_S
        if slow_at <= self._loop.time():
            self._drain_soon(object())
            slow_at = self._loop.time() + PATIENCE_S
        self._overtaking = self._loop.call_at(slow_at, self._overtake)

    def _drain_soon(self, slot: object) -> None:
        self._begun_at[slot] = self._loop.time()
        task = detached(self._drain(slot), name="batch", context=Context())  # it belongs to none of the calls
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drain(self, slot: object) -> None:
        """Carry out batches until nobody waits, or another slot does that now."""
        try:
            while batch := self._take():
                self._begun_at[slot] = now = self._loop.time()
                await self._carry_out(batch)
                if any(begun > now for other, begun in self._begun_at.items() if other is not slot):
                    return
        finally:
            del self._begun_at[slot]
            self._overtake_soon()  # of what it left to another slot, which may hang

    def _take(self) -> list[tuple[Item, asyncio.Future[Answer]]]:
        """Return the next batch, empty when nobody waits: one item of each of the keys that wait longest."""
        batch: list[tuple[Item, asyncio.Future[Answer]]] = []
        while self._waiting and not batch:
            for key in list(islice(self._waiting, self._batch_max)):
                queue = self._waiting.pop(key)
                item, future = queue.popleft()
                self._count -= 1
                if queue:
                    self._waiting[key] = queue  # behind all others
                if not future.done():  # its caller is still there
                    batch.append((item, future))
        return batch

    async def _carry_out(self, batch: list[tuple[Item, asyncio.Future[Answer]]]) -> None:
        if len(batch) > 1:
            with suppress(Exception):  # each item alone finds out whether it is its own
                answers = await self._many([item for item, _ in batch])
                for (_, future), answer in zip(batch, answers, strict=True):
                    if not future.done():
                        future.set_result(answer)
                return
        await asyncio.gather(*(self._alone(item, future) for item, future in batch))

    async def _alone(self, item: Item, future: asyncio.Future[Answer]) -> None:
        try:
            answer = await self._one(item)
        except Exception as error:  # noqa: BLE001 it is raised where the call is awaited
            if not future.done():
                future.set_exception(error)
        else:
            if not future.done():
                future.set_result(answer)
