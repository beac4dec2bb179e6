"""An orchestrator that dies at a chosen place, as by SIGKILL: from there on it neither asks nor writes anything."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from google.protobuf.message import Message

from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.metrics import UNCOUNTED, OrchestratorMetrics
from services.orchestrator.peers import Peers
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.orchestrator.storage.store import Store
from services.orchestrator.wiring import Parts, wired
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from services.runtime.rpc.access import EVERYTHING
from services.runtime.rpc.identity import SERVICE, Caller
from services.runtime.work.engine import Engine
from tests.orchestrator.conftest import Orchestrator
from tests.orchestrator.lives import Died, Life, Mortal


@asynccontextmanager
async def mortal_orchestrator(
    replica: Orchestrator, life: Life, *, metrics: OrchestratorMetrics = UNCOUNTED
) -> AsyncIterator[tuple[Parts, Engine]]:
    """Give what the replica is made of to one with a `life`; when the block ends, so have its leases."""
    store: Any = Mortal(replica.parts.store, life)
    claims: Any = Mortal(replica.parts.claim_store, life)
    parts = parts_of(replica, store=store, claims=claims, peers=mortal_peers(replica, life), metrics=metrics)
    with suppress(Died), call_context.acting_for("main"):
        yield parts, replica.engine(*parts.sweep.kinds)
    replica.world.clock.advance(LEASE)


def mortal_peers(replica: Orchestrator, life: Life) -> Peers:
    """Return the services behind the replica, as one with a `life` calls them."""
    real = replica.parts.peers
    mortal: dict[str, Any] = {name: Mortal(getattr(real, name), life) for name in ("pricing", "status", "gateway")}
    return Peers(**mortal)


def parts_of(
    replica: Orchestrator,
    *,
    store: Store,
    claims: BookingClaimStore | None = None,
    peers: Peers | None = None,
    metrics: OrchestratorMetrics = UNCOUNTED,
) -> Parts:
    """Return an orchestrator without a port, with another store, beside a replica."""
    world, ours = replica.world, replica.parts
    return wired(
        store,
        ours.start_switches,
        ours.policies,
        peers or ours.peers,
        ours.work,
        webhooks=ours.webhooks,
        facts=ours.facts,
        hearing=ours.hearing,
        telling=ours.telling,
        mailing=ours.mailing,
        receipts=ours.receipts,
        claim_store=claims or ours.claim_store,
        decline_store=ours.decline_store,
        diagnoses=ours.diagnoses,
        operations=ours.ops.operations,
        imports=ours.imports,
        clock=world.clock,
        surplus_refund=ours.surplus.policy,
        metrics=metrics,
    )


async def ask(parts: Parts, asked: Any, *, role: str = SERVICE) -> Message:
    """Have an orchestrator without a port carry out a request of the shop that the other tests call as."""

    async def call() -> Message:
        _as_shop(role)
        answer: Message = await parts.runner.run(parts.commands[shop_key(asked).method], asked)
        return answer

    return await asyncio.create_task(call())


def _as_shop(role: str) -> None:
    """Let the current call be one of the shop's."""
    shop = Caller(
        subject="shop", tenant_id="main", roles=frozenset({role}), expire_time=datetime.max.replace(tzinfo=UTC)
    )
    call_context.begin(correlation="", remaining_s=None)
    call_context.admitted(shop, EVERYTHING)


def shop_key(asked: Any) -> RequestKey:
    """Return what a request of the shop's is known by."""
    method = type(asked).__name__.removesuffix("Request")
    return RequestKey(tenant_id="main", caller="shop", method=method, request_id=uuid.UUID(asked.request_id))
