"""Services and Stripe away, late, twice or out of order: nothing is lost, nothing happens twice, nothing spins."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from batzen.gateway.v1 import gateway_pb2, observation_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from local.databases import ServiceDatabase
from services.orchestrator.domain import (
    ABANDONED_AFTER,
    LOOK_AGAIN_AFTER,
    PARKED_AFTER_TRIES,
    RETRY_MAX,
)
from services.runtime import calls
from services.runtime.database import plain_dsn
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.mortal import asked_by_shop, lives, mortal_orchestrator
from tests.orchestrator.samples import (
    CANCEL,
    CONFIRM,
    CREATE,
    DECLINED,
    PAYER,
    REFUND,
    RETURN_URL,
    SELLER,
    TOTAL_MINOR,
    Clock,
    cancel,
    chf,
    new_id,
    refund,
    refused,
    start,
    state_of,
    submit,
)

OPENED = ["INITIALIZED", "REQUIRES_PAYMENT_METHOD"]
PAID = [*OPENED, "PROCESSING", "SUCCEEDED"]


# Services that are away.


async def test_status_is_away_when_the_charge_succeeds(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    async with world.orchestrator(away=frozenset({"status"})) as cut_off, cut_off.connect() as stub:
        payment = (await stub.SubmitPayment(asked)).payment
        assert state_of(payment) == "PROCESSING"
        assert payment.snapshot.reason == "OUTCOME_NOT_RECORDED_YET"
        assert (payment.payer_id, payment.total, payment.seller_ids) == (PAYER, chf(TOTAL_MINOR), [SELLER])
        # A repeat hears the same, and makes nothing happen twice.
        assert state_of((await stub.SubmitPayment(asked)).payment) == "PROCESSING"
    assert len((await journeys.plan(payment_id)).pending_steps) == 2
    assert await journeys.states(payment_id) == OPENED

    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    assert (await journeys.plan(payment_id)).pending_steps == []
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


@pytest.mark.parametrize("away", ["pricing", "status", "gateway"])
async def test_a_start_that_meets_an_outage_is_finished_after_it(
    away: str, world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    asked = start()
    async with world.orchestrator(away=frozenset({away})) as cut_off, cut_off.connect() as stub:
        refusal = await refused(stub.StartPayment(asked))
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    world.clock.advance(RETRY_MAX)
    await replica.sweep()
    session = (await orchestrator.StartPayment(asked)).session
    assert session.client_secret
    payment_id = session.payment.payment_id
    assert await journeys.states(payment_id) == OPENED
    assert len(await journeys.intents(payment_id)) == 1


async def test_requests_that_meet_an_outage_are_carried_on_by_the_sweep(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    submitted_id, canceled_id, refunded_id = await journeys.started(), await journeys.started(), await journeys.paid()
    requests: list[tuple[str, Any]] = [
        ("SubmitPayment", submit(submitted_id)),
        ("CancelPayment", cancel(canceled_id)),
        ("RefundPayment", refund(refunded_id)),
    ]
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off, cut_off.connect() as stub:
        for method, request in requests:
            refusal = await refused(getattr(stub, method)(request))
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    assert state_of(await journeys.payment(submitted_id)) == "PROCESSING"

    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(submitted_id) == PAID
    assert await journeys.states(canceled_id) == [*OPENED, "CANCELED"]
    assert await journeys.states(refunded_id) == [*PAID, "REFUNDED"]
    for method, request in requests:
        await getattr(orchestrator, method)(request)
    assert len(await journeys.charges(submitted_id)) == 1
    assert len(await journeys.refunds(refunded_id)) == 1


async def test_another_request_that_goes_through_does_not_make_one_that_met_an_outage_wait(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off, cut_off.connect() as stub:
        await refused(stub.RefundPayment(refund(payment_id)))
    await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "REFUNDED"


async def test_a_sync_without_status_or_gateway_changes_nothing(
    world: World, journeys: Journeys, orchestrator: OrchestratorServiceStub
) -> None:
    payment_id = await journeys.started()
    for away in ("status", "gateway"):
        async with world.orchestrator(away=frozenset({away})) as cut_off, cut_off.connect() as stub:
            [intent] = await journeys.intents(payment_id)
            if intent["status"] != "succeeded":
                await journeys.stripe.succeed(intent["id"])
            refusal = await refused(stub.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id)))
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    assert (
        state_of((await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))).payment) == "SUCCEEDED"
    )
    assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED"]


async def test_what_does_not_move_for_long_asks_for_a_person_and_moves_in_the_end(
    world: World, replica: Orchestrator, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.paid()
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off:
        async with cut_off.connect() as stub:
            await refused(stub.RefundPayment(refund(payment_id)))
        await _set(database, payment_id, f"tries = {PARKED_AFTER_TRIES - 1}")
        for is_parked in (False, True, True):
            world.clock.advance(RETRY_MAX)
            assert await cut_off.parts.sweep.once() == 1
            assert await cut_off.parts.sweep.once() == 0  # it rests
            assert (await journeys.payment(payment_id)).snapshot.HasField("attention") is is_parked
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SUCCEEDED", "STUCK")
    world.clock.advance(RETRY_MAX)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("REFUNDED", "STUCK")
    assert await journeys.states(payment_id) == [*PAID, "SUCCEEDED", "REFUNDED"]


# Stripe away, late, or silent.


async def silent(journeys: Journeys, route: str) -> None:
    """Have Stripe do what it is asked for, and answer nothing that anything could be concluded from."""
    await journeys.stripe.fault("server_error", route=route, after=True, times=None, should_retry=False)


async def test_stripe_is_cut_off_after_it_charged(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.fault("reset", route=CONFIRM, after=True)
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_stripe_charged_and_does_not_say_so(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await silent(journeys, CONFIRM)
    payment = (await orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id)))  # not before it is known
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "PROCESSING"})
    refusal = await refused(orchestrator.CancelPayment(cancel(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "PROCESSING"})

    await journeys.stripe.clear_faults()
    await journeys.synced(payment_id)  # the gateway settles what is open before it reads, and delivers what came of it
    await journeys.deliver(await journeys.seen(payment_id))
    await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "PROCESSING", "SUCCEEDED"]
    assert len(await journeys.charges(payment_id)) == 1


async def test_stripe_cancelled_and_does_not_say_so(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = cancel(payment_id)
    await silent(journeys, CANCEL)
    refusal = await refused(orchestrator.CancelPayment(asked))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"

    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "CANCELED"
    assert state_of((await orchestrator.CancelPayment(asked)).payment) == "CANCELED"


async def test_stripe_refunded_and_does_not_say_so(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    asked = refund(payment_id, 2_500)
    await silent(journeys, REFUND)
    answer = await orchestrator.RefundPayment(asked)
    assert state_of(answer.payment) == "SUCCEEDED"
    assert answer.payment.snapshot.amounts.refund_pending_minor == 2_500
    await journeys.stripe.clear_faults()
    await journeys.synced(payment_id)
    await journeys.deliver(await journeys.seen(payment_id))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PARTIALLY_REFUNDED"
    assert [one["amount"] for one in await journeys.refunds(payment_id)] == [2_500]


async def test_an_intent_that_stripe_made_and_does_not_say_so(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    asked = start()
    await silent(journeys, CREATE)
    refusal = await refused(orchestrator.StartPayment(asked))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    session = (await orchestrator.StartPayment(asked)).session
    assert session.client_secret
    assert len(await journeys.intents(session.payment.payment_id)) == 1


# Deliveries.


async def paid_at_stripe(journeys: Journeys, payment_id: str) -> observation_pb2.PaymentObservation:
    """Let the money arrive without us, and return what the gateway sees then."""
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    return await journeys.synced(payment_id)


async def test_deliveries_in_the_wrong_order_and_twice(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    created = await journeys.seen(payment_id)
    await orchestrator.SubmitPayment(submit(payment_id, DECLINED))
    declined = await journeys.seen(payment_id)
    paid = await paid_at_stripe(journeys, payment_id)
    for observation in (paid, declined, created, paid, declined):
        await journeys.deliver(observation)
        await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", OPENED[-1], "SUCCEEDED"]
    assert (await journeys.plan(payment_id)).mirror_version == paid.mirror_version


async def test_a_delivery_before_the_answer(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.fault("pause", route=CONFIRM)
    waiting = asyncio.ensure_future(orchestrator.SubmitPayment(submit(payment_id)))
    while not await journeys.is_faulty():
        pass
    # What a webhook shows of the same confirm, with the version that the answer is going to have.
    early = await journeys.seen(payment_id)
    early.mirror_version += 1
    early.intent_state = observation_pb2.INTENT_STATE_SUCCEEDED
    early.amounts.authorized_minor = early.amounts.captured_minor = TOTAL_MINOR
    await journeys.deliver(early)
    await replica.sweep()  # nothing while the submit holds the payment
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    await journeys.stripe.resume()
    assert state_of((await waiting).payment) == "SUCCEEDED"
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID


async def test_a_delivery_while_the_start_is_not_done(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    """The intent is there, its answer was lost; a webhook of it comes first."""
    asked = start()
    await silent(journeys, CREATE)
    await refused(orchestrator.StartPayment(asked))
    await journeys.stripe.clear_faults()
    [(_, payment_id)] = await _starting(replica, clock)
    await journeys.synced(payment_id)
    await journeys.deliver(await journeys.seen(payment_id))
    await replica.sweep()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == OPENED
    assert (await orchestrator.StartPayment(asked)).session.client_secret


async def _starting(replica: Orchestrator, clock: Clock) -> list[tuple[str, str]]:
    return await replica.parts.store.due(now=clock() + RETRY_MAX)


async def test_money_that_comes_after_the_end(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"

    await journeys.deliver(await paid_at_stripe(journeys, payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert await journeys.states(payment_id) == [*OPENED, "EXPIRED", "SUCCEEDED"]
    assert payment.snapshot.amounts.captured_minor == TOTAL_MINOR
    assert payment.snapshot.attention.reason == "LATE_MONEY"
    refunded = (await orchestrator.RefundPayment(refund(payment_id))).payment
    assert (state_of(refunded), refunded.snapshot.attention.reason) == ("REFUNDED", "LATE_MONEY")


async def test_two_attempts_that_both_succeed(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [first] = await journeys.intents(payment_id)
    await journeys.gateway.CancelIntent(
        gateway_pb2.CancelIntentRequest(request_id=new_id(), payment_id=payment_id, attempt=1)
    )
    await journeys.gateway.CreateIntent(
        gateway_pb2.CreateIntentRequest(
            request_id=new_id(), payment_id=payment_id, attempt=2, payer=gateway_pb2.Payer(payer_id=PAYER),
            amount=chf(TOTAL_MINOR), seller_id=SELLER, application_fee=chf(0),
        )
    )  # fmt: skip
    answer = await journeys.gateway.ConfirmIntent(
        gateway_pb2.ConfirmIntentRequest(
            request_id=new_id(), payment_id=payment_id, attempt=2, payment_method_id="pm_card_visa",
            return_url=RETURN_URL,
        )
    )  # fmt: skip
    await journeys.deliver(answer.observation)
    await replica.sweep()
    paid = await journeys.payment(payment_id)
    assert (state_of(paid), paid.snapshot.attempt) == ("SUCCEEDED", 2)
    assert not paid.snapshot.HasField("attention")

    await journeys.stripe.succeed(first["id"])
    await orchestrator.SyncPayment(pb.SyncPaymentRequest(payment_id=payment_id))
    payment = await journeys.payment(payment_id)
    amounts = payment.snapshot.amounts
    assert (amounts.captured_minor, amounts.surplus_minor) == (TOTAL_MINOR, TOTAL_MINOR)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SUCCEEDED", "SURPLUS")
    assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED", "SUCCEEDED"]


# Whose turn it is, and when.


async def test_an_expiry_finds_the_money_that_nobody_told_of(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "SUCCEEDED"]


async def test_what_stripe_is_still_at_is_not_called_off_but_looked_at_again(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    await silent(journeys, CONFIRM)
    await orchestrator.SubmitPayment(submit(payment_id))
    await journeys.stripe.clear_faults()
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    clock.advance(LOOK_AGAIN_AFTER)
    await replica.sweep()  # no delivery came: it is read again
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "PROCESSING", "SUCCEEDED"]


# What status refuses, and what it knows better.


async def test_a_revision_that_was_forgotten_is_put_right(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    await _set(database, payment_id, "revision = 1")
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
    assert await journeys.states(payment_id) == PAID
    assert (await journeys.plan(payment_id)).revision == 4


async def test_what_status_refuses_for_good_is_set_aside_and_asks_for_a_person(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """Status was told something else, by whom ever: it holds the payment for paid, and no longer for processing."""
    payment_id = await journeys.started()
    await told_to_be_paid(journeys, payment_id)
    answer = await orchestrator.SubmitPayment(submit(payment_id))
    assert state_of(answer.payment) == "SUCCEEDED"
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert payment.snapshot.attention.reason == "TRANSITION_REFUSED"
    assert payment.snapshot.amounts.captured_minor == TOTAL_MINOR  # what came after what was refused
    assert set((await journeys.states(payment_id))[2:]) == {"SUCCEEDED"}
    assert (await journeys.plan(payment_id)).pending_steps == []

    refunded = (await orchestrator.RefundPayment(refund(payment_id))).payment  # and life goes on
    assert (state_of(refunded), refunded.snapshot.attention.reason) == ("REFUNDED", "TRANSITION_REFUSED")


async def test_a_person_is_asked_also_when_the_process_died_over_it(replica: Orchestrator, journeys: Journeys) -> None:
    for life in lives():
        payment_id = await journeys.started()
        await told_to_be_paid(journeys, payment_id)
        asked = submit(payment_id)
        async with mortal_orchestrator(replica, life) as (commands, _):
            request = asked_by_shop(asked, payment_id, command=asked.SerializeToString())
            await commands.on_payment(request, payer_id=None)
        await replica.sweep()
        payment = await journeys.payment(payment_id)
        if life.place != "before accept":
            assert payment.snapshot.attention.reason == "TRANSITION_REFUSED", life.place
            assert payment.snapshot.amounts.captured_minor == TOTAL_MINOR, life.place
            assert len(await journeys.charges(payment_id)) == 1, life.place


async def told_to_be_paid(journeys: Journeys, payment_id: str) -> None:
    """Tell status what is not so."""
    taken = payment_pb2.PaymentSnapshot.Amounts(authorized_minor=1, captured_minor=1)
    request = status_pb2.RecordTransitionRequest(
        request_id=new_id(),
        payment_id=payment_id,
        expected_revision=2,
        snapshot=payment_pb2.PaymentSnapshot(
            collection=payment_pb2.PAYMENT_STATE_SUCCEEDED,
            cause=payment_pb2.PaymentSnapshot.CAUSE_OPERATOR,
            amounts=taken,
        ),
    )
    await journeys.status.RecordTransition(request)


async def _set(database: ServiceDatabase, payment_id: str, assignment: str) -> None:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        await connection.execute(f"UPDATE payments SET {assignment} WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()


# Holders that lose what they hold.


async def test_a_holder_that_stalls_is_overtaken_and_changes_nothing_any_more(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    await journeys.stripe.fault("pause", route=CONFIRM)
    async with world.orchestrator() as slow, slow.connect() as stub:
        stalled = asyncio.ensure_future(stub.SubmitPayment(asked))
        while not await journeys.is_faulty():
            pass
        clock.advance(timedelta(seconds=4))
        with calls.acting_for("main"):
            quick = await replica.parts.store.take("main", payment_id, now=clock())
        assert quick is not None
        await journeys.stripe.resume()
        refusal = await refused(stalled)
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING"]
    quick.due_time = clock()
    await replica.parts.store.release(quick, now=clock())
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_many_due_payments_are_shared_by_two_sweeps(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    ids = [await journeys.started() for _ in range(10)]
    clock.advance(ABANDONED_AFTER)
    async with world.orchestrator() as second:
        await asyncio.gather(replica.sweep(), second.sweep())
    for payment_id in ids:
        assert await journeys.states(payment_id) == [*OPENED, "EXPIRED"]
