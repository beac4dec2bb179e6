"""The figures of what the platform's own systems are sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from services.orchestrator.webhooks_out.domain import DeliveryState
from services.orchestrator.webhooks_out.sending import Attempt, Outcome
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, histogram, one_of, up_to

RECEIVERS_MAX: Final = 50
"""With series of their own; a tenant has no more."""
COUNTED_MAX: Final = 10_000
"""Deliveries of a receiver that are counted, of those that wait and of dead letters."""

_RECEIVER: Final = up_to(RECEIVERS_MAX, "receiver", "tenant and subscription, such as `main/reservations`")
_EACH: Final = f"; at most {COUNTED_MAX} are counted. Each replica counts all: use max()."

MADE: Final = counter("batzen_webhook_deliveries_made_total", "Deliveries to receivers of webhooks that were made.")
ENDED: Final = counter(
    "batzen_webhook_deliveries_ended_total",
    "Those that came to an end; one that was replayed comes to another.",
    one_of("state", *(state for state in DeliveryState if state is not DeliveryState.WAITING)),
)
TRIES: Final = counter(
    "batzen_webhook_tries_total",
    "Tries to send a webhook, by what came of each.",
    one_of("outcome", *Outcome),
)
DELIVERED_AFTER: Final = histogram(
    "batzen_webhook_delivered_seconds",
    "From when a delivery was made, or replayed, until its receiver had taken it.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200, 259_200),
)
TRY_TIME: Final = histogram(
    "batzen_webhook_try_seconds",
    "How long a try took.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20),
)
WAITING: Final = gauge("batzen_webhook_waiting", "Deliveries that wait for a receiver" + _EACH, _RECEIVER)
OLDEST: Final = gauge(
    "batzen_webhook_oldest_waiting_seconds",
    "For how long the oldest of them waits; 0 where none does, or while an operator pauses the receiver."
    " Each replica says so of all: use max().",
    _RECEIVER,
)
DEAD: Final = gauge("batzen_webhook_dead", "Dead letters of a receiver" + _EACH, _RECEIVER)
FAILING: Final = gauge(
    "batzen_webhook_receiver_failing_seconds",
    "For how long no try has succeeded at a receiver; 0 while the last one did. Each replica says so: use max().",
    _RECEIVER,
)

METRICS: Final[tuple[Metric, ...]] = (
    MADE, ENDED, TRIES, DELIVERED_AFTER, TRY_TIME, WAITING, OLDEST, DEAD, FAILING,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a receiver does."""

    receiver: str
    """Tenant and subscription."""
    waiting: int
    oldest: timedelta
    dead: int
    failing: timedelta


class WebhookMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._made = meter.counter(MADE)
        self._ended = meter.counter(ENDED)
        self._tries = meter.counter(TRIES)
        self._delivered_after = meter.histogram(DELIVERED_AFTER)
        self._try_time = meter.histogram(TRY_TIME)
        self._waiting = meter.gauge(WAITING)
        self._oldest = meter.gauge(OLDEST)
        self._dead = meter.gauge(DEAD)
        self._failing = meter.gauge(FAILING)

    def made(self, count: int) -> None:
        """Count deliveries that were made, once that is committed."""
        self._made.add(amount=count)

    def tried(self, attempt: Attempt) -> None:
        """Count a try."""
        self._tries.add(attempt.outcome)
        if attempt.outcome is not Outcome.RECEIVER_BUSY:
            self._try_time.observe(attempt.duration.total_seconds())

    def ended(self, state: DeliveryState, *, count: int = 1, after: timedelta | None = None) -> None:
        """Count deliveries that came to an end; `after` so long, where one was delivered."""
        self._ended.add(state, amount=count)
        if after is not None:
            self._delivered_after.observe(max(0.0, after.total_seconds()))

    def stand(self, standings: Sequence[Standing]) -> None:
        """Show how receivers do."""
        for one in standings:
            self._waiting.set(one.waiting, one.receiver)
            self._oldest.set(one.oldest.total_seconds(), one.receiver)
            self._dead.set(one.dead, one.receiver)
            self._failing.set(one.failing.total_seconds(), one.receiver)


UNCOUNTED: Final = WebhookMetrics(OFF)
