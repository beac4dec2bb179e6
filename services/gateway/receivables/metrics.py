"""What is shown of receivables: how many are open."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Meter, Metric, gauge

RECEIVABLES_OPEN: Final = gauge(
    "batzen_receivables_open",
    "Sellers of payments who owe what their balances at Stripe do not cover. Each replica counts all: use max().",
)

METRICS: Final[tuple[Metric, ...]] = (RECEIVABLES_OPEN,)


class ReceivableMetrics:
    """What is shown by one process."""

    def __init__(self, meter: Meter) -> None:
        self._open = meter.gauge(RECEIVABLES_OPEN)

    def stand(self, *, open_count: int) -> None:
        """Show how many are open."""
        self._open.set(open_count)
