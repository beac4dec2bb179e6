"""What a seller owes of one payment is kept back from its transfer of another: once, wherever the process dies."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio

from batzen.gateway.v1 import ops_pb2, split_pb2
from local.issuer import Issuer
from sandbox.control import SandboxControl
from services.gateway.settlement.domain import Movement, MovementKind
from services.gateway.settlement.netting import netting
from services.runtime.database.lease import LEASE, LeaseLost
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import eventually
from tests.gateway.clocks import level
from tests.gateway.conftest import Gateway, running_gateway
from tests.gateway.samples import Payments, new_request_id
from tests.gateway.settling import TENANT, Carts, part
from tests.gateway.test_checkout_crashes import Life
from tests.gateway.test_settlement_crashes import settle

NETS = split_pb2.SettlementTerms(nets_receivables=True)


class Netted(Carts):
    """A seller who owes 34.00 of one cart, and carts by which it is to get more."""

    async def owing(self) -> tuple[str, str]:
        """Return a seller, and a payment of which it owes 34.00: 40.00 were refunded while its balance was 0."""
        seller_id = await self.seller()
        payment_id = await self.due(seller_id)
        await self.run(payment_id)
        await self.stripe.pay_out(self.accounts[seller_id], amount=4_250, currency="chf")
        await self.payments.gateway.CreateRefund(
            self.payments.refund_request(payment_id, 4_000, expected_minor=5_000 + 1_000, line_amounts=[
                split_pb2.LineAmount(line_id="s2", amount_minor=4_000)
            ])
        )  # fmt: skip
        await self.run(payment_id)
        assert await self.owed(payment_id) == [3_400]
        return seller_id, payment_id

    async def due(self, seller_id: str, gross_minor: int = 5_000, **fields: Any) -> str:
        """Return a payment of which the seller gets its part with the next run."""
        other = next((one for one in self.accounts if one != seller_id), None) or await self.seller()
        payment_id = await self.paid(part(seller_id, gross_minor, line_id="s2"), part(other, 1_000), **fields)
        await self.book(payment_id)
        return payment_id

    async def owed(self, payment_id: str) -> list[int]:
        found = await self.rows("SELECT amount_minor FROM receivables WHERE payment_id = :of", payment_id)
        return [row[0] for row in found]

    async def kept_back(self, payment_id: str) -> int:
        """Return what was kept back of a payment's transfers, less what was given back so."""
        movements = (await self.replica.parts.store.require(TENANT, payment_id)).movements.values()
        signs = {MovementKind.NETTING_OUT: 1, MovementKind.NETTING_IN: -1}
        return sum(signs.get(one.kind, 0) * one.charge_minor for one in movements)

    async def account(self, payment_id: str, account: str, seller_id: str) -> int:
        """Return what an account of a seller shows of a payment."""
        found = await self.rows(
            "SELECT coalesce(sum(amount_minor), 0) FROM ledger_entries"
            f" WHERE payment_id = :of AND account = '{account}' AND seller_id = '{seller_id}'",
            payment_id,
        )
        return int(found[0][0])

    async def rest(self, seller_id: str, *payment_ids: str) -> None:
        """Check that payments are at rest, and that their books say so."""
        for payment_id in payment_ids:
            assert await self.is_at_rest(payment_id)
            assert await self.account(payment_id, "seller", seller_id) == 0
        assert sum([await self.account(one, "netting", seller_id) for one in payment_ids]) == 0

    async def rows(self, statement: str, payment_id: str) -> list[Any]:
        async with self.replica.parts.engine.connect() as connection:
            return list((await connection.execute(sa.text(statement), {"of": payment_id})).all())


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
async def carts(quiet: Gateway, stripe: SandboxControl) -> AsyncIterator[Netted]:
    await level(quiet.parts.clock, stripe)
    async with quiet.connect() as stub:
        payments = Payments(stub, stripe)
        await payments.prepare_seller()
        yield Netted(quiet, payments, stripe)


async def test_a_transfer_is_less_by_what_is_owed_and_both_payments_rest(carts: Netted) -> None:
    s2, first = await carts.owing()
    second = await carts.due(s2, settlement_terms=NETS)
    await carts.run(second)
    assert (await carts.got(first))[s2] == 4_250
    assert (await carts.got(second))[s2] == 850
    assert [await carts.kept_back(one) for one in (first, second)] == [-3_400, 3_400]
    assert await carts.owed(first) == []
    await carts.rest(s2, first, second)

    third = await carts.due(s2, settlement_terms=NETS)
    await carts.run(third)
    assert (await carts.got(third))[s2] == 4_250  # nothing is owed any more

    # All of the second goes back: what it was netted with is owed of it then, and its transfer comes back.
    await carts.refunded_by_hand(second, 6_000)
    await carts.run(second)
    assert (await carts.got(second))[s2] == 0
    assert await carts.owed(second) == [3_400]


async def test_without_the_terms_nothing_is_kept_back(carts: Netted) -> None:
    s2, first = await carts.owing()
    second = await carts.due(s2)
    await carts.run(second)
    assert (await carts.got(second))[s2] == 4_250
    assert await carts.owed(first) == [3_400]


