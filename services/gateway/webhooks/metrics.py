"""What is counted of webhooks: what came and what became of it, what was refused, how long it took."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.gateway.webhooks.events import ACTIONS
from services.gateway.webhooks.refusals import ANSWERS
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, histogram, one_of

UNSIGNED: Final = frozenset(
    {"SIGNATURE_MISSING", "SIGNATURE_MALFORMED", "SIGNATURE_MISMATCH", "TIMESTAMP_OUTSIDE_TOLERANCE"}
)
"""Refusals that say: Stripe did not sign this, or long ago."""
FAILED: Final = "failed"
OLDEST_OF_MAX: Final = 1_000
"""Subjects, of those due first, among which the oldest event is looked for."""

WEBHOOKS_RECEIVED: Final = counter(
    "batzen_webhooks_received_total",
    "Webhooks that Stripe signed, by what became of them; failed is answered 500, so that Stripe sends it again.",
    one_of("type", *ACTIONS),
    one_of("outcome", "accepted", "already_applied", "duplicate", "ignored", "parked", FAILED),
)
WEBHOOK_REFUSALS: Final = counter(
    "batzen_webhook_refusals_total",
    "What the webhook port refused, by reason.",
    one_of("reason", *ANSWERS),
)
SIGNATURE_FAILURES: Final = counter(
    "batzen_webhook_signature_failures_total",
    "Requests to a webhook endpoint whose signature is missing, malformed, old, or of no active secret.",
    one_of("endpoint", "platform", "connect"),
)
INBOX_PENDING: Final = gauge(
    "batzen_webhook_inbox_pending",
    "Subjects of which events wait, also for their time. Each replica counts all: use max().",
)
INBOX_OLDEST: Final = gauge(
    "batzen_webhook_inbox_oldest_seconds",
    "For how long the oldest event waits; 0 where none does. Each replica says so of all: use max().",
)
WEBHOOK_LAG: Final = histogram(
    "batzen_webhook_lag_seconds",
    "From when Stripe made an event, in its whole seconds, until the mirror shows it; of those that were worked on"
    " together, the oldest.",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1_800, 7_200, 86_400),
)
WEBHOOK_APPLY: Final = histogram(
    "batzen_webhook_apply_seconds",
    "From when an event was received until the mirror shows it; of those that were worked on together, the oldest.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300),
)

METRICS: Final[tuple[Metric, ...]] = (
    WEBHOOKS_RECEIVED, WEBHOOK_REFUSALS, SIGNATURE_FAILURES, INBOX_PENDING, INBOX_OLDEST, WEBHOOK_LAG, WEBHOOK_APPLY,
)  # fmt: skip


class WebhookMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._received = meter.counter(WEBHOOKS_RECEIVED)
        self._refusals = meter.counter(WEBHOOK_REFUSALS)
        self._signature_failures = meter.counter(SIGNATURE_FAILURES)
        self._pending = meter.gauge(INBOX_PENDING)
        self._oldest = meter.gauge(INBOX_OLDEST)
        self._lag = meter.histogram(WEBHOOK_LAG)
        self._apply = meter.histogram(WEBHOOK_APPLY)

    def received(self, event_type: str, outcome: str) -> None:
        """Count what Stripe signed."""
        self._received.add(event_type, outcome)

    def refused(self, reason: str, *, is_connect: bool | None) -> None:
        """Count what was refused, at one of the two endpoints or at none."""
        self._refusals.add(reason)
        if reason in UNSIGNED and is_connect is not None:
            self._signature_failures.add("connect" if is_connect else "platform")

    def applied(self, *, created: datetime, received: datetime, now: datetime) -> None:
        """Note that the mirror shows an event."""
        self._lag.observe(max(0.0, (now - created).total_seconds()))
        self._apply.observe(max(0.0, (now - received).total_seconds()))

    def waits(self, *, pending: int, oldest_s: float) -> None:
        """Show what waits."""
        self._pending.set(pending)
        self._oldest.set(oldest_s)


UNCOUNTED: Final = WebhookMetrics(OFF)
