"""What is counted of reading Stripe's events, and how far it is behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.runtime.observability.metrics import Meter, Metric, counter, gauge, one_of

REFUSED: Final = "refused"

EVENTS_POLLED: Final = counter(
    "batzen_events_polled_total",
    "Events that were read at Stripe and were not here, by what became of them; refused is what cannot be an event.",
    one_of("outcome", "accepted", "already_applied", "duplicate", "ignored", "parked", REFUSED),
)
POLL_AGE: Final = gauge(
    "batzen_event_poll_age_seconds",
    "For how long events have not been read at Stripe to their end, of the account of which that is longest; 0 where"
    " none are read. Each replica says so of all: use max().",
)
POLL_GAP: Final = gauge(
    "batzen_event_poll_gap_seconds",
    "How long the time is of which Stripe listed events that nobody had read in 30 days; shown for 30 days, 0 else."
    " Each replica says so of all: use max().",
)

METRICS: Final[tuple[Metric, ...]] = (EVENTS_POLLED, POLL_AGE, POLL_GAP)


class PollMetrics:
    """What is counted and shown by one process."""

    def __init__(self, meter: Meter) -> None:
        self._polled = meter.counter(EVENTS_POLLED)
        self._age = meter.gauge(POLL_AGE)
        self._gap = meter.gauge(POLL_GAP)

    def polled(self, outcome: str) -> None:
        """Count what was read."""
        self._polled.add(outcome)

    def stand(self, *, age: timedelta, gap: timedelta) -> None:
        """Show how reading stands."""
        self._age.set(max(0.0, age.total_seconds()))
        self._gap.set(max(0.0, gap.total_seconds()))
