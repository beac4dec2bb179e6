"""A method that a payment still needs is not removed; and one that is being removed, no payment begins to need."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable

import asyncpg
import pytest
from grpc import StatusCode, aio

from batzen.gateway.v1 import payer_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from tests.eventually import eventually
from tests.gateway.samples import (
    REQUIRES_ACTION,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    reason_of,
    refused,
)
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_calls import until_struck
from tests.gateway.test_payment_methods import DETACH, Wallet, at_stripe
from tests.gateway.test_races import connected

NEED = """
UPDATE intents SET needs_method_id = $2 WHERE payment_id = $1 AND may_need_method(tenant_id, $2) RETURNING 1"""
"""As the mirror of payments writes it."""
QUICK_ROUNDS, SOAK_ROUNDS = 20, 200


@pytest.fixture
def wallet(gateway: GatewayStubs) -> Wallet:
    return Wallet(gateway)


async def begin_to_need(connection: asyncpg.Connection, payment_id: str, method_id: str) -> bool:
    return bool(await connection.fetchval(NEED, payment_id, method_id))


async def need_no_more(connection: asyncpg.Connection, *payment_ids: str) -> None:
    await connection.execute("UPDATE intents SET needs_method_id = NULL WHERE payment_id = ANY($1)", payment_ids)


async def test_a_method_that_payments_need_is_not_removed_until_they_do_not(
    wallet: Wallet, payments: Payments, database: ServiceDatabase, stripe: SandboxControl
) -> None:
    visa = (await wallet.attach()).payment_method_id
    needing = [await payments.created() for _ in range(12)]
    request = wallet.detach_request(visa)
    async with connected(database) as connection:
        for payment_id in needing:
            assert await begin_to_need(connection, payment_id, visa)

        for again in (request, request, wallet.detach_request(visa)):
            code, reason, _, metadata = await refused(wallet.gateway.DetachPaymentMethod(again))
            assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "METHOD_IN_USE")
            assert metadata["payment_ids"].split(",") == sorted(needing)[:10]
        assert await wallet.ids() == await at_stripe(stripe, wallet) == [visa]

        await need_no_more(connection, *needing)
    assert await refused(wallet.gateway.DetachPaymentMethod(request))  # its answer stands
    await wallet.detach(visa)
    assert await wallet.ids() == []


async def test_the_same_card_is_not_removed_while_one_of_its_methods_is_needed(
    wallet: Wallet, payments: Payments, database: ServiceDatabase, stripe: SandboxControl
) -> None:
    first, again = [(await wallet.attach()).payment_method_id for _ in range(2)]
    payment_id = await payments.created()
    async with connected(database) as connection:
        await begin_to_need(connection, payment_id, first)
        _, reason, _, metadata = await refused(wallet.gateway.DetachPaymentMethod(wallet.detach_request(again)))
        await need_no_more(connection, payment_id)

    assert (reason, metadata["payment_ids"]) == ("METHOD_IN_USE", payment_id)
    assert set(await at_stripe(stripe, wallet)) == {first, again}


async def test_no_payment_begins_to_need_a_method_that_is_being_removed(
    wallet: Wallet, payments: Payments, database: ServiceDatabase, stripe: SandboxControl
) -> None:
    visa, payment_id = (await wallet.attach()).payment_method_id, await payments.created()
    await stripe.fault(Kind.PAUSE, route=DETACH)
    detaching = asyncio.ensure_future(wallet.detach(visa))
    await until_struck(stripe)
    async with connected(database) as connection:
        assert not await begin_to_need(connection, payment_id, visa)
        await stripe.resume()
        await detaching
        assert not await begin_to_need(connection, payment_id, visa)
        assert await begin_to_need(connection, payment_id, "pm_1unknown")  # Stripe decides
        await need_no_more(connection, payment_id)


async def test_a_need_that_is_just_written_is_waited_for(
    wallet: Wallet, payments: Payments, database: ServiceDatabase, stripe: SandboxControl
) -> None:
    visa, payment_id = (await wallet.attach()).payment_method_id, await payments.created()
    async with connected(database) as connection, connected(database) as other:
        writing = connection.transaction()
        await writing.start()
        await begin_to_need(connection, payment_id, visa)
        detaching = asyncio.ensure_future(refused(wallet.gateway.DetachPaymentMethod(wallet.detach_request(visa))))
        await until_waiting(other)
        await writing.commit()
        assert (await detaching)[1] == "METHOD_IN_USE"
        await need_no_more(connection, payment_id)
    assert await at_stripe(stripe, wallet) == [visa]


@pytest.mark.parametrize("rounds", [QUICK_ROUNDS, pytest.param(SOAK_ROUNDS, marks=pytest.mark.soak)])
async def test_of_a_removal_and_a_need_at_once_one_is_true(
    wallet: Wallet, payments: Payments, database: ServiceDatabase, stripe: SandboxControl, rounds: int
) -> None:
    chance, payment_id = random.Random(20), await payments.created()
    seen = set()
    async with connected(database) as connection:
        for _ in range(rounds):
            visa = (await wallet.attach()).payment_method_id

            detaching = wallet.gateway.DetachPaymentMethod(wallet.detach_request(visa))
            for _ in range(chance.randrange(12)):
                await connection.fetchval("SELECT 1")
            is_needed = await begin_to_need(connection, payment_id, visa)
            assert await reason(detaching) == ("METHOD_IN_USE" if is_needed else "")
            assert (visa in await at_stripe(stripe, wallet)) is is_needed
            seen.add(is_needed)
            await need_no_more(connection, payment_id)
            if is_needed:
                await wallet.detach(visa)
    assert rounds < SOAK_ROUNDS or seen == {True, False}


async def reason(call: Awaitable[object]) -> str:
    """Return why a call was refused; empty if it was not."""
    try:
        await call
    except aio.AioRpcError as error:
        return reason_of(error)
    return ""


async def until_waiting(connection: asyncpg.Connection) -> None:
    """Wait until a backend waits for the lock of a method."""

    async def is_waiting() -> bool:
        waiters = "FROM pg_locks JOIN pg_database ON oid = database AND datname = current_database()"
        return bool(await connection.fetchval(f"SELECT count(*) {waiters} WHERE locktype = 'advisory' AND NOT granted"))

    await eventually(is_waiting)


# A setup that is on its way needs the method it will keep for its payment.


async def setting_up(payments: Payments, wallet: Wallet) -> str:
    """Return a payment of the payer's that waits for a method to keep."""
    return await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id), setup_only=True)


