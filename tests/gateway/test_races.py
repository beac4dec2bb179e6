"""Everything at once: copies of one request, refunds that are too much together, observations that overtake another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from grpc import StatusCode, aio

from batzen.gateway.v1 import intents_pb2, payer_pb2, refunds_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.runtime.database.connections import plain_dsn
from services.runtime.rpc import call_context
from tests.blocking import until_waited_for
from tests.clock import Clock
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.samples import (
    AMOUNT_MINOR,
    CONFIRM,
    READ,
    REQUIRES_ACTION,
    REQUIRES_PAYMENT_METHOD,
    SUCCEEDED,
    Payments,
    new_id,
    refusal,
)
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_calls import until_struck

COPIES = 20


async def outcomes(*calls: Any) -> list[Any]:
    """Return answers, or the codes of refusals, in the order of the calls; none is a bug."""

    async def outcome(call: Any) -> Any:
        try:
            return await call
        except aio.AioRpcError as error:
            return error.code()

    found = list(await asyncio.gather(*(outcome(call) for call in calls)))
    assert StatusCode.INTERNAL not in found
    return found


async def test_twenty_copies_of_a_create_make_one_intent_and_get_one_answer(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    request = payments.create_request()

    answers = await asyncio.gather(*(gateway.CreateIntent(request) for _ in range(COPIES)))

    assert all(answer == answers[0] for answer in answers)
    assert len(await payments.intents(request.payment_id)) == 1
    assert len(await stripe.objects("customer", **{"metadata.payer_id": request.payer.payer_id})) == 1


@pytest.mark.parametrize("card", ["visa", "chargeDeclined", "threeDSecure2Required"])
async def test_twenty_copies_of_a_confirm_are_one_try_and_get_one_answer(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, card: str
) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id, card)

    answers = await asyncio.gather(*(gateway.ConfirmIntent(request) for _ in range(COPIES)))

    assert all(answer == answers[0] for answer in answers)
    tried = await stripe.objects("charge", payment_intent=await payments.intent_id(payment_id))
    assert len(tried) == (0 if card == "threeDSecure2Required" else 1)


async def test_twenty_copies_of_a_refund_give_back_once_and_get_one_answer(
    gateway: GatewayStubs, payments: Payments
) -> None:
    payment_id = await payments.paid()
    request = payments.refund_request(payment_id, 400)

    answers = await asyncio.gather(*(gateway.CreateRefund(request) for _ in range(COPIES)))

    assert all(answer == answers[0] for answer in answers)
    assert len(await payments.refunds(payment_id)) == 1


async def test_copies_in_two_processes_are_one_try(
    gateway: GatewayStubs, payments: Payments, start_gateway: Callable[[], Any]
) -> None:
    payment_id = await payments.created()
    request = payments.confirm_request(payment_id)
    async with start_gateway() as other, other.connect() as stub:
        answers = await asyncio.gather(
            *(each.ConfirmIntent(request) for _ in range(COPIES // 2) for each in (gateway, stub))
        )

    assert all(answer == answers[0] for answer in answers)
    assert len(await payments.charges(payment_id)) == 1


async def test_the_same_id_with_another_body_is_refused_while_the_first_runs(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.PAUSE, route=CONFIRM)
    request = payments.confirm_request(payment_id)
    first = asyncio.ensure_future(gateway.ConfirmIntent(request))
    await until_struck(stripe)

    another = payments.confirm_request(payment_id, "mastercard", request_id=request.request_id)
    assert await refusal(gateway.ConfirmIntent(another)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")

    await stripe.resume()
    assert (await first).observation.intent_state == SUCCEEDED


async def test_a_copy_whose_time_runs_out_is_told_that_the_first_still_runs(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.PAUSE, route=CONFIRM, times=None)
    request = payments.confirm_request(payment_id)
    first = asyncio.ensure_future(gateway.ConfirmIntent(request))
    await until_struck(stripe)

    for timeout_s in (0.4, 1.0, 2.0):  # a busy machine may have no answer in the first of them
        said = await refusal(gateway.ConfirmIntent(request, timeout=timeout_s))
        if said[0] is not StatusCode.DEADLINE_EXCEEDED:
            break
    assert said == (StatusCode.ABORTED, "REQUEST_IN_PROGRESS")

    await stripe.clear_faults()
    await stripe.resume()
    assert (await first).observation.intent_state == SUCCEEDED


async def test_first_payments_of_one_payer_at_once_make_one_customer(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"), email="ada@example.org")

    await asyncio.gather(*(gateway.CreateIntent(payments.create_request(payer=payer)) for _ in range(8)))

    assert len(await stripe.objects("customer", **{"metadata.payer_id": payer.payer_id})) == 1


@pytest.mark.parametrize("_", range(5))
async def test_refunds_that_together_are_too_much_are_not_both_made(
    gateway: GatewayStubs, payments: Payments, _: int
) -> None:
    payment_id = await payments.paid()
    sixty = [payments.refund_request(payment_id, AMOUNT_MINOR * 6 // 10) for _ in range(2)]

    made = await outcomes(*(gateway.CreateRefund(one) for one in sixty))

    assert sorted(isinstance(one, refunds_pb2.CreateRefundResponse) for one in made) == [False, True]
    assert StatusCode.FAILED_PRECONDITION in made
    assert len(await payments.refunds(payment_id)) == 1
    assert (await payments.synced(payment_id)).amounts.refunded_minor == AMOUNT_MINOR * 6 // 10


async def test_many_refunds_at_once_never_exceed_what_was_taken(gateway: GatewayStubs, payments: Payments) -> None:
    """Each says a balance that only one of them can have seen, so that luck decides who goes when."""
    payment_id = await payments.paid()
    requests = [
        payments.refund_request(payment_id, 3_000, expected_minor=AMOUNT_MINOR - 3_000 * number)
        for number in (0, 1, 2, 3)
        for _ in range(4)
    ]

    for _ in range(4):
        await outcomes(*(gateway.CreateRefund(request) for request in requests))
        requests = [
            payments.refund_request(r.payment_id, 3_000, expected_minor=r.expected_refundable.amount_minor)
            for r in requests
        ]

    given_back = sum(refund["amount"] for refund in await payments.refunds(payment_id))
    seen = await payments.synced(payment_id)
    assert given_back == seen.amounts.refunded_minor == 9_000
    assert seen.refundable_minor == 1_000


async def test_cancel_and_confirm_at_once_end_in_one_of_both(gateway: GatewayStubs, payments: Payments) -> None:
    for _ in range(5):
        payment_id = await payments.created()

        await outcomes(
            gateway.ConfirmIntent(payments.confirm_request(payment_id)),
            gateway.CancelIntent(payments.cancel_request(payment_id)),
        )

        seen = await payments.seen(payment_id)
        assert seen == await payments.synced(payment_id)
        assert seen.amounts.captured_minor == (AMOUNT_MINOR if seen.intent_state == SUCCEEDED else 0)


async def test_a_reading_that_began_before_a_confirm_does_not_undo_it(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.PAUSE, route=READ)
    reading = asyncio.ensure_future(gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id)))
    await until_struck(stripe)
    confirming = asyncio.ensure_future(gateway.ConfirmIntent(payments.confirm_request(payment_id)))
    await stripe.resume()

    before, after = await asyncio.gather(reading, confirming)

    assert before.observation.mirror_version < after.observation.mirror_version
    assert after.observation.intent_state == SUCCEEDED
    assert (await payments.seen(payment_id)) == after.observation


async def test_readings_and_confirms_at_once_leave_what_stripe_has(gateway: GatewayStubs, payments: Payments) -> None:
    """A mirror that was read before another's answer was kept would go back to what was."""
    for _ in range(6):
        payment_id = await payments.created()
        sync = intents_pb2.SyncIntentRequest(payment_id=payment_id)
        confirm = payments.confirm_request(payment_id)

        answers = await asyncio.gather(
            gateway.ConfirmIntent(confirm), *(gateway.SyncIntent(sync) for _ in range(COPIES))
        )

        assert answers[0].observation.intent_state == SUCCEEDED
        seen = await payments.seen(payment_id)
        assert (seen.intent_state, seen.amounts.captured_minor) == (SUCCEEDED, AMOUNT_MINOR)


