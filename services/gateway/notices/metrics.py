"""What is counted of notices: which the orchestrator has taken."""

from __future__ import annotations

from typing import Final

from services.gateway.notices.domain import NoticeKind
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, one_of

NOTICES_DELIVERED: Final = counter(
    "batzen_notices_delivered_total",
    "Notices that the orchestrator has taken, by what happened. One that was delivered twice counts twice.",
    one_of("kind", *NoticeKind),
)
METRICS: Final[tuple[Metric, ...]] = (NOTICES_DELIVERED,)


class NoticeMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._delivered = meter.counter(NOTICES_DELIVERED)

    def delivered(self, kind: NoticeKind) -> None:
        """Count a notice that the orchestrator has taken."""
        self._delivered.add(kind)


UNCOUNTED: Final = NoticeMetrics(OFF)
