"""What the gateway delivers late, twice, early or never, and whose turn it is meanwhile."""

from __future__ import annotations

import asyncio

import pytest

from batzen.gateway.v1 import intents_pb2, observation_pb2, payer_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.domain.policies import ABANDONED_AFTER, LOOK_AGAIN_AFTER, RETRY_MAX
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import (
    CANCEL,
    CONFIRM,
    CREATE,
    DECLINED,
    OPENED,
    PAID,
    PAYER,
    RETURN_URL,
    SELLER,
    TOTAL_MINOR,
    VISA,
    Clock,
    cancel,
    chf,
    new_id,
    refund,
    refused,
    start,
    starting,
    state_of,
    submit,
)


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
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
    database: ServiceDatabase,
) -> None:
    """The intent is there, its answer was lost; a webhook of it comes first."""
    asked = start()
    await journeys.silence(CREATE)
    await refused(orchestrator.StartPayment(asked))
    await journeys.stripe.clear_faults()
    [payment_id] = await starting(database)
    await journeys.synced(payment_id)
    await journeys.deliver(await journeys.seen(payment_id))
    await replica.sweep()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == OPENED
    assert (await orchestrator.StartPayment(asked)).session.client_secret


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


async def begun_anew(journeys: Journeys, payment_id: str) -> None:
    """Replace a payment's attempt by a second one, behind the orchestrator's back."""
    await journeys.gateway.CancelIntent(
        intents_pb2.CancelIntentRequest(request_id=new_id(), payment_id=payment_id, attempt=1)
    )
    request = intents_pb2.CreateIntentRequest(
        request_id=new_id(),
        payment_id=payment_id,
        attempt=2,
        payer=payer_pb2.Payer(payer_id=PAYER),
        amount=chf(TOTAL_MINOR),
        seller_id=SELLER,
        application_fee=chf(0),
    )
    await journeys.gateway.CreateIntent(request)


async def test_two_attempts_that_both_succeed(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [first] = await journeys.intents(payment_id)
    await begun_anew(journeys, payment_id)
    confirm = intents_pb2.ConfirmIntentRequest(
        request_id=new_id(), payment_id=payment_id, attempt=2, payment_method_id=VISA, return_url=RETURN_URL
    )
    await journeys.deliver((await journeys.gateway.ConfirmIntent(confirm)).observation)
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


@pytest.mark.parametrize("is_asked", [True, False], ids=["asked for", "expired"])
async def test_a_cancel_of_which_nothing_came_is_tried_anew(
    is_asked: bool, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """Stripe keeps a failure under the key, and the gateway under our id, that nothing came of it."""
    clock = replica.world.clock
    payment_id = await journeys.started()
    asked = cancel(payment_id)
    await journeys.stripe.fault("server_error", route=CANCEL, stored=True)
    if is_asked:
        await refused(orchestrator.CancelPayment(asked))
    else:
        clock.advance(ABANDONED_AFTER)
        await replica.sweep()
    for _ in range(3):
        clock.advance(RETRY_MAX)
        await replica.sweep()
    assert (await journeys.states(payment_id))[-1] == ("CANCELED" if is_asked else "EXPIRED")
    if is_asked:
        assert state_of((await orchestrator.CancelPayment(asked)).payment) == "CANCELED"


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
    await journeys.silence(CONFIRM)
    await orchestrator.SubmitPayment(submit(payment_id))
    await journeys.stripe.clear_faults()
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    clock.advance(LOOK_AGAIN_AFTER)
    await replica.sweep()  # no delivery came: it is read again
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "PROCESSING", "SUCCEEDED"]
