"""What is kept for a while alone: requests and their answers, raw events. Then their rows go, a batch at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from services.runtime.database.connections import DirectConnections
from services.runtime.work.loops import repeating

REQUESTS_KEPT: Final = timedelta(days=90)
"""After that a unique key of what was done still keeps it from being done twice. Raw bodies of events go then too."""
FORGET_EVERY_S: Final = 3_600.0
FORGET_BATCH: Final = 500
"""Rows of one statement, which takes some milliseconds."""


async def forget(held: DirectConnections, statement: str, *, now: datetime) -> int:
    """Delete what is older than `REQUESTS_KEPT`, and return how many rows that were.

    The `statement` deletes rows made before its first argument, at most its second of them, and returns one for each.
    """
    forgotten = 0
    while True:
        async with held.statement("requests.forget") as connection:
            rows = await connection.fetch(statement, now - REQUESTS_KEPT, FORGET_BATCH)
        forgotten += len(rows)
        if len(rows) < FORGET_BATCH:
            return forgotten


@asynccontextmanager
async def forgetting(
    held: DirectConnections, statements: Sequence[str], *, now: Callable[[], datetime], every_s: float = FORGET_EVERY_S
) -> AsyncIterator[None]:
    """Do so by each of a service's statements, at once, and again and again while inside."""
    async with AsyncExitStack() as loops:
        for statement in statements:
            step = partial(_forget, held, statement, now=now)
            await loops.enter_async_context(repeating(step, name="forgetting", every_s=every_s))
        yield


async def _forget(held: DirectConnections, statement: str, *, now: Callable[[], datetime]) -> None:
    await forget(held, statement, now=now())
