"""An orchestrator that dies at a chosen place, as by SIGKILL: from there on it neither asks nor writes anything."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
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

PLACES_MAX = 40
"""No journey has as many."""


class Died(BaseException):
    """Nothing of the process is left that could handle this."""


class Life:
    """Ends at one of the places before and after every statement and every call to another service."""

    def __init__(self, *, ends_at: int | str) -> None:
        """`ends_at` counts the places or names one: what runs side by side passes them in any order."""
        self._ends_at = ends_at
        self._passed = 0
        self.place = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """What was asked of the real ones, by name and named arguments."""

    def reach(self, place: str) -> None:
        if self.place:
            raise Died
        self._passed += 1
        if self._ends_at in (self._passed, place):
            self.place = place
            raise Died


def lives() -> Iterator[Life]:
    """Return lives that each end one place further, until one is long enough."""
    for ends_at in range(1, PLACES_MAX):
        life = Life(ends_at=ends_at)
        yield life
        if not life.place:
            return
    raise AssertionError("it never comes to an end")


class Mortal:
    """Does what the real one does, as long as there is life."""

    def __init__(self, real: Any, life: Life) -> None:
        self._real = real
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def act(*arguments: Any, **named_arguments: Any) -> Any:
            self._life.reach(f"before {name}")
            self._life.asked.append((name, named_arguments))
            result = await getattr(self._real, name)(*arguments, **named_arguments)
            self._life.reach(f"after {name}")
            return result

        return act


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
        claim_store=claims or ours.claim_store,
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
