"""Builds what tells people from its parts."""

from __future__ import annotations

from dataclasses import dataclass

from services.orchestrator.mail.unsubscribe_tokens import UnsubscribeTokens
from services.orchestrator.notifications.fact_sink import NotificationSink
from services.orchestrator.notifications.metrics import NotificationMetrics
from services.orchestrator.notifications.policies import NotificationPolicyStore
from services.orchestrator.notifications.store import NotificationStore
from services.orchestrator.notifications.watches import NotificationWatches
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Notifications:
    """What tells people."""

    sink: NotificationSink
    store: NotificationStore
    policies: NotificationPolicyStore
    watches: NotificationWatches
    tokens: UnsubscribeTokens | None
    """Of the links by which mails are declined."""


def notifications(
    held: DirectConnections, *, tokens: UnsubscribeTokens | None = None, clock: Clock, meter: Meter = OFF
) -> Notifications:
    """Return what writes down whom facts are told, and what reads it."""
    metrics = NotificationMetrics(meter)
    store = NotificationStore(held)
    watches = NotificationWatches(store, metrics=metrics)
    return Notifications(
        sink=NotificationSink(now=clock.now, tell=watches.told, metrics=metrics),
        store=store,
        policies=NotificationPolicyStore(held),
        watches=watches,
        tokens=tokens,
    )
