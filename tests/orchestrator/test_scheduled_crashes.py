"""The process dies at each place of a scheduled charge, a retry, a reschedule: one charge, and each fact once."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.charge_plan import RETRY_DAYS
from services.orchestrator.domain.policies import RETRY_MAX
from services.shared.refusals import Refusal
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Life, Lives, each_life
from tests.orchestrator.samples import (
    CHARGED,
    CREATE,
    KEPT,
    TOTAL_MINOR,
    VISA,
    Clock,
    cancel,
    new_id,
    reschedule,
    retry,
    scheduled,
    state_of,
    submit,
)

SOON = timedelta(minutes=10)
SECOND = timedelta(seconds=1)
TRIED = [*KEPT, "PROCESSING", "SCHEDULED"]


async def charged_by_a_mortal(replica: Orchestrator, life: Life, at: datetime) -> None:
    """Have a charge made by a process that dies on the way, and by whoever comes next."""
    replica.world.clock.advance(max(at + SECOND - replica.world.clock.now(), timedelta()))
    async with mortal_orchestrator(replica, life) as (_, engine):
        await engine.once()
    await replica.sweep()


async def test_a_charge_that_died(replica: Orchestrator, journeys: Journeys, clock: Clock, lives: Lives) -> None:
    for life in lives():
        at = clock.now() + SOON
        payment_id = await journeys.scheduled(at)
        await charged_by_a_mortal(replica, life, at)
        assert await journeys.states(payment_id) == CHARGED, life.place
        assert (await journeys.payment(payment_id)).snapshot.amounts.captured_minor == TOTAL_MINOR, life.place
        assert len(await journeys.intents(payment_id)) == len(await journeys.charges(payment_id)) == 1, life.place
        assert (await journeys.plan(payment_id)).charge_tries == 1, life.place


async def test_an_intent_that_stripe_did_not_take_before_a_booking_came_is_made(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    at = clock.now() + SOON
    payment_id = await journeys.scheduled(at)
    clock.advance(SOON + SECOND)
    await journeys.stripe.fault("rate_limit", route=CREATE, times=None)
    await replica.move()
    assert await journeys.states(payment_id) == KEPT
    attach = pb.AttachBookingRequest(request_id=new_id(), payment_id=payment_id, booking_ids=[new_id()])
    await orchestrator.AttachBooking(attach)
    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == CHARGED
    [intent] = await journeys.intents(payment_id)
    assert intent["metadata"]["bookingId"] == attach.booking_ids[0]
    assert len(await journeys.charges(payment_id)) == 1


async def test_an_intent_that_was_asked_for_before_a_booking_came_is_found(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    at = clock.now() + SOON
    payment_id = await journeys.scheduled(at)
    clock.advance(SOON + SECOND)
    async with mortal_orchestrator(replica, Life(ends_at="after create_intent")) as (_, engine):
        await engine.once()
    attach = pb.AttachBookingRequest(request_id=new_id(), payment_id=payment_id, booking_ids=[new_id()])
    await orchestrator.AttachBooking(attach)
    await replica.sweep()
    assert (await journeys.states(payment_id))[-2:] == CHARGED[-2:]
    assert len(await journeys.intents(payment_id)) == len(await journeys.charges(payment_id)) == 1


@pytest.mark.parametrize(
    ("reason", "end"),
    [
        ("insufficient_funds", "SCHEDULED"),
        pytest.param("lost_card", "REQUIRES_PAYMENT_METHOD", marks=pytest.mark.soak),
    ],
)
async def test_a_declined_charge_that_died(
    reason: str, end: str, replica: Orchestrator, journeys: Journeys, clock: Clock, *, lives: Lives
) -> None:
    for life in lives():
        at = clock.now() + SOON
        payment_id = await journeys.scheduled(at)
        await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), reason)
        await charged_by_a_mortal(replica, life, at)
        payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
        assert await journeys.states(payment_id) == [*KEPT, "PROCESSING", end], life.place
        assert (payment.snapshot.decline_count, plan.charge_tries) == (1, 1), life.place
        assert plan.next_step == ("CHARGE" if end == "SCHEDULED" else "EXPIRE"), life.place
        assert payment.snapshot.HasField("charge_time") is (end == "SCHEDULED"), life.place
        if end == "SCHEDULED":
            assert payment.snapshot.charge_time == plan.next_time, life.place


@pytest.mark.soak
async def test_a_charge_of_a_disabled_seller_that_died(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    account = await journeys.account()
    await world.stripe.set_capability(account, "transfers", active=True)
    try:
        for life in each_life():
            at = clock.now() + SOON
            await world.stripe.set_capability(account, "transfers", active=True)
            payment_id = await journeys.scheduled(at)
            await world.stripe.set_capability(account, "transfers", active=False)
            await charged_by_a_mortal(replica, life, at)
            assert await journeys.states(payment_id) == [*KEPT, "SCHEDULED"], life.place
            payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
            assert payment.snapshot.attention.reason == "CHARGE_REFUSED", life.place
            assert (plan.charge_tries, payment.snapshot.charge_time) == (1, plan.next_time), life.place
    finally:
        await world.stripe.set_capability(account, "transfers", active=True)


@pytest.mark.soak
async def test_the_end_of_a_plan_that_died(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    """Its last try was refused for no fault of the payer's: it has failed, once."""
    account = await journeys.account()
    try:
        for life in each_life():
            at = clock.now() + SOON
            await world.stripe.set_capability(account, "transfers", active=True)
            payment_id = await journeys.scheduled(at)
            await world.stripe.set_capability(account, "transfers", active=False)
            for _ in RETRY_DAYS:
                clock.advance(max(at + SECOND - clock.now(), timedelta()))
                await replica.sweep()
                at = (await journeys.payment(payment_id)).snapshot.charge_time.ToDatetime(clock.now().tzinfo)
            await charged_by_a_mortal(replica, life, at)
            assert await journeys.states(payment_id) == [*KEPT, *["SCHEDULED"] * 5, "FAILED"], life.place
            assert await journeys.intents(payment_id) == [], life.place
    finally:
        await world.stripe.set_capability(account, "transfers", active=True)


