"""What is done with a hold when its time comes: captured, warned of, released, or read until Stripe says it is over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from services.orchestrator.domain.policies import (
    ABANDONED_AFTER,
    LOOK_AGAIN_AFTER,
    PARKED_AFTER_TRIES,
    RELEASE_BEFORE_LAPSE,
    RETRY_MAX,
    WARN_HOLD_BEFORE,
)
from services.orchestrator.domain.resolution import Resolution
from services.wire import timestamp
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.resolutions import resolve
from tests.orchestrator.samples import (
    CAPTURE,
    HELD,
    OPENED,
    TOTAL_MINOR,
    Clock,
    cancel,
    capture,
    refused,
    state_of,
)

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
QUARTER = timedelta(hours=6)
"""Of a day."""
MINUTE = timedelta(minutes=1)
MOMENT = timedelta(seconds=5)
LAPSES_WITHIN = timedelta(days=31)
"""Any hold has lapsed at Stripe by then."""


async def lapse_of(journeys: Journeys, payment_id: str) -> datetime:
    return (await journeys.payment(payment_id)).snapshot.hold_expire_time.ToDatetime(tzinfo=UTC)


async def until(world: World, replica: Orchestrator, time: datetime, *, step: timedelta = DAY) -> None:
    """Let time pass until a moment after `time`, with a sweep at each step; Stripe does what is due there first.

    The moment is what due times, which go by the database's clock, may be later than our own.
    """
    for _ in range(int(LAPSES_WITHIN / HOUR)):
        left = time + MOMENT - world.clock.now()
        if left <= timedelta():
            return
        world.clock.advance(min(step, left))
        await world.stripe.advance(0)
        await replica.sweep()
    pytest.fail("the time never comes")


async def lapsed_at_stripe(world: World, journeys: Journeys, payment_id: str) -> None:
    """Let time pass until Stripe has let go of a hold, which nobody hears."""
    for _ in range(LAPSES_WITHIN.days):
        world.clock.advance(DAY)
        await world.stripe.advance(0)
        if (await journeys.intents(payment_id))[0]["status"] == "canceled":
            return
    pytest.fail("it never lapses")


async def captured(journeys: Journeys, payment_id: str) -> list[int]:
    return [charge["amount_captured"] for charge in await journeys.charges(payment_id)]


async def test_a_hold_is_captured_at_its_time_and_not_before(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    capture_time = clock.now() + 2 * DAY
    payment_id = await journeys.held(capture_time=timestamp(capture_time))
    plan = await journeys.plan(payment_id)
    assert (plan.next_step, plan.next_time.ToDatetime(tzinfo=UTC)) == ("CAPTURE", capture_time)
    await until(world, replica, capture_time - MINUTE)
    assert state_of(await journeys.payment(payment_id)) == "AUTHORIZED"
    await until(world, replica, capture_time)
    assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]
    await until(world, replica, capture_time + 8 * DAY)
    assert await captured(journeys, payment_id) == [TOTAL_MINOR]
    assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]
    assert (await journeys.plan(payment_id)).next_step == ""


async def test_two_replicas_capture_once(world: World, replica: Orchestrator, journeys: Journeys, clock: Clock) -> None:
    held = [await journeys.held(capture_time=timestamp(clock.now() + HOUR)) for _ in range(4)]
    async with world.orchestrator() as other:
        clock.advance(HOUR)
        await asyncio.gather(replica.move(), other.move(), replica.move(), other.move())
        await replica.sweep()
    for payment_id in held:
        assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]
        assert await captured(journeys, payment_id) == [TOTAL_MINOR]


async def test_a_clock_that_jumps_back_an_hour_captures_nothing_twice(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    """As on the night of a clock change, of a process that goes by it: ours only, Stripe's clock goes on."""
    payment_id = await journeys.held(capture_time=timestamp(clock.now() + HOUR))
    clock.advance(HOUR)
    await replica.sweep()
    assert await captured(journeys, payment_id) == [TOTAL_MINOR]
    clock.shift -= HOUR
    try:
        await replica.sweep()
    finally:
        clock.shift += HOUR
    await replica.sweep()
    assert await captured(journeys, payment_id) == [TOTAL_MINOR]
    assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]


