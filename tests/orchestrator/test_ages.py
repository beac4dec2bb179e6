"""What is asked for has an age: a submit or a start that did not get to Stripe in time never does, and says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from local.databases import ServiceDatabase
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from services.orchestrator.domain.policies import (
    ABANDONED_AFTER,
    PARKED_AFTER_TRIES,
    RETRY_MAX,
    START_AGE_MAX,
    SUBMIT_AGE_MAX,
)
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.gateway.test_versions import put_back, rows_of
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Life, Lives
from tests.orchestrator.samples import (
    CONFIRM,
    CREATE,
    OPENED,
    PAID,
    Clock,
    cancel,
    line,
    refused,
    refused_before_its_end,
    start,
    starting,
    state_of,
    submit,
)

GATEWAY = frozenset({"gateway"})
IN_FLIGHT = IN_FLIGHT_MAX + timedelta(minutes=1)
"""Longer than the gateway waits for what may still be on its way at Stripe."""

# Submits.


async def unheard(world: World, payment_id: str) -> pb.SubmitPaymentRequest:
    """Submit a payment while the gateway is away."""
    asked = submit(payment_id)
    async with world.orchestrator(away=GATEWAY) as cut_off, cut_off.connect() as stub:
        assert (await refused(stub.SubmitPayment(asked))).code == "UNAVAILABLE"
    return asked


async def test_a_submit_that_did_not_reach_stripe_in_time_never_does(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = await unheard(world, payment_id)
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "SUBMITTED")

    clock.advance(2 * ABANDONED_AFTER)
    await replica.sweep()
    assert await journeys.charges(payment_id) == []
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "REQUIRES_PAYMENT_METHOD"]
    error = (await journeys.payment(payment_id)).snapshot.last_error
    assert (error.code, error.recoverable) == ("submit_expired", True)
    for _ in range(2):  # what was refused stays so
        refusal = await refused(orchestrator.SubmitPayment(asked))
        assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "SUBMIT_EXPIRED")

    # The turn came back to the payer, who has all the time to pay, and does.
    await orchestrator.SubmitPayment(submit(payment_id))
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_submit_that_is_given_up_is_not_sent_by_its_callers_repeat_either(
    world: World, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = await unheard(world, payment_id)
    clock.advance(SUBMIT_AGE_MAX)
    assert (await refused(orchestrator.SubmitPayment(asked))).reason == "SUBMIT_EXPIRED"
    assert await journeys.charges(payment_id) == []


async def test_a_submit_that_is_not_too_old_yet_is_carried_on(
    world: World, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    await unheard(world, payment_id)
    clock.advance(SUBMIT_AGE_MAX - timedelta(seconds=30))  # the gateway's clock runs
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID


async def test_a_submit_whose_payment_was_held_for_too_long_is_refused_before_anybody_sees_it(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    held = await replica.parts.store.take("main", payment_id)
    assert held is not None
    refusal = await refused_before_its_end(lambda time_s: orchestrator.SubmitPayment(asked, timeout=time_s))
    assert refusal.reason == "REQUEST_IN_PROGRESS"
    clock.advance(SUBMIT_AGE_MAX)
    await replica.sweep()
    assert (await refused(orchestrator.SubmitPayment(asked))).reason == "SUBMIT_EXPIRED"
    assert await journeys.states(payment_id) == OPENED


async def test_a_submit_that_reached_stripe_is_settled_at_any_age(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    """The process died before it heard of it, and so did whoever could have told."""
    payment_id = await journeys.started()
    asked = submit(payment_id)
    async with mortal_orchestrator(replica, Life(ends_at="after confirm_intent")) as (parts, _):
        await ask(parts, asked)
    assert len(await journeys.charges(payment_id)) == 1
    clock.advance(timedelta(hours=1))
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_submit_whose_answer_stripe_lost_is_settled_at_any_age(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    await journeys.silence(CONFIRM)
    payment = (await orchestrator.SubmitPayment(submit(payment_id))).payment
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    await journeys.stripe.clear_faults()
    clock.advance(SUBMIT_AGE_MAX + IN_FLIGHT)
    await journeys.synced(payment_id)
    await journeys.deliver(await journeys.seen(payment_id))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_submit_that_a_gateway_forgot_to_have_sent_is_not_said_to_have_charged_nothing(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    """As with a failover to a standby that did not have the last commits yet, of which nobody hears for long."""
    connection = await asyncpg.connect(plain_dsn(world.gateway_database.owner_url))
    try:
        payment_id = await journeys.started()
        asked = submit(payment_id)
        rows = await rows_of(connection, payment_id)
        async with mortal_orchestrator(replica, Life(ends_at="after confirm_intent")) as (parts, _):
            await ask(parts, asked)
        await put_back(connection, payment_id, rows)
    finally:
        await connection.close()
    assert len(await journeys.charges(payment_id)) == 1
    clock.advance(SUBMIT_AGE_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    refusal = await refused(orchestrator.SubmitPayment(asked))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"})


# A cancel wins over a submit of which nothing was heard.


async def test_a_submit_of_which_nothing_was_heard_can_be_cancelled(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked, called_off = submit(payment_id), cancel(payment_id)
    async with world.orchestrator(away=GATEWAY) as cut_off, cut_off.connect() as stub:
        assert (await refused(stub.SubmitPayment(asked))).code == "UNAVAILABLE"
        assert (await refused(stub.CancelPayment(called_off))).code == "UNAVAILABLE"  # it is written down
    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING", "CANCELED"]
    assert state_of((await orchestrator.CancelPayment(called_off)).payment) == "CANCELED"
    refusal = await refused(orchestrator.SubmitPayment(asked))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "CANCELED"})
    assert await journeys.charges(payment_id) == []


@pytest.mark.parametrize("is_cancel_first", [True, False], ids=["cancel, submit", "submit, cancel"])
async def test_a_repeated_submit_lets_an_open_cancel_go_first(
    is_cancel_first: bool,
    world: World,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
) -> None:
    """However they came, the payer wanted it cancelled: the submit that comes next finds it so."""
    payment_id = await journeys.started()
    asked, called_off = submit(payment_id), cancel(payment_id)
    async with world.orchestrator(away=GATEWAY) as cut_off, cut_off.connect() as stub:
        calls: list[Any] = [(stub.CancelPayment, called_off), (stub.SubmitPayment, asked)]
        for call, request in calls if is_cancel_first else reversed(calls):
            assert (await refused(call(request))).code == "UNAVAILABLE"
    clock.advance(RETRY_MAX)
    refusal = await refused(orchestrator.SubmitPayment(asked))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "CANCELED"})
    assert state_of((await orchestrator.CancelPayment(called_off)).payment) == "CANCELED"
    assert await journeys.charges(payment_id) == []


async def test_a_cancel_of_a_submit_that_was_sent_hears_that_it_was_paid(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = submit(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        charges = await journeys.charges(payment_id)
        cancels = orchestrator.CancelPayment(cancel(payment_id))
        if charges:
            assert (await refused(cancels)).metadata == {"state": "SUCCEEDED"}, life.place
        else:
            assert state_of((await cancels).payment) == "CANCELED", life.place
        await replica.sweep()
        assert len(await journeys.charges(payment_id)) == len(charges), life.place
        assert state_of(await journeys.payment(payment_id)) == ("SUCCEEDED" if charges else "CANCELED"), life.place


async def test_a_cancel_that_died_over_an_unheard_submit_wins_all_the_same(
    world: World,
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
    *,
    lives: Lives,
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        asked = await unheard(world, payment_id)
        called_off = cancel(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, called_off)
        is_recorded = life.place != "before accept"
        clock.advance(RETRY_MAX)
        await replica.sweep()
        expected = "CANCELED" if is_recorded else "SUCCEEDED"
        assert state_of(await journeys.payment(payment_id)) == expected, life.place
        assert len(await journeys.charges(payment_id)) == (not is_recorded), life.place
        if is_recorded:
            assert (await refused(orchestrator.SubmitPayment(asked))).reason == "PAYMENT_STATE", life.place
            assert state_of((await orchestrator.CancelPayment(called_off)).payment) == "CANCELED", life.place


# Starts.


async def newest(journeys: Journeys) -> status_pb2.Payment:
    found = await journeys.status.ListPayments(status_pb2.ListPaymentsRequest())
    return max(found.payments, key=lambda payment: payment.open_time.ToNanoseconds())


async def test_a_start_that_does_not_get_on_needs_an_operator_and_ends(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    asked = start()
    async with world.orchestrator(away=GATEWAY) as cut_off, cut_off.connect() as stub:
        assert (await refused(stub.StartPayment(asked))).code == "UNAVAILABLE"
        begun = (await newest(journeys)).payment_id
        async with cut_off.held.statement(None) as connection:  # instead of as many tries as that
            failures = "UPDATE payments SET failures = $2 WHERE payment_id = $1"
            await connection.execute(failures, begun, PARKED_AFTER_TRIES - 1)
        for _ in range(3):
            clock.advance(RETRY_MAX)
            await cut_off.move()
        stuck = await newest(journeys)
        assert (state_of(stuck), stuck.snapshot.attention.reason) == ("INITIALIZED", "STUCK")
        clock.advance(3 * ABANDONED_AFTER)
        await cut_off.move()
        assert state_of(await newest(journeys)) == "INITIALIZED"  # the gateway alone knows whether there is an intent

    clock.advance(RETRY_MAX)
    await replica.sweep()
    payment_id = stuck.payment_id
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.reason) == ("EXPIRED", "START_EXPIRED")
    assert not payment.snapshot.HasField("attention")
    assert await journeys.intents(payment_id) == []
    assert (await journeys.plan(payment_id)).pending_steps == []  # pricing has heard that the quote is not paid
    session = (await orchestrator.StartPayment(asked)).session
    assert (state_of(session.payment), session.client_secret) == ("EXPIRED", "")
    assert session.payment.payment_id == payment_id
    assert await journeys.intents(payment_id) == []


@pytest.mark.parametrize("is_swept", [True, False], ids=["sweep", "repeat"])
async def test_an_intent_of_which_nobody_heard_in_time_is_cancelled(
    is_swept: bool,
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
) -> None:
    asked = start()
    await journeys.silence(CREATE)
    assert (await refused(orchestrator.StartPayment(asked))).code == "UNAVAILABLE"
    await journeys.stripe.clear_faults()
    clock.advance(START_AGE_MAX + IN_FLIGHT)
    if is_swept:
        await replica.sweep()
    session = (await orchestrator.StartPayment(asked)).session
    assert (state_of(session.payment), session.client_secret) == ("EXPIRED", "")
    assert await journeys.states(session.payment.payment_id) == [*OPENED, "EXPIRED"]
    assert [one["status"] for one in await journeys.intents(session.payment.payment_id)] == ["canceled"]


async def test_a_late_start_that_died_leaves_nothing_that_could_be_paid(
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
    database: ServiceDatabase,
    *,
    lives: Lives,
) -> None:
    for life in lives():
        asked = start()
        await journeys.silence(CREATE)
        assert (await refused(orchestrator.StartPayment(asked))).code == "UNAVAILABLE"
        await journeys.stripe.clear_faults()
        [payment_id] = await starting(database)
        clock.advance(START_AGE_MAX + IN_FLIGHT)
        async with mortal_orchestrator(replica, life) as (_, engine):
            await engine.once()
        await replica.sweep()
        assert (await journeys.states(payment_id))[-1] == "EXPIRED", life.place
        # After a few lives the gateway does not ask a Stripe that is silent any more, and there is no intent.
        assert {one["status"] for one in await journeys.intents(payment_id)} <= {"canceled"}, life.place
        assert state_of((await orchestrator.StartPayment(asked)).session.payment) == "EXPIRED", life.place


async def test_nothing_to_pay_is_not_paid_by_a_start_that_is_too_old(  # noqa: PLR0917 fixtures
    world: World,
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    clock: Clock,
    database: ServiceDatabase,
) -> None:
    nothing = line()
    nothing.unit_amount.amount_minor = 0
    asked = start(lines=[nothing])
    async with world.orchestrator(away=frozenset({"status"})) as cut_off, cut_off.connect() as stub:

        async def is_kept() -> bool:
            """Whether it came as far as status; on a busy machine another service may be away at first."""
            assert (await refused(stub.StartPayment(asked))).code == "UNAVAILABLE"
            return bool(await starting(database))

        await eventually(is_kept)
    clock.advance(START_AGE_MAX)
    await replica.sweep()
    payment = (await orchestrator.StartPayment(asked)).session.payment
    assert (state_of(payment), payment.snapshot.reason) == ("EXPIRED", "START_EXPIRED")
    assert await journeys.states(payment.payment_id) == ["INITIALIZED", "EXPIRED"]


# Ids.


async def test_a_start_whose_rows_were_lost_is_the_same_payment_when_it_is_repeated(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    """As with a failover to a standby that did not have the last commits yet, in the middle of a payment's life."""
    asked = start()
    first = (await orchestrator.StartPayment(asked)).session
    payment_id = first.payment.payment_id
    await orchestrator.SubmitPayment(submit(payment_id))
    await lose(database, payment_id)

    again = (await orchestrator.StartPayment(asked)).session
    assert again.payment.payment_id == payment_id
    assert again.quote.quote_id == first.quote.quote_id
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    assert len(await journeys.intents(payment_id)) == 1
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_start_that_is_repeated_after_its_rows_were_lost_knows_that_an_outcome_is_not_known(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    asked = start()
    payment_id = (await orchestrator.StartPayment(asked)).session.payment.payment_id
    await journeys.silence(CONFIRM)
    await orchestrator.SubmitPayment(submit(payment_id))
    await lose(database, payment_id)

    payment = (await orchestrator.StartPayment(asked)).session.payment
    assert (state_of(payment), payment.snapshot.reason) == ("PROCESSING", "OUTCOME_UNKNOWN")
    await journeys.stripe.clear_faults()
    await journeys.synced(payment_id)
    await journeys.deliver(await journeys.seen(payment_id))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("SUCCEEDED", False)


async def lose(database: ServiceDatabase, payment_id: str) -> None:
    """Take away what the orchestrator keeps of a payment."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    for table in ("payments", "requests", "transitions", "quote_outbox"):
        await connection.execute(f"DELETE FROM {table} WHERE payment_id = $1", payment_id)
    await connection.close()
