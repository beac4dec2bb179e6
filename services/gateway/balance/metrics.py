"""What is shown of reading the platform's balance transactions: how far it is behind."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from services.runtime.observability.metrics import Meter, Metric, gauge

READ_AGE: Final = gauge(
    "batzen_balance_read_age_seconds",
    "For how long the balance transactions at Stripe have not been read to their end, with those that came late, which"
    " is done every 10 minutes; where never, for how long the account is the tenant's. Each replica says so of all:"
    " use max().",
)

METRICS: Final[tuple[Metric, ...]] = (READ_AGE,)


class BalanceMetrics:
    """What is shown by one process."""

    def __init__(self, meter: Meter) -> None:
        self._age = meter.gauge(READ_AGE)

    def stand(self, *, age: timedelta) -> None:
        """Show for how long it has not been read to its end."""
        self._age.set(max(0.0, age.total_seconds()))