async def test_a_method_is_needed_from_the_confirm_of_a_setup_until_that_fails(
    wallet: Wallet, payments: Payments, stripe: SandboxControl
) -> None:
    card = (await wallet.attach("threeDSecure2Required")).payment_method_id
    payment_id = await setting_up(payments, wallet)
    confirm = payments.confirm_request(payment_id, payment_method_id=card)
    assert (await wallet.gateway.ConfirmIntent(confirm)).observation.intent_state == REQUIRES_ACTION

    _, refusal_reason, _, metadata = await refused(wallet.gateway.DetachPaymentMethod(wallet.detach_request(card)))
    assert (refusal_reason, metadata["payment_ids"]) == ("METHOD_IN_USE", payment_id)

    setup_intent_id = (await payments.stripe.objects("setup_intent", **{"metadata.payment_id": payment_id}))[0]["id"]
    await stripe.authenticate(str(setup_intent_id), succeed=False)
    await payments.synced(payment_id)
    await wallet.detach(card)
    assert await at_stripe(stripe, wallet) == []


async def test_a_setup_is_refused_the_method_that_is_being_removed(
    wallet: Wallet, payments: Payments, stripe: SandboxControl
) -> None:
    visa, payment_id = (await wallet.attach()).payment_method_id, await setting_up(payments, wallet)
    confirm = payments.confirm_request(payment_id, payment_method_id=visa)
    await stripe.fault(Kind.PAUSE, route=DETACH)
    detaching = asyncio.ensure_future(wallet.detach(visa))
    await until_struck(stripe)
    assert await reason(wallet.gateway.ConfirmIntent(confirm)) == "PAYMENT_METHOD_NOT_FOUND"
    await stripe.resume()
    await detaching

    amex = (await wallet.attach("amex")).payment_method_id  # the payer's turn, with another
    again = payments.confirm_request(payment_id, payment_method_id=amex)
    assert (await wallet.gateway.ConfirmIntent(again)).observation.intent_state == SUCCEEDED


