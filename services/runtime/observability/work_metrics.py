"""The figures of due work: how much waits and since when, what became of what was begun."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from services.runtime.observability.metrics import Meter, Metric, counter, gauge, one_of, up_to

KINDS_MAX: Final = 16
"""Of one process; the gateway has four."""
COUNTED_MAX: Final = 10_000
"""Rows of one kind and tenant that are counted; more are shown as so many. It bounds what a count costs."""

_KIND: Final = up_to(KINDS_MAX, "kind", "each kind of due work of the service, such as `payments`")


class Outcome(StrEnum):
    """What became of a row that was begun."""

    DONE = "done"
    LATER = "later"
    """Nothing failed; it is due again."""
    AWAY = "away"
    """The service's own database was away."""
    FAILED = "failed"
    """It is tried again."""
    DEAD = "dead"
    """For the last time: it waits for an operator."""


WORK_DUE: Final = gauge(
    "batzen_work_due",
    f"Rows that wait for a slot, those of the process' own tenants; at most {COUNTED_MAX} of a tenant are counted."
    " Each replica counts all: use max().",
    _KIND,
)
WORK_OLDEST: Final = gauge(
    "batzen_work_oldest_due_seconds",
    "For how long the first of them has been due; 0 where none is. Each replica says so of all: use max().",
    _KIND,
)
WORK_RUNS: Final = counter(
    "batzen_work_runs_total",
    "Rows that were begun, by what became of them.",
    _KIND,
    one_of("outcome", *Outcome),
)
DEAD_LETTERS: Final = gauge(
    "batzen_dead_letters",
    f"Rows that were given up and wait for an operator; at most {COUNTED_MAX} of a tenant are counted."
    " Each replica counts all: use max().",
    _KIND,
)

SAMPLE_TIME: Final = gauge(
    "batzen_sample_timestamp_seconds",
    "When the figures that are looked up in the database were last looked up: the older, the less they say.",
)

METRICS: Final[tuple[Metric, ...]] = (WORK_DUE, WORK_OLDEST, WORK_RUNS, DEAD_LETTERS, SAMPLE_TIME)


class WorkMetrics:
    """What is counted of the work of one engine."""

    def __init__(self, meter: Meter) -> None:
        self.is_on = meter.is_on
        self._due = meter.gauge(WORK_DUE)
        self._oldest = meter.gauge(WORK_OLDEST)
        self._runs = meter.counter(WORK_RUNS)
        self._dead = meter.gauge(DEAD_LETTERS)

    def begin(self, kinds: Iterable[str]) -> None:
        """Show the kinds before anything was begun of them."""
        for kind in kinds:
            for outcome in Outcome:
                self._runs.begin(kind, outcome)

    def ran(self, kind: str, outcome: Outcome) -> None:
        """Count a row that was begun and came to its end."""
        self._runs.add(kind, outcome)

    def waits(self, kind: str, *, due: int, oldest_s: float, dead: int) -> None:
        """Show how much waits of a kind."""
        self._due.set(due, kind)
        self._oldest.set(oldest_s, kind)
        self._dead.set(dead, kind)
