"""The process dies at each place of settling: whoever comes next finishes it, each transfer once."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from sandbox.control import SandboxControl
from services.gateway.call_log.engine import Calls
from services.gateway.settlement.settler import Settler
from services.gateway.settlement.transfers import CreateTransfer
from services.gateway.settlement.way_back import RefundFee, ReverseTransfer
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, Work
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments
from tests.gateway.settling import TENANT, Carts, part
from tests.gateway.test_checkout_crashes import Died, Life, Mortal


async def settle(replica: Gateway, life: Life, payment_id: str) -> None:
    """Settle a payment in a process beside the replica, until that dies."""
    parts = replica.parts
    store: Any = Mortal(parts.store, life)
    provider: Any = Mortal(parts.provider, life)
    now = parts.clock.now
    made: list[Any] = [kind(provider, store, now=now) for kind in (CreateTransfer, ReverseTransfer, RefundFee)]
    settler = Settler(store, Calls(parts.call_store, made, now=now), parts.sellers, provider, now=now)
    work = Work(kind=settler.work, tenant_id=TENANT, key=(payment_id,), fence=0, failures=0)
    with suppress(Died, RetryLater), call_context.acting_for(TENANT):
        await settler.settle(work)
    assert isinstance(parts.clock, Clock)
    parts.clock.advance(LEASE)


async def test_settling(replica: Gateway, payments: Payments, stripe: SandboxControl) -> None:
    carts = Carts(replica, payments, stripe)
    s1, s2 = await carts.sellers(2)
    for ends_at in range(1, 40):
        life = Life(ends_at=ends_at)
        payment_id = await carts.paid(part(s1, 1_000), part(s2, 500))
        await settle(replica, life, payment_id)
        assert await carts.settled(payment_id) == {s1: 850, s2: 425}, life.place
        assert len(await carts.transfers(payment_id)) == 2, life.place
        await carts.refunded_by_hand(payment_id, 300)
        await settle(replica, Life(ends_at=ends_at), payment_id)
        assert await carts.settled(payment_id) == {s1: 680, s2: 340}, life.place
        if not life.place:
            return
    raise AssertionError("it never comes to an end")