async def finish(carts: Netted, payment_id: str) -> None:
    """Let a process that lives do what is due: repeat the call that has no answer, and go on."""

    async def rests() -> bool:
        assert isinstance(carts.replica.parts.clock, Clock)
        carts.replica.parts.clock.advance(LEASE)
        await carts.replica.parts.work.once()
        return await carts.is_at_rest(payment_id)

    await eventually(rests, what=f"{payment_id} comes to rest")


@pytest.mark.faults
async def test_the_process_dies_at_each_place(carts: Netted) -> None:
    """Until it is netted; that it dies later is the same as with any other transfer."""
    for ends_at in range(1, 40):
        s2, first = await carts.owing()
        second = await carts.due(s2, settlement_terms=NETS)
        life = Life(ends_at=ends_at)
        await settle(carts.replica, life, second)
        await finish(carts, second)
        assert (await carts.got(second))[s2] == 850, life.place
        await carts.rest(s2, first, second)
        if life.place == "after save_both":
            return
    raise AssertionError("it is never netted")


async def test_of_two_payments_both_are_written_or_neither(carts: Netted) -> None:
    s2, first = await carts.owing()
    second = await carts.due(s2, settlement_terms=NETS)
    store, clock = carts.replica.parts.store, carts.replica.parts.clock
    assert isinstance(clock, Clock)
    with call_context.acting_for(TENANT):
        await carts.replica.parts.settler.read_charge(await store.require(TENANT, second), 1)
    for is_lost in (first, second):
        owing, paying = await store.take(TENANT, first), await store.take(TENANT, second)
        assert owing is not None
        assert paying is not None
        move = next(one for one in paying.steps(None) if isinstance(one, Movement) and one.seller_id == s2)
        sides = netting(paying, owing, move, now=clock.now())
        assert sides is not None
        for side, kept in zip((paying, owing), sides, strict=True):
            side.movements[kept.movement_id] = kept
            side.conclude()
        clock.advance(LEASE)
        assert await store.take(TENANT, is_lost) is not None  # by another
        with pytest.raises(LeaseLost), call_context.acting_for(TENANT):
            await store.save_both(paying, owing, point="settlement.netting", now=clock.now(), deliver="test")
        clock.advance(LEASE)
        assert [await carts.kept_back(one) for one in (first, second)] == [0, 0]
        assert await carts.owed(first) == [3_400]


@pytest.mark.faults
async def test_of_twenty_payments_at_once_one_is_owed_once(carts: Netted) -> None:
    s2, first = await carts.owing()
    others = [await carts.due(s2, settlement_terms=NETS) for _ in range(20)]
    await asyncio.gather(*(carts.run(one) for one in others))
    for one in others:
        await carts.run(one)
    kept = [await carts.kept_back(one) for one in others]
    assert sum(kept) == -await carts.kept_back(first)
    assert [(await carts.got(one))[s2] for one in others] == [4_250 - minor for minor in kept]
    await carts.rest(s2, first, *others)
    assert sum(kept) == 3_400


@pytest.mark.parametrize("seed", range(4))
async def test_a_reversal_a_netting_and_a_write_off_at_once(carts: Netted, seed: int) -> None:
    """Whoever comes first has it: the seller has what it is to have, and what was written off."""
    dice = random.Random(seed)
    s2, first = await carts.owing()
    funding = await carts.due(s2, 10_000)  # so that the reversal, which is asked for again, is not refused
    await carts.run(funding)
    second = await carts.due(s2, settlement_terms=NETS)
    assert isinstance(carts.replica.parts.clock, Clock)
    carts.replica.parts.clock.advance(timedelta(minutes=2))

    async def write_off() -> None:
        request = ops_pb2.WriteOffReceivableRequest(
            request_id=new_request_id(), payment_id=first, attempt=1, seller_id=s2, actor_id="operator_1", reason="test"
        )
        request.expected.CopyFrom(carts.asked(part(s2, 3_400))["amount"])
        async with carts.replica.connect_ops() as operators:
            with suppress(aio.AioRpcError):
                await operators.WriteOffReceivable(request)

    at_once = [carts.run(first), carts.run(second), *([write_off()] if seed % 2 else [])]
    dice.shuffle(at_once)
    await asyncio.gather(*at_once)
    for _ in range(2):
        await carts.run(second)
        carts.replica.parts.clock.advance(timedelta(minutes=2))
        await carts.run(first)

    known = await carts.replica.parts.store.require(TENANT, first)
    back = [one for one in known.movements.values() if one.seller_id == s2 and one.kind != "TRANSFER" and one.is_out]
    assert sum(one.charge_minor for one in back) == 3_400
    written_off = sum(one.charge_minor for one in back if one.kind is MovementKind.WRITE_OFF)
    got = (await carts.got(first))[s2] + (await carts.got(second))[s2]
    assert got == 850 + 4_250 + written_off
    assert await carts.owed(first) == []
    await carts.rest(s2, first, second)
