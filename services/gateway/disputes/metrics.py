"""What is shown of disputes: how many are open, and when the first answer is due."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.runtime.observability.metrics import Meter, Metric, gauge

DISPUTES_OPEN: Final = gauge(
    "batzen_disputes_open",
    "Disputes and inquiries that are not decided. Each replica counts all: use max().",
)
DISPUTE_DUE_TIME: Final = gauge(
    "batzen_dispute_due_timestamp_seconds",
    "When the first answer to a dispute or an inquiry is due, in seconds since 1970; 0 where none is waited for.",
)

METRICS: Final[tuple[Metric, ...]] = (DISPUTES_OPEN, DISPUTE_DUE_TIME)


class DisputeMetrics:
    """What is shown by one process."""

    def __init__(self, meter: Meter) -> None:
        self._open = meter.gauge(DISPUTES_OPEN)
        self._due_time = meter.gauge(DISPUTE_DUE_TIME)

    def stand(self, *, open_count: int, due_time: datetime | None) -> None:
        """Show how many are open, and when the first answer is due."""
        self._open.set(open_count)
        self._due_time.set(0.0 if due_time is None else due_time.timestamp())
