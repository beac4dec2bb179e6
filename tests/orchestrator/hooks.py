"""What sends webhooks, on a database of its own kind of tenant, with a clock of its own."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

import asyncpg

from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.orchestrator.facts.store import FactStore
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.webhooks_out.actions import Action
from services.orchestrator.webhooks_out.building import Webhooks, sending_webhooks
from services.orchestrator.webhooks_out.domain import Delivery, Form, Receiver
from services.orchestrator.webhooks_out.guard import DEVELOPMENT
from services.orchestrator.webhooks_out.log import Wanted
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.rpc import call_context
from services.runtime.rpc.channels import make_channel
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import WorkKind
from tests.orchestrator.receivers import Received

WEBHOOK_KEYS: Final = Followed((bytes(range(32)),))
NOWHERE: Final = "127.0.0.1:1"
ROUNDS_MAX: Final = 200


def new_name(prefix: str) -> str:
    """Return a name that nobody had, without digits."""
    return prefix + "".join(secrets.choice(string.ascii_lowercase) for _ in range(12))


@dataclass(kw_only=True)
class Room:
    """One process's."""

    tenant_id: str
    url: str
    held: DirectConnections
    webhooks: Webhooks
    facts: FactStore
    clock: Clock
    secrets: dict[str, str] = field(default_factory=dict)
    """Of each subscription, the first."""

    def action(self, method: str = "PutWebhookSubscription") -> Action:
        key = RequestKey(tenant_id=self.tenant_id, caller="anna", method=method, request_id=uuid4())
        return Action(key=key, request_hash=bytes(32), actor_id="anna", reason="a test", time=self.clock.now())

    async def subscribe(
        self, name: str, url: str, *kinds: FactKind, form: Form = Form.FULL, paused: bool = False
    ) -> None:
        receiver = Receiver(subscription_id=name, url=url, kinds=frozenset(kinds), form=form, paused=paused)
        _, secret = await self.webhooks.subscriptions.put(self.action(), receiver)
        self.secrets.setdefault(name, secret)

    def fact(
        self, payment_id: str, revision: int, *, kind: FactKind = FactKind.PAYMENT_MOVED, seller_ids: Sequence[str] = ()
    ) -> Fact:
        payment = status_pb2.Payment(payment_id=payment_id, revision=revision, payer_id="payer_of_hooks")
        payment.snapshot.collection = payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD
        return Fact(
            tenant_id=self.tenant_id,
            fact_id=fact_id(kind, self.tenant_id, payment_id, str(revision), *seller_ids),
            kind=kind,
            occur_time=self.clock.now(),
            payment_id=payment_id,
            revision=revision if payment_id else 0,
            payer_id="payer_of_hooks",
            seller_ids=seller_ids,
            payment=payment.SerializeToString() if payment_id else None,
        )

    async def happen(self, payment_id: str, *revisions: int) -> None:
        """Keep that a payment moved so often."""
        await self.facts.keep(self.tenant_id, [self.fact(payment_id, revision) for revision in revisions])

    def engine(self, kind: WorkKind | None = None) -> Engine:
        engine = Engine(self.url, self.held, clock=self.clock, application_name="tests", tenants=[self.tenant_id])
        engine.register(kind or self.webhooks.kind)
        return engine

    async def send(self) -> None:
        """Send what is due until nothing is."""
        engine = self.engine()
        for _ in range(ROUNDS_MAX):
            if await engine.once() == 0:
                return
        raise AssertionError("it never comes to an end")

    def later(self, by: timedelta) -> None:
        self.clock.shift += by

    async def deliveries(self, **wanted: Any) -> list[Delivery]:
        """Return deliveries, the oldest first."""
        found = await self.webhooks.log.page(self.tenant_id, Wanted(**wanted), before=None, limit=500)
        return found[::-1]

    async def states(self, **wanted: Any) -> list[str]:
        return [one.state for one in await self.deliveries(**wanted)]

    async def row(self, query: str, *arguments: object) -> asyncpg.Record:
        async with self.held.statement(None) as connection:
            return await connection.fetchrow(query, self.tenant_id, *arguments)


@asynccontextmanager
async def room(
    url: str,
    *,
    tenant_id: str | None = None,
    clock: Clock | None = None,
    keys: Followed[tuple[bytes, ...]] | None = WEBHOOK_KEYS,
    meter: Meter = OFF,
) -> AsyncIterator[Room]:
    """Yield a process's room; its gateway is away."""
    clock, tenant_id = clock or Clock(), tenant_id or new_name("tenant_")
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(DirectConnections(url, application_name="tests", size=6))
        channel = await stack.enter_async_context(make_channel(NOWHERE, timeout_s=1.0, metadata=lambda: ()))
        gateway = Gateway(
            intents=IntentServiceStub(channel),
            checkout=CheckoutServiceStub(channel),
            refunds=RefundServiceStub(channel),
            contacts=ContactServiceStub(channel),
        )
        webhooks = await stack.enter_async_context(
            sending_webhooks(held, gateway, guard=DEVELOPMENT, keys=keys, clock=clock, wake=lambda _: None, meter=meter)
        )
        facts = FactStore(held, sinks=[webhooks.sink], now=clock.now, wake=lambda _: None)
        with call_context.acting_for(tenant_id):
            yield Room(tenant_id=tenant_id, url=url, held=held, webhooks=webhooks, facts=facts, clock=clock)


def told(received: Sequence[Received]) -> list[tuple[str, int]]:
    """Return of which revisions of which payments a receiver was told, in the order in which it was."""
    data: list[Mapping[str, Any]] = [json.loads(one.body)["data"] for one in received]
    return [(one["payment_id"], one["revision"]) for one in data]


def of(payment_id: str, received: Sequence[Received]) -> list[int]:
    """Return the revisions of a payment that a receiver was told of."""
    return [revision for about, revision in told(received) if about == payment_id]