@pytest.mark.soak
@pytest.mark.parametrize("is_swept", [False, True])
async def test_a_retry_that_died(
    *,
    is_swept: bool,
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
) -> None:
    for life in each_life():
        payment_id = await journeys.scheduled(clock.now() + SOON)
        asked = retry(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert state_of((await orchestrator.RetryPayment(asked)).payment) == "SUCCEEDED", life.place
        assert await journeys.states(payment_id) == CHARGED, life.place
        assert len(await journeys.charges(payment_id)) == 1, life.place


async def test_a_declined_retry_that_died_is_not_tried_a_second_time(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.scheduled(clock.now() + SOON)
        await journeys.stripe.decline_charges(await journeys.kept_method(payment_id), "insufficient_funds")
        asked = retry(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        assert state_of((await orchestrator.RetryPayment(asked)).payment) == "SCHEDULED", life.place
        assert await journeys.states(payment_id) == TRIED, life.place
        assert (await journeys.plan(payment_id)).charge_tries == 1, life.place


async def test_a_reschedule_that_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock, lives: Lives
) -> None:
    for life in lives():
        at = (clock.now() + SOON).replace(microsecond=0)
        payment_id = await journeys.scheduled(at)
        asked = reschedule(payment_id, at + SOON)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        moved = (await orchestrator.ReschedulePayment(asked)).payment
        assert moved.snapshot.charge_time.ToDatetime(at.tzinfo) == at + SOON, life.place
        assert await journeys.states(payment_id) == [*KEPT, "SCHEDULED"], life.place
        assert (await journeys.plan(payment_id)).next_time == moved.snapshot.charge_time, life.place


async def test_a_submit_that_keeps_a_method_and_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock, lives: Lives
) -> None:
    for life in lives():
        at = clock.now() + SOON
        payment_id = (await orchestrator.StartPayment(scheduled(at))).session.payment.payment_id
        asked = submit(payment_id, VISA)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SCHEDULED", life.place
        assert await journeys.states(payment_id) == KEPT, life.place
        clock.advance(SOON + SECOND)
        await replica.sweep()
        assert await journeys.states(payment_id) == CHARGED, life.place


@pytest.mark.soak
async def test_a_cancel_of_a_plan_that_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    for life in each_life():
        payment_id = await journeys.scheduled(clock.now() + SOON)
        asked = cancel(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            with suppress(Refusal):
                await ask(parts, asked)
        assert state_of((await orchestrator.CancelPayment(asked)).payment) == "CANCELED", life.place
        clock.advance(SOON + SECOND)
        await replica.sweep()
        assert await journeys.states(payment_id) == [*KEPT, "CANCELED"], life.place
