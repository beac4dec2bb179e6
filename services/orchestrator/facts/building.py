"""Builds what hears facts and keeps them from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.orchestrator.facts.feed_rows import FeedRows
from services.orchestrator.facts.follower import Follower
from services.orchestrator.facts.metrics import FactMetrics
from services.orchestrator.facts.reminders import BEFORE, Reminders
from services.orchestrator.facts.sink import FactSink, MoveSink
from services.orchestrator.facts.store import FactStore
from services.orchestrator.peers.feed import Feed
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import SLOTS, WorkClass, WorkKind
from services.runtime.work.loops import repeating

FIND_EVERY_S: Final = 2.0
"""Between two looks for tenants that are new: how late the first of their payments may be heard. A look takes a step
in an index for each tenant."""


def fact_store(
    held: DirectConnections,
    *,
    sinks: Sequence[FactSink],
    clock: Clock,
    wake: Callable[[WorkClass], None],
    meter: Meter = OFF,
) -> FactStore:
    """Return what keeps facts; what follows from each is written by the sinks, in their order."""
    return FactStore(held, sinks=sinks, now=clock.now, wake=wake, metrics=FactMetrics(meter))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hearing:
    """What hears of payments."""

    rows: FeedRows
    follower: Follower
    reminders: Reminders
    metrics: FactMetrics
    wake: Callable[[WorkClass], None]

    @property
    def kinds(self) -> tuple[WorkKind, ...]:
        """What of it is due work."""
        return self.follower.kind, self.reminders.kind

    async def find(self) -> None:
        """Have tenants followed that are new, and see whether there are more than this process has slots for."""
        if await self.rows.find_tenants():
            self.wake(WorkClass.FEEDS)
        self.follower.is_crowded = await self.rows.count() > SLOTS[WorkClass.FEEDS]

    async def look(self) -> None:
        """Show how far behind feeds are."""
        self.metrics.behind(await self.rows.behind_s())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Find tenants while inside."""
        async with repeating(self.find, name="feeds", every_s=FIND_EVERY_S):
            yield


def hearing(
    held: DirectConnections,
    feed: Feed,
    facts: FactStore,
    *,
    moves: MoveSink,
    clock: Clock,
    work: Engine,
    reminded_before: timedelta = BEFORE,
    meter: Meter = OFF,
) -> Hearing:
    """Return what follows status and reminds payers."""
    metrics = FactMetrics(meter)
    rows = FeedRows(held, facts, moves=moves, reminded_before=reminded_before, clock=clock)
    follower = Follower(rows, feed, now=clock.now, metrics=metrics)
    work.when_ending(follower.end)
    return Hearing(
        rows=rows,
        follower=follower,
        reminders=Reminders(facts, feed, now=clock.now),
        metrics=metrics,
        wake=work.wake,
    )