async def test_a_payer_who_submits_after_the_time_of_the_capture_is_captured_at_once(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started(timing=pb.TIMING_MANUAL_CAPTURE, capture_time=timestamp(clock.now() + HOUR))
    clock.advance(2 * HOUR)
    await orchestrator.SubmitPayment(
        pb.SubmitPaymentRequest(
            request_id="00000000-0000-4000-8000-000000000001", payment_id=payment_id, payment_method_id="pm_card_visa"
        )
    )
    await replica.sweep()
    assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"]


async def test_what_stripe_refuses_at_the_time_is_tried_on_and_asks_for_a_person(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.held(capture_time=timestamp(clock.now() + HOUR))
    await journeys.stripe.fault("invalid", route=CAPTURE, code="account_invalid", times=None)
    clock.advance(HOUR)
    for _ in range(PARKED_AFTER_TRIES + 2):
        await replica.sweep()
        clock.advance(RETRY_MAX)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("AUTHORIZED", "STUCK")
    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("SUCCEEDED", False)
    assert await captured(journeys, payment_id) == [TOTAL_MINOR]


async def test_stripe_captured_at_the_time_and_does_not_say_so(
    replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.held(capture_time=timestamp(clock.now() + HOUR))
    await journeys.silence(CAPTURE)
    clock.advance(HOUR)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == [*HELD, "PROCESSING", "SUCCEEDED"]
    assert await captured(journeys, payment_id) == [TOTAL_MINOR]


async def test_a_hold_that_nobody_captures_is_warned_of_and_lapses_when_stripe_says_so(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.held()
    lapse = await lapse_of(journeys, payment_id)
    await until(world, replica, lapse - WARN_HOLD_BEFORE - MINUTE)
    assert not (await journeys.payment(payment_id)).snapshot.HasField("attention")
    await until(world, replica, lapse - WARN_HOLD_BEFORE)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("AUTHORIZED", "HOLD_LAPSES")
    plan = await journeys.plan(payment_id)
    assert (plan.next_step, plan.next_time.ToDatetime(tzinfo=UTC)) == ("LOOK", lapse)

    for _ in range(int(LAPSES_WITHIN / QUARTER)):  # as long as Stripe holds it, it is held, whatever we thought
        await until(world, replica, world.clock.now() + QUARTER, step=QUARTER)
        if (await journeys.intents(payment_id))[0]["status"] == "canceled":
            break
        assert state_of(await journeys.payment(payment_id)) == "AUTHORIZED"
    await until(world, replica, world.clock.now() + LOOK_AGAIN_AFTER)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("EXPIRED", "HOLD_LAPSED")
    assert not payment.snapshot.HasField("attention"), "nothing is held any more"
    assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED", "EXPIRED"]
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "EXPIRED"})


async def test_a_hold_that_lapsed_and_of_which_nobody_heard_is_not_captured(
    world: World, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """Stripe's word that it lapsed was lost, and the capture comes first."""
    payment_id = await journeys.held()
    await lapsed_at_stripe(world, journeys, payment_id)
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "EXPIRED"})
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("EXPIRED", "HOLD_LAPSED")


async def test_a_warning_goes_when_what_is_held_is_captured(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.held()
    await until(world, replica, await lapse_of(journeys, payment_id) - WARN_HOLD_BEFORE)
    assert (await journeys.payment(payment_id)).snapshot.attention.reason == "HOLD_LAPSES"
    payment = (await orchestrator.CapturePayment(capture(payment_id))).payment
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("SUCCEEDED", False)


async def test_a_hold_is_released_before_it_lapses_if_its_caller_wants_that(
    world: World, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.held(release_before_lapse=True)
    lapse = await lapse_of(journeys, payment_id)
    await until(world, replica, lapse - RELEASE_BEFORE_LAPSE - MINUTE)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("AUTHORIZED", False)
    await until(world, replica, lapse - RELEASE_BEFORE_LAPSE)
    assert await journeys.states(payment_id) == [*HELD, "EXPIRED"]
    assert [one["status"] for one in await journeys.intents(payment_id)] == ["canceled"]
    assert await captured(journeys, payment_id) == [0]


async def test_a_hold_is_not_abandoned_by_its_payer(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.held()
    await until(world, replica, clock.now() + 2 * ABANDONED_AFTER)
    assert await journeys.states(payment_id) == HELD


async def test_a_hold_that_comes_after_the_end_has_an_end_of_its_own(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    """It is held from outside after the payment was cancelled: no plan captures it, and it is read until it is over."""
    payment_id = await held_late(replica, orchestrator, journeys, capture_time=clock.now() + HOUR)
    assert state_of(await journeys.payment(payment_id)) == "AUTHORIZED"
    clock.advance(2 * HOUR)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "AUTHORIZED", "nobody captures it by itself"
    await until(world, replica, clock.now() + 10 * DAY)
    assert state_of(await journeys.payment(payment_id)) == "EXPIRED"
    assert [one for one in await journeys.states(payment_id) if one != "AUTHORIZED"] == [*OPENED, "CANCELED", "EXPIRED"]


async def held_late(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, *, capture_time: datetime
) -> str:
    """Return a payment whose amount is held since after it was cancelled."""
    payment_id = await journeys.started(timing=pb.TIMING_MANUAL_CAPTURE, capture_time=timestamp(capture_time))
    await orchestrator.CancelPayment(cancel(payment_id))
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    await replica.sweep()
    assert reasons_of(await journeys.payment(payment_id)) == ["LATE_MONEY"]
    return payment_id


def reasons_of(payment: status_pb2.Payment) -> list[str]:
    return [one.reason for one in payment.snapshot.attentions]


@pytest.mark.parametrize(
    "decided",
    [
        {"resolution": Resolution.CLEAR_ATTENTION},
        {"resolution": Resolution.CLEAR_ATTENTION, "attention_reasons": ["LATE_MONEY"]},
        {"resolution": Resolution.TRY_NOW, "clear_attention": True},
        {"resolution": Resolution.SETTLE_AS_SEEN, "clear_attention": True},
    ],
    ids=["all", "one", "try", "settle"],
)
async def test_to_take_the_attention_off_a_late_hold_captures_nothing(
    decided: dict[str, Any],
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
) -> None:
    """Its capture time passes, and Stripe shows it anew: what is held is taken by an operator's capture alone."""
    payment_id = await held_late(replica, orchestrator, journeys, capture_time=clock.now() + HOUR)
    clock.advance(2 * HOUR)
    async with replica.connect_ops() as ops:
        cleared = (await ops.ResolvePayment(resolve(payment_id, **decided))).payment
    assert (state_of(cleared), reasons_of(cleared)) == ("AUTHORIZED", [])
    await replica.sweep()
    seen = await journeys.seen(payment_id)
    seen.mirror_version += 1
    await journeys.deliver(seen)
    await replica.sweep()
    clock.advance(HOUR)
    await replica.sweep()
    assert await captured(journeys, payment_id) == [0]
    assert (await refused(orchestrator.CapturePayment(capture(payment_id)))).reason == "PAYMENT_STATE"
    async with replica.connect("anna", roles=["operator"]) as operator:
        taken = (await operator.CapturePayment(capture(payment_id))).payment
    assert (state_of(taken), await captured(journeys, payment_id)) == ("SUCCEEDED", [TOTAL_MINOR])


async def test_no_service_captures_a_hold_that_came_after_the_end(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await held_late(replica, orchestrator, journeys, capture_time=clock.now() + HOUR)
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "AUTHORIZED"})
    async with replica.connect("anna", roles=["operator"]) as operator:
        assert state_of((await operator.CapturePayment(capture(payment_id))).payment) == "SUCCEEDED"


@pytest.mark.parametrize("step", ["CAPTURE", "RELEASE", "WARN_HOLD"])
async def test_a_plan_that_meets_an_outcome_that_is_not_known_waits_for_it(
    step: str, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    """A cancel of the hold has no answer yet when the plan's own time comes."""
    changes = {
        "CAPTURE": {"capture_time": timestamp(clock.now() + DAY)},
        "RELEASE": {"release_before_lapse": True},
        "WARN_HOLD": {},
    }[step]
    payment_id = await journeys.held(**changes)
    plan = await journeys.plan(payment_id)
    assert plan.next_step == step
    unknown = await journeys.seen(payment_id)
    unknown.mirror_version += 1
    unknown.outcome_unknown = True
    await journeys.deliver(unknown)
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING"
    clock.advance(plan.next_time.ToDatetime(tzinfo=UTC) + MOMENT - clock.now())
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "PROCESSING", "read again, and nothing new is known"
    assert (await journeys.plan(payment_id)).next_step == step
    known = await journeys.seen(payment_id)
    known.mirror_version = unknown.mirror_version + 1
    await journeys.deliver(known)
    await replica.sweep()
    expected = {"CAPTURE": "SUCCEEDED", "RELEASE": "EXPIRED", "WARN_HOLD": "AUTHORIZED"}[step]
    assert state_of(await journeys.payment(payment_id)) == expected
