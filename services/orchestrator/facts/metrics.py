"""What is counted of facts: how many of each kind are new, how late they are heard, and how far behind a feed is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.orchestrator.facts.domain import Fact, FactKind
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, histogram, one_of

FACTS: Final = counter(
    "batzen_facts_total",
    "What happened that somebody is told, by its kind, once it is kept. What was kept by a process that died right"
    " after is missing.",
    one_of("kind", *FactKind),
)
LAG: Final = histogram(
    "batzen_fact_lag_seconds",
    "From when status had recorded a revision until what follows from it was kept.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 3_600),
)
BEHIND: Final = gauge(
    "batzen_facts_behind_seconds",
    "For how long what status recorded of a tenant's payments has not been heard, the longest of all tenants. Each"
    " replica says so of all: use max().",
)

METRICS: Final[tuple[Metric, ...]] = (FACTS, LAG, BEHIND)


class FactMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._facts = meter.counter(FACTS)
        self._lag = meter.histogram(LAG)
        self._behind = meter.gauge(BEHIND)

    def kept(self, facts: Sequence[Fact]) -> None:
        """Count what was new."""
        for kind, count in Counter(fact.kind for fact in facts).items():
            self._facts.add(kind, amount=count)

    def heard(self, *, lag_s: float) -> None:
        """Note how late a revision was heard."""
        self._lag.observe(max(0.0, lag_s))

    def behind(self, seconds: float) -> None:
        """Show how far the feed is behind that is furthest."""
        self._behind.set(max(0.0, seconds))


UNCOUNTED: Final = FactMetrics(OFF)
