"""What the gateway counts beside its calls: calls of Stripe, webhooks, and what is not known of either."""

from __future__ import annotations

from typing import Final

from services.gateway.stripe_api.outcomes import Kind
from services.gateway.webhooks.events import ACTIONS
from services.runtime.observability.metrics import Metric, counter, gauge, histogram, one_of, up_to

OPERATION: Final = up_to(
    32, "operation", "what is called, as Stripe counts it: verb, collection, `one`, step, such as `POST refunds`"
)

STRIPE_CALLS: Final = counter(
    "batzen_stripe_calls_total",
    "Tries of calls at Stripe, by what came back; not_sent had no turn in time, or Stripe was known to be away.",
    OPERATION,
    one_of("outcome", *(kind.name.lower() for kind in Kind), "not_sent"),
)
STRIPE_DURATION: Final = histogram(
    "batzen_stripe_call_duration_seconds",
    "How long tries of calls at Stripe took, without their wait for a turn, whatever came back.",
    OPERATION,
    buckets=(0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 3, 5, 8, 10),
)
STRIPE_RATE_WAIT: Final = histogram(
    "batzen_stripe_rate_wait_seconds",
    "How long calls waited for their turn, below the rate that Stripe takes.",
    buckets=(0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
STRIPE_BREAKER: Final = gauge(
    "batzen_stripe_breaker_open",
    "1 while calls of a class are not sent, since Stripe is known to be away.",
    one_of("share", "pay", "return", "read", "reconcile"),
)
STRIPE_KEY_REFUSED: Final = gauge(
    "batzen_stripe_key_refused",
    "1 while the file of STRIPE_API_KEY has a key that is not used, since it opens another account or none; 0 else.",
)
PAYMENTS_UNKNOWN: Final = gauge(
    "batzen_payments_unknown",
    "Calls that were sent to Stripe, and of which the outcome is not known after a minute. Each replica counts all:"
    " use max().",
)
PAYMENTS_UNKNOWN_OLDEST: Final = gauge(
    "batzen_payments_unknown_oldest_seconds",
    "For how long the oldest of them is not known; 0 where there is none. Each replica says so of all: use max().",
)
WEBHOOKS_RECEIVED: Final = counter(
    "batzen_webhooks_received_total",
    "Webhooks that Stripe signed, by what became of them; failed is answered 500, so that Stripe sends it again.",
    one_of("type", *ACTIONS),
    one_of("outcome", "accepted", "already_applied", "duplicate", "ignored", "parked", "failed"),
)
WEBHOOK_REFUSALS: Final = counter(
    "batzen_webhook_refusals_total",
    "What the webhook port refused, by reason.",
    up_to(32, "reason", "each reason of [gateway.md](gateway.md)"),
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
    "From when Stripe made an event, in its whole seconds, until the mirror shows it; of those that changed something.",
    buckets=(0.5, 1, 2, 5, 10, 30, 60, 300, 1_800, 7_200, 86_400),
)
WEBHOOK_APPLY: Final = histogram(
    "batzen_webhook_apply_seconds",
    "From when an event was received until the mirror shows it; of those that changed something.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300),
)
DELIVERY_SECONDS: Final = histogram(
    "batzen_delivery_seconds",
    "From when there was something to be delivered to the orchestrator until it had taken it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300),
)

METRICS: Final[tuple[Metric, ...]] = (
    STRIPE_CALLS, STRIPE_DURATION, STRIPE_RATE_WAIT, STRIPE_BREAKER, PAYMENTS_UNKNOWN, PAYMENTS_UNKNOWN_OLDEST,
    WEBHOOKS_RECEIVED, WEBHOOK_REFUSALS, SIGNATURE_FAILURES, INBOX_PENDING, INBOX_OLDEST, WEBHOOK_LAG, WEBHOOK_APPLY,
    DELIVERY_SECONDS,
)  # fmt: skip
