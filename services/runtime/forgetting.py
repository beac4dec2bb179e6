"""Callers' requests are answered again for as long as the contracts say; then their rows go, a batch at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from services.errors import ServiceError
from services.runtime.database import HeldConnections

REQUESTS_KEPT: Final = timedelta(days=90)
"""After that a unique key of what was done still keeps it from being done twice."""
FORGET_EVERY_S: Final = 3_600.0
FORGET_BATCH: Final = 500
"""Rows of one statement, which takes some milliseconds."""

_logger = logging.getLogger(__name__)


async def forget(held: HeldConnections, statement: str, *, now: datetime) -> int:
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
    held: HeldConnections, statement: str, *, now: Callable[[], datetime], every_s: float = FORGET_EVERY_S
) -> AsyncIterator[None]:
    """Do so at once, and again and again while inside."""
    task = asyncio.create_task(_run(held, statement, now=now, every_s=every_s))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def _run(held: HeldConnections, statement: str, *, now: Callable[[], datetime], every_s: float) -> None:
    while True:
        try:
            await forget(held, statement, now=now())
        except ServiceError as error:
            _logger.warning("old requests are forgotten later: %s", error)
        except Exception:
            # Whatever it is, a loop that ended here would keep what the contracts say is forgotten, and say nothing.
            _logger.exception("old requests could not be forgotten")
        await asyncio.sleep(every_s)
