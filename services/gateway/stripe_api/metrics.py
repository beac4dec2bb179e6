"""What is counted of calls at Stripe: each try by what came back, how long it took, how long it waited for its turn."""

from __future__ import annotations

from typing import Final

from services.gateway.stripe_api.limits import Share, StripeLimits
from services.gateway.stripe_api.outcomes import Kind
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, histogram, one_of, up_to

NOT_SENT: Final = "not_sent"

OPERATION: Final = up_to(
    64, "operation", "what is called, as Stripe counts it: verb, collection, `one`, step, such as `POST refunds`"
)
STRIPE_CALLS: Final = counter(
    "batzen_stripe_calls_total",
    "Tries of calls at Stripe, by what came back; not_sent had no turn in time, or Stripe was known to be away.",
    OPERATION,
    one_of("outcome", *(kind.name.lower() for kind in Kind), NOT_SENT),
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
    "1 from when Stripe is known to be away, and calls of a class are only probed, until one of them is answered.",
    one_of("share", *(share.name.lower() for share in Share)),
)

METRICS: Final[tuple[Metric, ...]] = (STRIPE_CALLS, STRIPE_DURATION, STRIPE_RATE_WAIT, STRIPE_BREAKER)


class StripeMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._calls = meter.counter(STRIPE_CALLS)
        self._durations = meter.histogram(STRIPE_DURATION)
        self._waits = meter.histogram(STRIPE_RATE_WAIT)

    def waited(self, *, seconds: float) -> None:
        """Note how long a try waited for its turn."""
        self._waits.observe(seconds)

    def tried(self, operation: str, kind: Kind, *, seconds: float) -> None:
        """Count a try, and how long it took."""
        self._calls.add(operation, kind.name.lower())
        self._durations.observe(seconds, operation)

    def not_sent(self, operation: str) -> None:
        """Count what was not sent."""
        self._calls.add(operation, NOT_SENT)

    def show(self, limits: StripeLimits) -> None:
        """Show which classes of calls Stripe does not answer: until it does, however seldom one is sent."""
        breaker = self._meter.gauge(STRIPE_BREAKER)

        def read() -> None:
            for share in Share:
                breaker.set(limits.is_silent(share), share.name.lower())

        self._meter.read_when_asked(read)


UNCOUNTED: Final = StripeMetrics(OFF)