# Snapshots that webhooks bring.


@pytest.fixture
def show(replica: Gateway) -> Callable[[str, dict[str, Any]], Any]:
    """Bring a snapshot of an intent as a webhook would, and return what was made of it."""

    async def bring(payment_id: str, intent: dict[str, Any]) -> Any:
        with call_context.acting_for("main"):
            return await replica.parts.reader.apply_snapshot("main", payment_id, intent, origin="webhook of a test")

    return bring


async def test_a_snapshot_that_advances_is_applied_and_delivered(
    gateway: GatewayStubs,
    payments: Payments,
    stripe: SandboxControl,
    delivered: Sink,
    show: Callable[[str, dict[str, Any]], Any],
) -> None:
    payment_id = await payments.created()
    confirm = payments.confirm_request(payment_id, "threeDSecure2Required")
    assert (await gateway.ConfirmIntent(confirm)).observation.intent_state == REQUIRES_ACTION
    await stripe.authenticate(await payments.intent_id(payment_id), succeed=True)
    (intent,) = await payments.intents(payment_id)

    seen = await show(payment_id, intent)

    assert seen.intent_state == "SUCCEEDED"
    heard = await delivered.hears(payment_id, lambda one: one.intent_state == SUCCEEDED)
    assert heard.origin == "webhook of a test"
    assert heard.observation.method.last4 == "3220"  # known from the confirm, though the event shows the id alone
    assert await show(payment_id, intent) == seen
    assert len(delivered.of(payment_id)) == 1
    assert (await payments.synced(payment_id)) == heard.observation


