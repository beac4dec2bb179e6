"""The process dies at each place of each step with a hold: whoever comes next finishes it, and Stripe does it once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from grpc import aio

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.policies import RELEASE_BEFORE_LAPSE, WARN_HOLD_BEFORE
from services.wire import timestamp
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Lives, each_life
from tests.orchestrator.samples import HELD, TOTAL_MINOR, Clock, cancel, capture, state_of

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=5)
"""What due times, which go by the database's clock, may be later than our own."""
PART_MINOR = 3_333


async def captured(journeys: Journeys, payment_id: str) -> list[int]:
    """Return what Stripe took, charge by charge."""
    return [charge["amount_captured"] for charge in await journeys.charges(payment_id)]


async def nothing_is_left(journeys: Journeys, payment_id: str, place: str) -> None:
    assert (await journeys.plan(payment_id)).pending_steps == [], place
    assert not (await journeys.payment(payment_id)).snapshot.HasField("attention"), place


@pytest.mark.parametrize(("amount_minor", "is_swept"), [(None, True), (PART_MINOR, False)])
async def test_a_capture_that_died(
    amount_minor: int | None,
    is_swept: bool,
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    *,
    lives: Lives,
) -> None:
    for life in lives():
        payment_id = await journeys.held()
        asked = capture(payment_id, amount_minor, final_capture=True)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if is_swept:
            await replica.sweep()
        assert state_of((await orchestrator.CapturePayment(asked)).payment) == "SUCCEEDED", life.place
        assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"], life.place
        assert await captured(journeys, payment_id) == [amount_minor or TOTAL_MINOR], life.place
        await replica.sweep()
        await nothing_is_left(journeys, payment_id, life.place)


@pytest.mark.soak
async def test_a_capture_that_died_and_of_which_stripe_told_before_anybody_carried_it_on(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """What was decided is asked for again as it was, though nothing is held any more."""
    for life in each_life():
        payment_id = await journeys.held()
        asked = capture(payment_id, PART_MINOR, final_capture=True)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        await journeys.deliver(await journeys.synced(payment_id))
        await replica.sweep()
        assert state_of((await orchestrator.CapturePayment(asked)).payment) == "SUCCEEDED", life.place
        assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"], life.place
        assert await captured(journeys, payment_id) == [PART_MINOR], life.place


async def test_a_capture_that_died_and_a_cancel_that_came_next(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    """What was decided first holds: the hold was captured, or the capture had not begun and there is nothing to do."""
    for life in lives():
        payment_id = await journeys.held()
        asked = capture(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        is_canceled = True
        try:
            await orchestrator.CancelPayment(cancel(payment_id))
        except aio.AioRpcError:
            is_canceled = False
        await replica.sweep()
        [amount_minor] = await captured(journeys, payment_id)
        state = state_of(await journeys.payment(payment_id))
        assert (state, amount_minor) in (("SUCCEEDED", TOTAL_MINOR), ("CANCELED", 0)), life.place
        assert is_canceled is (state == "CANCELED"), life.place
        assert await journeys.states(payment_id) == [*HELD, state], life.place


async def test_a_cancel_of_a_hold_that_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.held()
        asked = cancel(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        assert state_of((await orchestrator.CancelPayment(asked)).payment) == "CANCELED", life.place
        assert await journeys.states(payment_id) == [*HELD, "CANCELED"], life.place
        assert await captured(journeys, payment_id) == [0], life.place


async def test_a_capture_of_a_plan_that_died(
    replica: Orchestrator, journeys: Journeys, clock: Clock, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.held(capture_time=timestamp(clock.now() + HOUR))
        clock.advance(HOUR)
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await journeys.states(payment_id) == [*HELD, "SUCCEEDED"], life.place
        assert await captured(journeys, payment_id) == [TOTAL_MINOR], life.place
        await nothing_is_left(journeys, payment_id, life.place)


async def test_a_release_of_a_plan_that_died(
    replica: Orchestrator, journeys: Journeys, clock: Clock, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.held(release_before_lapse=True)
        lapse = (await journeys.payment(payment_id)).snapshot.hold_expire_time.ToDatetime(tzinfo=UTC)
        pass_until(clock, lapse - RELEASE_BEFORE_LAPSE)
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await journeys.states(payment_id) == [*HELD, "EXPIRED"], life.place
        assert await captured(journeys, payment_id) == [0], life.place
        await nothing_is_left(journeys, payment_id, life.place)


@pytest.mark.soak
async def test_a_warning_of_a_plan_that_died(replica: Orchestrator, journeys: Journeys, clock: Clock) -> None:
    for life in each_life():
        payment_id = await journeys.held()
        lapse = (await journeys.payment(payment_id)).snapshot.hold_expire_time.ToDatetime(tzinfo=UTC)
        pass_until(clock, lapse - WARN_HOLD_BEFORE)
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED"], life.place
        assert (await journeys.payment(payment_id)).snapshot.attention.reason == "HOLD_LAPSES", life.place
        assert (await journeys.plan(payment_id)).next_step == "LOOK", life.place


@pytest.mark.soak
async def test_a_look_at_a_hold_that_died(replica: Orchestrator, journeys: Journeys, clock: Clock) -> None:
    for life in each_life():
        payment_id = await journeys.held()
        clock.advance(8 * DAY)
        await replica.sweep()  # it is warned of, and Stripe has not let it lapse yet
        await journeys.stripe.advance(0)
        clock.advance(HOUR)
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED", "EXPIRED"], life.place
        assert (await journeys.payment(payment_id)).snapshot.reason == "HOLD_LAPSED", life.place
        await nothing_is_left(journeys, payment_id, life.place)


def pass_until(clock: Clock, time: datetime) -> None:
    clock.advance(max(time - clock.now(), timedelta()) + MOMENT)
