"""Looks into the database for what waits there, every few seconds, for the figures of the process.

Each look is one statement over a held connection, bounded in time and in what it counts. Where nobody asks for figures
nothing is looked up.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import Meter
from services.runtime.observability.work_metrics import COUNTED_MAX, SAMPLE_TIME, WorkMetrics
from services.runtime.process.clock import Clock
from services.runtime.work import statements
from services.runtime.work.kinds import WorkKind
from services.runtime.work.loops import repeating

SAMPLE_EVERY_S: Final = 10.0
"""Between two looks; scrapers come every 15 s or more seldom."""
SAMPLE_TIMEOUT_S: Final = 3.0
"""Of all looks together, a few statements of a millisecond."""

Look = Callable[[], Awaitable[None]]


@asynccontextmanager
async def sampling(meter: Meter, *looks: Look, every_s: float = SAMPLE_EVERY_S) -> AsyncIterator[None]:
    """Take the looks again and again while inside, one after the other, if anybody asks for figures."""
    if not meter.is_on:
        yield
        return
    sample_time = meter.gauge(SAMPLE_TIME)

    async def step() -> None:
        for look in looks:
            await look()
        sample_time.set(time.time())

    # Not vital: figures that are missing are seen by their age, and no payment waits for them.
    async with repeating(step, name="metrics", every_s=every_s, timeout_s=SAMPLE_TIMEOUT_S, is_vital=False):
        yield


def waiting_work(
    held: DirectConnections,
    kinds: Sequence[WorkKind],
    *,
    clock: Clock,
    meter: Meter,
    tenants: Sequence[str] | None = None,
) -> Look:
    """Return the look at what is due of the kinds, and at what was given up."""
    metrics, statement = WorkMetrics(meter), statements.waiting(kinds, tenants=tenants is not None)
    of_tenants = [] if tenants is None else [list(tenants)]

    async def look() -> None:
        async with held.statement(None) as connection:
            rows = await connection.fetch(statement, clock.shift, COUNTED_MAX, *of_tenants)
        for row in rows:
            metrics.waits(row["kind"], due=row["due"], oldest_s=row["oldest_s"], dead=row["dead"])

    return look
