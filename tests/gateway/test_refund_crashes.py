"""The process dies at each place from a refund to its reversal and its fee's: each is there once in the end."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from local.issuer import Issuer
from sandbox.control import SandboxControl
from services.gateway.call_log.engine import Calls
from services.gateway.refunds.operations import CreateRefund
from services.gateway.settlement.settler import Settler
from services.gateway.settlement.transfers import CreateTransfer
from services.gateway.settlement.way_back import RefundFee, ReverseTransfer
from services.gateway.wire.requests import refund_params
from services.runtime.database.idempotency import request_hash
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, Work
from services.shared import fields
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import eventually
from tests.gateway.clocks import level
from tests.gateway.conftest import Gateway, running_gateway
from tests.gateway.samples import Payments
from tests.gateway.settling import Carts, part
from tests.gateway.test_checkout_crashes import Died, Life, Mortal

TENANT = "main"
PLACES_MAX = 60
"""No way back has as many."""


class AfterLife(Life):
    """Ends after one of the statements or calls alone: nothing lasts before one that did not after the last."""

    def reach(self, place: str) -> None:
        if self.place or place.startswith("after"):
            super().reach(place)


def lives(kind: type[Life]) -> Iterator[Life]:
    """Return lives that each end one place further, until one is long enough."""
    for ends_at in range(1, PLACES_MAX):
        life = kind(ends_at=ends_at)
        yield life
        if not life.place:
            assert ends_at > 10, "it passes no place of a way back"
            return
    raise AssertionError("it never comes to an end")


KINDS = pytest.mark.parametrize("kind", [AfterLife, pytest.param(Life, marks=pytest.mark.soak)])


@pytest.fixture(scope="module")
async def quiet(
    databases: Databases, tmp_path_factory: pytest.TempPathFactory, stripe: SandboxControl, sink: tuple[Any, str]
) -> AsyncIterator[Gateway]:
    """A gateway that does due work only when it is told to."""
    clock = Clock()
    database = await databases.create("gateway")
    async with running_gateway(
        database.runtime_url,
        stripe_key=f"sk_test_{secrets.token_hex(16)}",
        stripe_base=stripe.base_url,
        sink_address=sink[1],
        issuer=Issuer(tmp_path_factory.mktemp("quiet") / "keys", now=clock.now),
        clock=clock,
        works=False,
    ) as gateway:
        yield gateway
    await databases.drop(database)


@pytest.fixture
async def own(quiet: Gateway, stripe: SandboxControl) -> AsyncIterator[Carts]:
    await level(quiet.parts.clock, stripe)
    async with quiet.connect() as stub:
        payments = Payments(stub, stripe)
        await payments.prepare_seller()
        yield Carts(quiet, payments, stripe)


@asynccontextmanager
async def dying(quiet: Gateway, life: Life) -> AsyncIterator[tuple[Calls, Settler]]:
    """Yield a gateway with a `life`; when the block ends, so have its leases."""
    parts = quiet.parts
    store: Any = Mortal(parts.store, life)
    rooms = ("transfers", "fees", "refunds", "charges", "intents", "disputes")
    provider: Any = SimpleNamespace(**{name: Mortal(getattr(parts.provider, name), life) for name in rooms})
    now = parts.clock.now
    operations = [
        CreateRefund(provider, store),
        CreateTransfer(provider, store, now=now),
        ReverseTransfer(provider, store, now=now),
        RefundFee(provider, store, now=now),
    ]
    calls = Calls(parts.call_store, operations, now=now)
    with suppress(Died, RetryLater), call_context.acting_for(TENANT):
        yield calls, Settler(store, calls, parts.sellers, provider, now=now)
    assert isinstance(parts.clock, Clock)
    parts.clock.advance(LEASE)


async def refunded(carts: Carts, payment_id: str, amount_minor: int, expected_minor: int, life: Life) -> None:
    """Refund and settle in a process that dies, and then in one that lives."""
    quiet = carts.replica
    request = carts.payments.refund_request(payment_id, amount_minor, expected_minor=expected_minor)
    async with dying(quiet, life) as (calls, settler):
        await calls.make(
            CreateRefund,
            params=refund_params(request, tenant_id=TENANT, currency_code="CHF"),
            tenant_id=TENANT,
            subject_id=payment_id,
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request),
        )
        await settler.settle(Work(kind=settler.work, tenant_id=TENANT, key=(payment_id,), fence=1, failures=0))
    await carts.payments.gateway.CreateRefund(request)
    await at_rest(carts, payment_id)


async def at_rest(carts: Carts, payment_id: str) -> None:
    async def rests() -> bool:
        clock = carts.replica.parts.clock
        assert isinstance(clock, Clock)
        clock.advance(timedelta(seconds=30))
        await carts.replica.parts.work.once()
        return await carts.is_at_rest(payment_id)

    await eventually(rests, what=f"{payment_id} comes to rest")


@KINDS
async def test_a_refund_of_a_destination_charge(own: Carts, kind: type[Life]) -> None:
    for life in lives(kind):
        payment_id = await own.payments.paid()
        await own.stripe.settle()

        await refunded(own, payment_id, 4_000, 10_000, life)

        [charge] = await own.payments.charges(payment_id)
        assert [one["amount"] for one in await own.payments.refunds(payment_id)] == [4_000], life.place
        reversals = await own.stripe.objects("transfer_reversal", transfer=charge["transfer"])
        assert [one["amount"] for one in reversals] == [4_000], life.place
        returned = await own.stripe.objects("fee_refund", fee=charge["application_fee"])
        assert [one["amount"] for one in returned] == [600], life.place


@pytest.mark.soak
async def test_a_refund_of_a_cart(own: Carts) -> None:
    first, second = await own.sellers(2)
    for life in lives(Life):
        payment_id = await own.paid(part(first, 6_000), part(second, 4_000))
        await at_rest(own, payment_id)
        assert await own.got(payment_id) == {first: 5_100, second: 3_400}

        await refunded(own, payment_id, 5_000, 10_000, life)

        assert await own.got(payment_id) == {first: 2_550, second: 1_700}, life.place
        for transfer in await own.transfers(payment_id):
            reversals = await own.stripe.objects("transfer_reversal", transfer=transfer["id"])
            assert len(reversals) == 1, life.place
