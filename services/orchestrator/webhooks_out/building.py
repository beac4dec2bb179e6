"""Builds what sends webhooks to the platform's own systems from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.webhooks_out import bodies
from services.orchestrator.webhooks_out.delivering import Delivering
from services.orchestrator.webhooks_out.guard import Guard
from services.orchestrator.webhooks_out.lanes import LaneStore
from services.orchestrator.webhooks_out.log import DeliveryLog
from services.orchestrator.webhooks_out.metrics import WebhookMetrics
from services.orchestrator.webhooks_out.secrets import SecretBox
from services.orchestrator.webhooks_out.sending import Sender
from services.orchestrator.webhooks_out.sink import WebhookSink
from services.orchestrator.webhooks_out.subscriptions import SubscriptionStore
from services.orchestrator.webhooks_out.trials import Trials
from services.orchestrator.webhooks_out.upkeep import Upkeep
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.process.key_ring import KeyRing
from services.runtime.work.kinds import WorkClass, WorkKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhooks:
    """What the room is made of, as its process and its operators use it."""

    sink: WebhookSink
    kind: WorkKind
    subscriptions: SubscriptionStore
    log: DeliveryLog
    trials: Trials
    upkeep: Upkeep
    guard: Guard
    wake: Callable[[WorkClass], None]


@asynccontextmanager
async def sending_webhooks(
    held: DirectConnections,
    gateway: Gateway,
    *,
    guard: Guard,
    keys: Followed[tuple[bytes, ...]] | None,
    clock: Clock,
    wake: Callable[[WorkClass], None],
    meter: Meter = OFF,
) -> AsyncIterator[Webhooks]:
    """Yield it; `keys` wrap the secrets, and without one no subscription is taken."""
    metrics = WebhookMetrics(meter)
    ring = None if keys is None else KeyRing(keys)
    secrets = SecretBox(ring)
    subscriptions = SubscriptionStore(held, secrets, clock=clock)
    log = DeliveryLog(held, clock=clock)
    async with Sender(guard=guard, now=clock.now) as sender:
        delivering = Delivering(
            LaneStore(held, clock=clock),
            sender.send,
            secrets,
            partial(bodies.legacy, gateway=gateway),
            now=clock.now,
            metrics=metrics,
        )
        yield Webhooks(
            sink=WebhookSink(clock=clock, metrics=metrics),
            kind=delivering.kind,
            subscriptions=subscriptions,
            log=log,
            trials=Trials(subscriptions, log, sender.send, now=clock.now, metrics=metrics),
            upkeep=Upkeep(held, ring, clock=clock, metrics=metrics),
            guard=guard,
            wake=wake,
        )
