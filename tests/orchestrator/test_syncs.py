"""What may be asked as often as anybody likes: it costs Stripe next to nothing, and still says what is true."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.syncs import OF_ONE_PAYER, is_over
from services.shared.payment import Amounts, Attention
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import (
    PAYER,
    THREE_D_SECURE,
    cancel,
    chf,
    new_id,
    refund,
    refused,
    start,
    state_of,
    submit,
)

READ = "GET /v1/payment_intents/{intent}"
MANY = 60


async def readings(journeys: Journeys, payment_id: str) -> int:
    """Count how often the payment was read at Stripe since the figures were cleared; due work reads others."""
    [intent] = await journeys.intents(payment_id)
    return (await journeys.stripe.calls(intent["id"])).get(READ, 0)


async def reading_of(journeys: Journeys, payment_id: str) -> str:
    """Return the reading of this payment as a fault names it."""
    [intent] = await journeys.intents(payment_id)
    return f"GET /v1/payment_intents/{intent['id']}"


def sync(payment_id: str) -> pb.SyncPaymentRequest:
    return pb.SyncPaymentRequest(payment_id=payment_id)


async def test_a_payment_that_was_paid_is_not_read_again_for_its_payer(
    as_payer: OrchestratorServiceStub, journeys: Journeys
) -> None:
    paid = await journeys.paid()
    await journeys.stripe.clear_metrics()
    for _ in range(5):
        assert (await as_payer.SyncPayment(sync(paid))).payment == await journeys.payment(paid)
    assert await readings(journeys, paid) == 0


async def test_money_that_came_late_without_a_webhook_is_seen_when_its_payer_asks(
    as_payer: OrchestratorServiceStub, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    canceled = await journeys.started()
    await orchestrator.CancelPayment(cancel(canceled))
    [intent] = await journeys.intents(canceled)
    await journeys.stripe.succeed(intent["id"])

    payment = (await as_payer.SyncPayment(sync(canceled))).payment

    assert (state_of(payment), payment.snapshot.attention.reason) == ("SUCCEEDED", "LATE_MONEY")


async def test_a_service_has_a_payment_that_is_over_read_again(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.refund(intent["id"])
    assert state_of((await orchestrator.SyncPayment(sync(payment_id))).payment) == "REFUNDED"


async def test_a_payment_is_over_once_nothing_of_it_is_on_its_way_or_in_doubt(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    store = replica.parts.store
    waiting = await store.read("main", payment_id, payer_id=PAYER)
    assert waiting is not None
    assert not is_over(waiting)

    await orchestrator.SubmitPayment(submit(payment_id))
    paid = await store.read("main", payment_id, payer_id=PAYER)
    assert paid is not None
    assert is_over(paid)
    await orchestrator.RefundPayment(refund(payment_id, 1_000, expected_refundable=chf(10_000)))
    refunded = await store.read("main", payment_id, payer_id=PAYER)
    assert refunded is not None
    assert is_over(refunded)

    assert not is_over(replace(paid, observed_version=paid.mirror_version + 1))
    for said in (
        replace(paid.latest_snapshot, amounts=Amounts(captured_minor=10_000, refund_pending_minor=1)),
        replace(paid.latest_snapshot, amounts=Amounts(captured_minor=10_000, disputed_open_minor=1)),
        replace(paid.latest_snapshot, attentions=(Attention(reason="SURPLUS"),)),
    ):
        assert not is_over(replace(paid, latest_snapshot=said))


async def test_a_payer_has_only_so_many_payments_read(world: World, orchestrator: OrchestratorServiceStub) -> None:
    payer_id = f"payer_{new_id()}"
    started = [
        (await orchestrator.StartPayment(start(payer=pb.Payer(payer_id=payer_id)))).session.payment.payment_id
        for _ in range(OF_ONE_PAYER.in_flight_max + 2)
    ]
    async with world.orchestrator() as replica, replica.connect(payer_id, roles=["payer"]) as as_payer:
        await world.stripe.fault("pause", route=READ, times=None)
        syncs = [asyncio.ensure_future(as_payer.SyncPayment(sync(payment_id))) for payment_id in started]
        done, _ = await asyncio.wait(syncs, return_when=asyncio.FIRST_COMPLETED)
        assert (await refused(done.pop())).reason == "TOO_MANY_CALLS"
        await world.stripe.clear_faults()
        await world.stripe.resume()
        await asyncio.gather(*syncs, return_exceptions=True)


async def test_one_reading_answers_all_who_ask_for_it_meanwhile(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.clear_metrics()
    await journeys.stripe.fault("pause", route=await reading_of(journeys, payment_id))
    first = asyncio.ensure_future(orchestrator.SyncPayment(sync(payment_id)))
    await journeys.stripe.until_paused()
    others = [asyncio.ensure_future(orchestrator.SyncPayment(sync(payment_id))) for _ in range(MANY)]
    await orchestrator.GetPaymentPlan(pb.GetPaymentPlanRequest(payment_id=payment_id))
    await journeys.stripe.resume()
    answers = await asyncio.gather(first, *others)
    assert {state_of(answer.payment) for answer in answers} == {"REQUIRES_PAYMENT_METHOD"}
    assert await readings(journeys, payment_id) <= 3


async def test_who_asks_while_a_reading_runs_hears_what_is_true_afterwards(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.fault("pause", route="GET /v1/payment_intents/{intent}", after=True)
    early = asyncio.ensure_future(orchestrator.SyncPayment(sync(payment_id)))
    await journeys.stripe.until_paused()
    await journeys.stripe.succeed(intent["id"])
    late = asyncio.ensure_future(orchestrator.SyncPayment(sync(payment_id)))
    await orchestrator.GetPaymentPlan(pb.GetPaymentPlanRequest(payment_id=payment_id))
    await journeys.stripe.resume()
    await early
    assert state_of((await late).payment) == "SUCCEEDED"


async def test_replicas_share_their_readings_at_the_gateway(
    world: World, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    async with world.orchestrator() as second, second.connect() as stub:
        assert await read_by_many_at_once(journeys, [orchestrator, stub]) <= 5


async def read_by_many_at_once(journeys: Journeys, replicas: list[OrchestratorServiceStub]) -> int:
    """Sync one payment many times while the first of them reads; return how often it was read."""
    payment_id = await journeys.started()
    await journeys.stripe.clear_metrics()
    await journeys.stripe.fault("pause", route=await reading_of(journeys, payment_id))
    first = asyncio.ensure_future(replicas[0].SyncPayment(sync(payment_id)))
    await journeys.stripe.until_paused()
    others = [
        asyncio.ensure_future(replica.SyncPayment(sync(payment_id))) for _ in range(MANY // 2) for replica in replicas
    ]
    await replicas[-1].GetPaymentPlan(pb.GetPaymentPlanRequest(payment_id=payment_id))
    await journeys.stripe.resume()
    await asyncio.gather(first, *others)
    return await readings(journeys, payment_id)


async def test_a_page_that_is_loaded_again_and_again_fetches_its_secrets_once(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.clear_metrics()
    request = pb.GetPaymentSessionRequest(payment_id=payment_id)
    sessions = await asyncio.gather(*(orchestrator.GetPaymentSession(request) for _ in range(20)))
    assert len({one.session.client_secret for one in sessions}) == 1
    assert sessions[0].session.client_secret
    assert await readings(journeys, payment_id) <= 2


async def test_secrets_fetched_before_a_submit_do_not_hide_what_it_asks_of_the_payer(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    request = pb.GetPaymentSessionRequest(payment_id=payment_id)
    assert not (await orchestrator.GetPaymentSession(request)).session.HasField("next_action")
    answer = await orchestrator.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    session = (await orchestrator.GetPaymentSession(request)).session
    assert session.next_action == answer.next_action