@pytest.mark.parametrize("rounds", [QUICK_ROUNDS // 2, pytest.param(SOAK_ROUNDS, marks=pytest.mark.soak)])
async def test_of_a_removal_and_a_setup_at_once_one_is_true(
    wallet: Wallet, payments: Payments, stripe: SandboxControl, rounds: int
) -> None:
    chance, seen = random.Random(7), set()
    for _ in range(rounds):
        visa, payment_id = (await wallet.attach()).payment_method_id, await setting_up(payments, wallet)
        removing, confirming = wallet.detach_request(visa), payments.confirm_request(payment_id, payment_method_id=visa)
        # Removal asks the tables once more before it begins, so it is given a start of so many statements.
        detaching = asyncio.ensure_future(reason(wallet.gateway.DetachPaymentMethod(removing)))
        for _ in range(chance.randrange(4)):
            await payments.seen(payment_id)
        not_set_up = await reason(wallet.gateway.ConfirmIntent(confirming))
        not_removed = await detaching

        assert (not_removed, not_set_up) in {("METHOD_IN_USE", ""), ("", "PAYMENT_METHOD_NOT_FOUND")}
        assert (visa in await at_stripe(stripe, wallet)) is bool(not_removed)
        state = (await payments.seen(payment_id)).intent_state
        assert state == (SUCCEEDED if not_removed else REQUIRES_PAYMENT_METHOD)
        seen.add(not_removed)
        await wallet.gateway.CancelIntent(payments.cancel_request(payment_id))
        if not_removed:
            await wallet.detach(visa)
    assert rounds < SOAK_ROUNDS or seen == {"METHOD_IN_USE", ""}  # in a few rounds one may always come first


@pytest.mark.parametrize("rounds", [QUICK_ROUNDS // 2, pytest.param(SOAK_ROUNDS, marks=pytest.mark.soak)])
async def test_a_removal_beside_a_scheduled_charge_waits_for_that_or_is_refused(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, rounds: int
) -> None:
    chance, seen = random.Random(3), set()
    for _ in range(rounds):
        wallet = Wallet(gateway)
        payer = payer_pb2.Payer(payer_id=wallet.payer_id)
        payment_id = await payments.kept(payer=payer)
        (visa,) = await wallet.ids()
        await payments.created(payment_id=payment_id, attempt=2, payer=payer)
        charge = payments.confirm_request(payment_id, attempt=2, payment_method_id=visa, off_session=True)

        charging = asyncio.ensure_future(gateway.ConfirmIntent(charge))
        for _ in range(chance.randrange(4)):
            await payments.seen(payment_id)
        not_removed = await reason(gateway.DetachPaymentMethod(wallet.detach_request(visa)))

        assert (await charging).observation.intent_state == SUCCEEDED
        assert len(await payments.charges(payment_id)) == 1
        assert not_removed in {"METHOD_IN_USE", ""}
        assert await at_stripe(stripe, wallet) == ([visa] if not_removed else [])
        seen.add(not_removed)
        if not_removed:
            await wallet.detach(visa)  # nothing needs it any more
    assert rounds < SOAK_ROUNDS or seen == {"METHOD_IN_USE", ""}  # in a few rounds one may always come first