async def test_a_snapshot_of_what_is_known_tells_nobody(
    payments: Payments, delivered: Sink, show: Callable[[str, dict[str, Any]], Any]
) -> None:
    payment_id = await payments.paid()
    known = await payments.seen(payment_id)

    seen = await show(payment_id, (await payments.intents(payment_id))[0])

    assert seen.mirror_version == known.mirror_version
    assert delivered.of(payment_id) == []


async def test_a_snapshot_that_comes_late_does_not_turn_the_payment_back(
    gateway: GatewayStubs,
    payments: Payments,
    stripe: SandboxControl,
    show: Callable[[str, dict[str, Any]], Any],
) -> None:
    payment_id = await payments.created()
    (untouched,) = await payments.intents(payment_id)
    await gateway.ConfirmIntent(payments.confirm_request(payment_id, "threeDSecure2Required"))
    (waiting,) = await payments.intents(payment_id)
    await stripe.authenticate(waiting["id"], succeed=False)
    (failed,) = await payments.intents(payment_id)
    assert (await payments.synced(payment_id)).decline_count == 1

    assert await show(payment_id, waiting) is None
    assert await show(payment_id, untouched) is None or (await payments.seen(payment_id)).decline_count == 1
    seen = await payments.seen(payment_id)
    assert (seen.intent_state, seen.decline_count) == (REQUIRES_PAYMENT_METHOD, 1)
    assert (await show(payment_id, failed)).mirror_version == seen.mirror_version

    await gateway.ConfirmIntent(payments.confirm_request(payment_id))
    for late in (untouched, waiting, failed):
        assert await show(payment_id, late) is None
        assert (await payments.seen(payment_id)).intent_state == SUCCEEDED


async def test_a_snapshot_that_shows_another_amount_is_not_believed(
    payments: Payments, show: Callable[[str, dict[str, Any]], Any]
) -> None:
    payment_id = await payments.created()
    (intent,) = await payments.intents(payment_id)

    version = (await payments.seen(payment_id)).mirror_version

    assert await show(payment_id, {**intent, "amount": intent["amount"] - 1}) is None
    assert await show(payment_id, {**intent, "amount": 1, "amount_received": 1, "status": "succeeded"}) is None
    assert (await payments.seen(payment_id)).mirror_version == version


