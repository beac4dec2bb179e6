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

WAITING_MAX: Final = 20_000
"""Calls that wait for their batch, as many as a server lets wait to be picked up."""

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Gatherer(Generic[Item, Answer]):
    """Carries out calls, together where it can. A caller that goes away takes back only what was not begun."""

    def __init__(
        self,
        *,
        one: Callable[[Item], Awaitable[Answer]],
        many: Callable[[Sequence[Item]], Awaitable[Sequence[Answer]]],
        lanes: int,
        batch_max: int,
        apart: Callable[[Item], Hashable] | None = None,
    ) -> None:
        """Have at most `lanes` calls or batches on their way at once.

        `many` answers each of its items, in order. If it raises, each item is tried again by `one`, which hence must be
        safe to repeat: no item can fail another. Items of which `apart` says the same never share a batch; they go in
        the order they came.
        """
        self._one = one
        self._many = many
        self._lanes = lanes
        self._batch_max = batch_max
        self._apart = apart
        self._busy = 0
        self._count = 0
        self._waiting: dict[Hashable, deque[tuple[Item, asyncio.Future[Answer]]]] = {}
        self._draining: set[asyncio.Task[None]] = set()

    async def __call__(self, item: Item) -> Answer:
        """Return the answer for `item`, or raise what `one` does; DependencyUnavailable if too many wait already."""
        if self._busy >= self._lanes:
            return await self._wait(item)
        self._busy += 1
        try:
            return await self._one(item)
        finally:
            self._leave()

    def _wait(self, item: Item) -> asyncio.Future[Answer]:
        if self._count >= WAITING_MAX:
            raise DependencyUnavailable(dependency="database")
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        key = object() if self._apart is None else self._apart(item)
        self._waiting.setdefault(key, deque()).append((item, future))
        self._count += 1
        return future

    def _leave(self) -> None:
        """Hand the lane on to those who wait, or free it."""
        if not self._waiting:
            self._busy -= 1
            return
        task = asyncio.create_task(self._drain(), context=Context())  # it belongs to none of the calls
        self._draining.add(task)
        task.add_done_callback(self._draining.discard)

    async def _drain(self) -> None:
        try:
            while batch := self._take():
                await self._carry_out(batch)
        finally:
            self._busy -= 1

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
