"""What is shown of payouts: how many did not arrive lately."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Meter, Metric, gauge, one_of

PAYOUTS_FAILED: Final = gauge(
    "batzen_payouts_failed",
    "Payouts that Stripe reported as failed within the last 3 days. Each replica counts all: use max().",
    one_of("of", "platform", "seller"),
)

METRICS: Final[tuple[Metric, ...]] = (PAYOUTS_FAILED,)


class PayoutMetrics:
    """What is shown by one process."""

    def __init__(self, meter: Meter) -> None:
        self._failed = meter.gauge(PAYOUTS_FAILED)

    def fail(self, *, of_platform: int, of_sellers: int) -> None:
        """Show how many did not arrive lately."""
        self._failed.set(of_platform, "platform")
        self._failed.set(of_sellers, "seller")