async def test_what_a_browser_paid_with_is_read_since_the_event_does_not_show_it(
    gateway: GatewayStubs,
    payments: Payments,
    stripe: SandboxControl,
    show: Callable[[str, dict[str, Any]], Any],
) -> None:
    request = payments.create_request()
    secret = (await gateway.CreateIntent(request)).client_secret
    await stripe.browser_confirm(secret, payment_method="pm_card_visa", return_url="https://shop.example")

    assert await show(request.payment_id, (await payments.intents(request.payment_id))[0]) is None


async def test_a_snapshot_waits_for_the_answer_that_is_under_way(
    gateway: GatewayStubs,
    payments: Payments,
    stripe: SandboxControl,
    delivered: Sink,
    show: Callable[[str, dict[str, Any]], Any],
) -> None:
    """Webhook first, answer second: the snapshot finds that everything it shows is known."""
    payment_id = await payments.created()
    await stripe.fault(Kind.TIMEOUT, route=CONFIRM, after=True)  # done, and the answer comes with the second try
    confirming = asyncio.ensure_future(gateway.ConfirmIntent(payments.confirm_request(payment_id)))
    await until_struck(stripe)

    showing = asyncio.ensure_future(show(payment_id, (await payments.intents(payment_id))[0]))
    answer, seen = await asyncio.gather(confirming, showing)

    assert seen is not None
    assert seen.mirror_version == answer.observation.mirror_version
    assert delivered.of(payment_id) == []


async def test_a_lease_is_held_as_long_as_the_call_lasts(
    replica: Gateway, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.created()
    await stripe.fault(Kind.PAUSE, route=CONFIRM)
    confirming = asyncio.ensure_future(gateway.ConfirmIntent(payments.confirm_request(payment_id)))
    await until_struck(stripe)

    assert await replica.parts.store.take("main", payment_id) is None
    await stripe.resume()
    await confirming
    taken = await replica.parts.store.take("main", payment_id)
    assert taken is not None
    await replica.parts.store.release(taken)


async def test_whoever_waited_for_a_payment_sees_what_was_kept_of_it_meanwhile(
    replica: Gateway, payments: Payments, database: ServiceDatabase
) -> None:
    """A statement reads as of its begin, and it may have begun before what it waited for was kept."""
    payment_id = await payments.created()
    async with connected(database) as writer:
        async with writer.transaction():
            await writer.execute("UPDATE payments SET fence = fence + 1 WHERE payment_id = $1", payment_id)
            changed = "jsonb_set(mirrored, '{state}', '\"PROCESSING\"')"
            await writer.execute(f"UPDATE intents SET mirrored = {changed} WHERE payment_id = $1", payment_id)
            taking = asyncio.ensure_future(replica.parts.store.take("main", payment_id))
            await until_waited_for(writer)
        held = await taking

    assert held is not None
    assert held.intents[1].state == "PROCESSING"
    await replica.parts.store.release(held)


@pytest.mark.parametrize("in_order", [True, False])
async def test_a_renewal_that_comes_after_the_end_of_its_lease_keeps_nobody_waiting(
    replica: Gateway, payments: Payments, clock: Clock, *, in_order: bool
) -> None:
    store, payment_id = replica.parts.store, await payments.created()
    held = await store.take("main", payment_id)
    assert held is not None
    assert await store.renew(held)
    if in_order:
        await store.save(held, point="call.release", now=clock.now(), release=True)
    else:
        await store.release(held)

    assert not await store.renew(held)
    next_one = await store.take("main", payment_id)
    assert next_one is not None
    await store.release(next_one)


@asynccontextmanager
async def connected(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.runtime_url))
    try:
        yield connection
    finally:
        await connection.close()
