"""The process dies at each place of making, ending and reading a page: whoever comes next finishes it, once."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio

from sandbox.control import Refused
from services.gateway.call_log.engine import Calls
from services.gateway.checkout.claims import Claim
from services.gateway.checkout.create import CreateSession
from services.gateway.intents.cancel import CancelIntent
from services.gateway.intents.creation import Creation
from services.gateway.sync.movements import MovementReader
from services.gateway.sync.reader import MirrorReader
from services.gateway.wire.checkout import page_request
from services.gateway.wire.requests import cancel_params
from services.runtime.database.idempotency import request_hash
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from services.shared import fields
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.pages import Pages, amounts
from tests.gateway.samples import AMOUNT_MINOR, CANCELED, SUCCEEDED, Payments

PLACES_MAX = 20
"""No step has as many."""


class Died(BaseException):
    """Nothing of the process is left that could handle this."""


class Life:
    """Ends at one of the places before and after every statement and every call to Stripe."""

    def __init__(self, *, ends_at: int) -> None:
        self._ends_at = ends_at
        self._passed = 0
        self.place = ""

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
            assert ends_at > 1, "it passes no place"
            return
    raise AssertionError("it never comes to an end")


class Mortal:
    """Does what the real one does, as long as there is life."""

    def __init__(self, real: Any, life: Life) -> None:
        self._real = real
        self._life = life

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._real, name)
        return self._acting(name, real) if inspect.iscoroutinefunction(real) else real

    def _acting(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        async def act(*arguments: Any, **named_arguments: Any) -> Any:
            self._life.reach(f"before {name}")
            result = await real(*arguments, **named_arguments)
            self._life.reach(f"after {name}")
            return result

        return act


@dataclass(frozen=True, slots=True, kw_only=True)
class Dying:
    """A gateway beside the replica, on its database, that dies at a place."""

    calls: Calls
    creation: Creation
    reader: MirrorReader


@asynccontextmanager
async def dying(replica: Gateway, life: Life) -> AsyncIterator[Dying]:
    """Yield a gateway with a `life`; when the block ends, so have its leases."""
    parts = replica.parts
    store: Any = Mortal(parts.store, life)
    provider: Any = Mortal(parts.provider, life)
    now = parts.clock.now
    calls = Calls(parts.call_store, [CreateSession(provider, store, now=now), CancelIntent(provider, store)], now=now)
    with suppress(Died), call_context.acting_for("main"):
        yield Dying(
            calls=calls,
            creation=Creation(parts.call_store, calls, parts.customers, parts.sellers),
            reader=MirrorReader(store, calls, provider, MovementReader(provider, parts.sellers), now=now),
        )
    assert isinstance(parts.clock, Clock)
    parts.clock.advance(LEASE)


async def nothing_is_left(replica: Gateway, payment_id: str) -> None:
    async def is_nothing() -> bool:
        async with replica.parts.engine.connect() as connection:
            found = await connection.execute(
                sa.text(
                    "SELECT count(*) FROM calls WHERE subject_id = :payment_id AND state IN ('STARTED', 'UNKNOWN')"
                ),
                {"payment_id": payment_id},
            )
            return not found.scalar_one()

    await eventually(is_nothing)


@pytest.mark.parametrize("attempt", [1, 2])
async def test_making_a_page(replica: Gateway, pages: Pages, attempt: int) -> None:
    for life in lives():
        request = pages.create_request(attempt=attempt)
        payment_id = request.intent.payment_id
        if attempt > 1:
            await pages.opened(payment_id=payment_id)
            await pages.expire(payment_id)
        async with dying(replica, life) as gateway:
            asked = page_request(request, tenant_id="main")
            await gateway.creation.make(CreateSession, asked.intent, params_of=asked.params_of)

        opened = await pages.gateway.CreateCheckoutSession(request)

        sessions = [one for one in await pages.sessions(payment_id) if one["status"] == "open"]
        assert [(one["id"], one["url"]) for one in sessions] == [(opened.session.session_id, opened.session.url)], (
            life.place
        )
        assert opened.observation.attempt == attempt, life.place
        await nothing_is_left(replica, payment_id)


async def test_making_a_page_that_nobody_asks_for_again(replica: Gateway, pages: Pages) -> None:
    for life in lives():
        request = pages.create_request()
        payment_id = request.intent.payment_id
        async with dying(replica, life) as gateway:
            asked = page_request(request, tenant_id="main")
            await gateway.creation.make(CreateSession, asked.intent, params_of=asked.params_of)

        await replica.parts.work.once()
        await nothing_is_left(replica, payment_id)

        sessions = [one["id"] for one in await pages.sessions(payment_id)]
        known = await replica.parts.store.read("main", payment_id)
        mirrored = [one.session_id for one in known.intents.values()] if known is not None else []
        assert sessions == mirrored, life.place
        assert len(sessions) <= 1, life.place


@pytest.mark.parametrize("pays", [False, True])
async def test_ending_a_page(replica: Gateway, pages: Pages, payments: Payments, *, pays: bool) -> None:
    for life in lives():
        opened = await pages.opened()
        payment_id = opened.observation.payment_id
        request = payments.cancel_request(payment_id)
        async with dying(replica, life) as gateway:
            await gateway.calls.make(
                CancelIntent,
                params=cancel_params(request),
                tenant_id="main",
                subject_id=payment_id,
                request_id=fields.request_id(request.request_id),
                request_hash=request_hash(request),
            )
        if pays:
            with suppress(Refused):  # the page is over
                await pages.pay(opened.session.url)

        await nothing_is_left(replica, payment_id)
        with suppress(aio.AioRpcError):  # the payer was faster
            await pages.gateway.CancelIntent(request)
        seen = await payments.synced(payment_id)

        session = await pages.session(payment_id)
        if session["status"] == "expired":
            assert (seen.intent_state, amounts(seen)) == (CANCELED, (0, 0)), life.place
        else:
            assert (pays, seen.intent_state, amounts(seen)) == (True, SUCCEEDED, (AMOUNT_MINOR, 0)), life.place


async def test_reading_a_page_that_was_paid(replica: Gateway, pages: Pages, payments: Payments) -> None:
    for life in lives():
        payment_id = await pages.paid()
        (intent,) = await payments.intents(payment_id)
        claim = Claim(payment_id=payment_id, attempt=1, intent_id=intent["id"])
        async with dying(replica, life) as gateway:
            await gateway.reader.bind("main", claim, origin="test")

        seen = await payments.synced(payment_id)

        assert (seen.intent_state, amounts(seen)) == (SUCCEEDED, (AMOUNT_MINOR, 0)), life.place
