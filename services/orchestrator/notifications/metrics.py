"""What is counted of notifications: how many were written, by kind, recipient and channel; and who watches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.notifications.domain import Told
from services.orchestrator.notifications.kinds import Channel, RecipientKind
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, one_of

NOTIFICATIONS: Final = counter(
    "batzen_notifications_total",
    "What somebody was told, in the app, or by a mail that is due, once it is kept. What was kept by a process that"
    " died right after is missing.",
    one_of("kind", *FactKind),
    one_of("recipient", *RecipientKind),
    one_of("channel", *Channel),
)
WATCHES: Final = gauge("batzen_notification_watches", "Watches of notifications that this process serves.")

METRICS: Final[tuple[Metric, ...]] = (NOTIFICATIONS, WATCHES)


class NotificationMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._notifications = meter.counter(NOTIFICATIONS)
        self._watches = meter.gauge(WATCHES)
        self._watches.set(0)

    def told(self, told: Sequence[Told]) -> None:
        """Count what was written."""
        which = Counter((one.fact.kind, one.recipient.kind, channel) for one in told for channel in one.channels)
        for labels, count in which.items():
            self._notifications.add(*labels, amount=count)

    def watched(self, change: int) -> None:
        """Note that a watch began, or ended."""
        self._watches.add(amount=change)


UNCOUNTED: Final = NotificationMetrics(OFF)
