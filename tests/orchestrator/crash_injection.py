"""An orchestrator that dies at a chosen place, as by SIGKILL: from there on it neither asks nor writes anything."""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from services.orchestrator.domain import ABANDONED_AFTER, LEASE
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.steps import Driver
from services.orchestrator.store import Request
from services.orchestrator.sweep import Sweep
from services.orchestrator.wire.requests import request_from
from services.runtime.rpc import call_context
from services.runtime.rpc.access import EVERYTHING
from services.runtime.rpc.identity import Caller
from services.runtime.work.engine import Engine
from tests.orchestrator.conftest import Orchestrator

PLACES_MAX = 40
"""No journey has as many."""


class Died(BaseException):
    """Nothing of the process is left that could handle this."""


class Life:
    """Ends at one of the places before and after every statement and every call to another service."""

    def __init__(self, *, ends_at: int) -> None:
        self._ends_at = ends_at
        self._passed = 0
        self.place = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """What was asked of the real ones, by name and named arguments."""

    def reach(self, place: str) -> None:
        if self.place:
            raise Died
        self._passed += 1
        if self._passed == self._ends_at:
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
async def mortal_orchestrator(replica: Orchestrator, life: Life) -> AsyncIterator[tuple[RequestRunner, Engine]]:
    """Give what the replica is made of to one with a `life`; when the block ends, so have its leases."""
    clock = replica.world.clock
    store: Any = Mortal(replica.parts.store, life)
    peers: Any = Mortal(replica.parts.peers, life)
    driver = Driver(store, peers, abandoned_after=ABANDONED_AFTER, now=clock.now)
    runner = RequestRunner(store, driver, peers, now=clock.now)
    with suppress(Died), call_context.acting_for("main"):
        yield runner, replica.engine(*Sweep(store, driver, runner).kinds)
    clock.advance(LEASE)


def asked_by_shop(request: Any, payment_id: str, *, command: bytes = b"") -> Request:
    """Return the request as the servicer reads it from the shop that the other tests call as."""

    def read() -> Request:
        caller = Caller(
            subject="shop", tenant_id="main", roles=frozenset({"service"}), expire_time=datetime.max.replace(tzinfo=UTC)
        )
        call_context.begin(correlation="", remaining_s=None)
        call_context.admitted(caller, EVERYTHING)
        return request_from(request, payment_id, command=command)

    return contextvars.copy_context().run(read)
