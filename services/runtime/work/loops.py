"""Loops beside the calls: one step again and again, which no failure ends, while a process runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from services.errors import ServiceError

_logger = logging.getLogger(__name__)


async def repeat(
    step: Callable[[], Awaitable[object]],
    *,
    name: str,
    every_s: float,
    rests_first: bool = False,
    timeout_s: float | None = None,
) -> None:
    """Do `step`, which the log calls `name`, until it returns False, with a rest of `every_s` between.

    A failure is logged, and the step is done again after the rest: a loop that ended there would be missed by nobody
    until its absence did harm. `timeout_s` limits a step that does not limit itself.
    """
    if rests_first:
        await asyncio.sleep(every_s)
    while True:
        try:
            async with asyncio.timeout(timeout_s):
                if await step() is False:
                    return
        except (ServiceError, TimeoutError) as error:
            _logger.warning("%s is tried again: %s", name, error or "it took too long")
        except Exception:
            _logger.exception("%s failed", name)
        await asyncio.sleep(every_s)


@asynccontextmanager
async def repeating(
    step: Callable[[], Awaitable[object]],
    *,
    name: str,
    every_s: float,
    rests_first: bool = False,
    timeout_s: float | None = None,
) -> AsyncIterator[None]:
    """`repeat` a step while inside; at the end it is cancelled and waited for."""
    loop = repeat(step, name=name, every_s=every_s, rests_first=rests_first, timeout_s=timeout_s)
    task = asyncio.create_task(loop)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
