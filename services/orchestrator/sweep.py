"""Recovery: looks at every payment that is due and moves it on.

A payment is due when its lease ran out in somebody's hands, when something newer was delivered, when status has not
heard everything, when a request on it is open, or when its payer's time is up. The payments are their own queue: due
times stand in their rows, under our clock, and several replicas share the work by the lease.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Final

from services.errors import ServiceError
from services.orchestrator.commands import Commands
from services.orchestrator.driver import Driver
from services.orchestrator.store import Store
from services.runtime import calls

SWEEP_EVERY_S: Final = 0.5
"""Between two looks at what is due when nothing wakes us; also how stale a due time may get."""
MOVED_AT_ONCE_MAX: Final = 8
"""Payments moved at a time, so that a pile of work after an outage leaves room for live calls."""

_logger = logging.getLogger(__name__)


class Sweep:
    """Moves what is due, until cancelled."""

    def __init__(self, store: Store, driver: Driver, commands: Commands, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._driver = driver
        self._commands = commands
        self._now = now
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Look now instead of at the next turn."""
        self._woken.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweep while inside."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        """Keep up to `MOVED_AT_ONCE_MAX` payments moving; the slow ones do not keep the others waiting."""
        moving: dict[tuple[str, str], asyncio.Task[None]] = {}
        try:
            while True:
                self._woken.clear()
                for one in await self._due():
                    if one in moving or len(moving) == MOVED_AT_ONCE_MAX:
                        continue
                    moving[one] = task = asyncio.create_task(self._move(*one))
                    task.add_done_callback(partial(self._moved, moving, one))
                with suppress(TimeoutError):
                    async with asyncio.timeout(SWEEP_EVERY_S):
                        await self._woken.wait()
        finally:
            tasks = [*moving.values()]
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)

    def _moved(
        self, moving: dict[tuple[str, str], asyncio.Task[None]], one: tuple[str, str], task: asyncio.Task[None]
    ) -> None:
        del moving[one]
        self._woken.set()  # there is room for another

    async def _due(self) -> list[tuple[str, str]]:
        try:
            return await self._store.due(now=self._now())
        except ServiceError as error:
            _logger.warning("the sweep found its database away: %s", error)
        except Exception:
            # Whatever it is, a sweep that ended here would leave all that is due to nobody.
            _logger.exception("the sweep could not look at what is due")
        return []

    async def once(self) -> int:
        """Move what is due now, and return how many payments that were."""
        due = await self._due()
        await asyncio.gather(*(self._move(*one) for one in due))
        return len(due)

    async def _move(self, tenant_id: str, payment_id: str) -> None:
        with calls.acting_for(tenant_id):
            try:
                await self.advance(tenant_id, payment_id)
            except ServiceError as error:
                _logger.warning("%s is tried again: %s", payment_id, error)
            except Exception:
                # One payment that cannot be moved must not stop the others; it is tried again and parked in the end.
                _logger.exception("%s could not be moved", payment_id)

    async def advance(self, tenant_id: str, payment_id: str) -> None:
        """Take a payment and do all that is to be done on it now; nothing while somebody else has it."""
        plan = await self._store.take(tenant_id, payment_id, now=self._now(), work_class=None)
        if plan is None:
            return
        async with self._driver.holding(plan) as work:
            await self._driver.park_if_stuck(work)
            # Requests come first: the one that started the payment is what finishes its start.
            await self._commands.finish(work)
            self._driver.apply_delivered(work)
            await self._driver.end_if_due(work)
            await self._driver.say_all(work)
            await self._driver.unpark_if_moving(work)
            await self._driver.save(work, "sweep.release", release=True)
