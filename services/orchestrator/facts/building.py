"""Builds what hears facts and keeps them from its parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from services.orchestrator.facts.metrics import FactMetrics
from services.orchestrator.facts.sink import FactSink
from services.orchestrator.facts.store import FactStore
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import WorkClass


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
