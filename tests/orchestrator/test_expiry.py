"""A payment waits for its payer from their last sign of life, and anew when the turn comes back to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from batzen.gateway.v1 import observation_pb2
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.domain.policies import (
    ABANDONED_AFTER,
    DEBIT_FAILS_AFTER_MAX,
    LOOK_AGAIN_AFTER,
    PARKED_AFTER_TRIES,
    RETRY_MAX,
)
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import (
    DECLINED,
    OPENED,
    PAYER,
    THREE_D_SECURE,
    Clock,
    refused,
    state_of,
    submit,
    update,
)

MINUTE = timedelta(minutes=1)


async def expires(journeys: Journeys, payment_id: str) -> datetime:
    return (await journeys.plan(payment_id)).expire_time.ToDatetime(tzinfo=UTC)


def is_a_turn_from_now(time: datetime, clock: Clock) -> bool:
    """Whether that much is left, but for what the test has taken since."""
    return clock.now() + ABANDONED_AFTER - MINUTE < time <= clock.now() + ABANDONED_AFTER


async def test_a_payer_at_the_bank_is_waited_for_from_their_submit_on(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    clock.advance(ABANDONED_AFTER - MINUTE)
    answer = await orchestrator.SubmitPayment(submit(payment_id, THREE_D_SECURE))
    assert state_of(answer.payment) == "REQUIRES_ACTION"
    clock.advance(ABANDONED_AFTER - MINUTE)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_ACTION"
    clock.advance(MINUTE)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"


async def test_a_decline_is_a_sign_of_life(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    clock.advance(ABANDONED_AFTER - MINUTE)
    await orchestrator.SubmitPayment(submit(payment_id, DECLINED))
    assert is_a_turn_from_now(await expires(journeys, payment_id), clock)


async def test_a_debit_that_fails_after_days_is_the_payers_turn_for_as_long_as_any(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    await told(journeys, payment_id, observation_pb2.INTENT_STATE_PROCESSING)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    clock.advance(timedelta(days=6))
    await told(journeys, payment_id, observation_pb2.INTENT_STATE_REQUIRES_PAYMENT_METHOD)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"
    assert is_a_turn_from_now(await expires(journeys, payment_id), clock)
    clock.advance(ABANDONED_AFTER)
    await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "REQUIRES_PAYMENT_METHOD", "EXPIRED"]


async def test_what_was_stuck_and_is_looked_at_again_needs_nobody_any_more_though_nothing_new_is_seen(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    await told(journeys, payment_id, observation_pb2.INTENT_STATE_PROCESSING)
    await replica.sweep()
    await update(database, payment_id, f"failures = {PARKED_AFTER_TRIES}")
    clock.advance(ABANDONED_AFTER + LOOK_AGAIN_AFTER)
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off:
        await cut_off.move()
        clock.advance(RETRY_MAX)
        await cut_off.move()
    assert (await journeys.payment(payment_id)).snapshot.attention.reason == "STUCK"
    clock.advance(RETRY_MAX)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("PROCESSING", False)
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "PROCESSING", "PROCESSING"]


async def told(journeys: Journeys, payment_id: str, intent_state: observation_pb2.IntentState) -> None:
    """Deliver what the gateway would see."""
    seen = await journeys.seen(payment_id)
    plan = await journeys.plan(payment_id)
    seen.mirror_version = plan.mirror_version + 1
    seen.intent_state = intent_state
    await journeys.deliver(seen)


@pytest.mark.parametrize("method", ["SyncPayment", "GetPaymentSession"])
async def test_a_payer_who_looks_at_their_payment_is_there(
    method: str, replica: Orchestrator, as_payer: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    request = getattr(pb, f"{method}Request")(payment_id=payment_id)
    first = await expires(journeys, payment_id)

    clock.advance(ABANDONED_AFTER / 20 - MINUTE)
    await getattr(as_payer, method)(request)
    assert await expires(journeys, payment_id) == first  # not worth a write

    clock.advance(2 * MINUTE)
    await getattr(as_payer, method)(request)
    assert is_a_turn_from_now(await expires(journeys, payment_id), clock)

    clock.advance(ABANDONED_AFTER - MINUTE)  # later than the first end
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "REQUIRES_PAYMENT_METHOD"
    clock.advance(MINUTE)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"


@pytest.mark.parametrize("method", ["SyncPayment", "GetPaymentSession"])
async def test_a_service_that_looks_at_a_payment_is_not_its_payer(
    method: str, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    first = await expires(journeys, payment_id)
    clock.advance(ABANDONED_AFTER / 2)
    await getattr(orchestrator, method)(getattr(pb, f"{method}Request")(payment_id=payment_id))
    assert await expires(journeys, payment_id) == first


async def test_a_payer_who_looks_for_ever_is_not_waited_for_for_ever(
    as_payer: OrchestratorServiceStub, journeys: Journeys, replica: Orchestrator, clock: Clock
) -> None:
    payment_id = await journeys.started()
    end = clock.now() + DEBIT_FAILS_AFTER_MAX + ABANDONED_AFTER
    quote = (await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session.quote
    assert quote.expire_time.ToDatetime(tzinfo=UTC) > end - clock.shift
    while clock.now() < end:
        await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))
        assert await expires(journeys, payment_id) <= end
        clock.advance(ABANDONED_AFTER - MINUTE)
        await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"


async def test_a_payment_is_due_for_its_end_alone_until_there_is_something_to_be_done(
    world: World, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.started()

    async def work_class() -> str:
        plan = await replica.parts.store.read("main", payment_id, payer_id=None)
        assert plan is not None
        return plan.work_class

    assert await work_class() == "EXPIRY"
    async with world.orchestrator(away=frozenset({"gateway"})) as cut_off, cut_off.connect() as stub:
        await refused(stub.SubmitPayment(submit(payment_id)))
    assert await work_class() == "MONEY"


async def test_a_payment_that_somebody_holds_is_not_kept_alive_behind_their_back(
    as_payer: OrchestratorServiceStub, journeys: Journeys, replica: Orchestrator, clock: Clock
) -> None:
    payment_id = await journeys.started()
    first = await expires(journeys, payment_id)
    clock.advance(ABANDONED_AFTER / 2)
    held = await replica.parts.store.take("main", payment_id)
    assert held is not None
    assert held.payer_id == PAYER
    await as_payer.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))
    assert await expires(journeys, payment_id) == first
