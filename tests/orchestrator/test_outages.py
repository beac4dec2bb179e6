"""Services and Stripe away or silent: what was asked for is finished after it, and nothing happens twice."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.domain.policies import PARKED_AFTER_TRIES, RETRY_MAX
from services.orchestrator.wire.requests import derived_payment_id
from services.runtime.database.connections import plain_dsn
from tests.gateway.test_versions import put_back, rows_of
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import shop_key
from tests.orchestrator.samples import (
    CANCEL,
    CONFIRM,
    CREATE,
    OPENED,
    PAID,
    PAYER,
    REFUND,
    SELLER,
    TOTAL_MINOR,
    Clock,
    cancel,
    chf,
    refund,
    refused,
    start,
    state_of,
    submit,
    update,
)


async def was_moved(cut_off: Orchestrator, database: ServiceDatabase, payment_id: str) -> bool:
    """Let what is due be done, and return whether the payment was worked on; others may be due, too."""
    before = await fence_of(database, payment_id)
    await cut_off.move()
    return await fence_of(database, payment_id) > before


async def fence_of(database: ServiceDatabase, payment_id: str) -> int:
    """Return what grows whenever somebody takes the payment to work on it."""
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        return int(await connection.fetchval("SELECT fence FROM payments WHERE payment_id = $1", payment_id))
    finally:
        await connection.close()


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
    to_say = [step for step in (await journeys.plan(payment_id)).pending_steps if step.startswith("record")]
    assert len(to_say) == 2
    assert await journeys.states(payment_id) == OPENED

    clock.advance(RETRY_MAX)
    await replica.sweep()
    assert await journeys.states(payment_id) == PAID
    assert (await journeys.plan(payment_id)).pending_steps == []
    assert state_of((await orchestrator.SubmitPayment(asked)).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_a_gateway_with_another_tenants_key_says_nothing_of_what_was_asked(
    replica: Orchestrator,
) -> None:
    """A mistake of the deployment: what was asked waits for the right one, and no payment fails by it."""
    async with replica.connect(tenant="other") as stub:
        started = await refused(stub.StartPayment(start()))
    assert (started.code, started.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")


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
        await update(database, payment_id, f"failures = {PARKED_AFTER_TRIES - 1}")
        for is_parked in (False, True, True):
            world.clock.advance(RETRY_MAX)
            assert await was_moved(cut_off, database, payment_id)
            assert not await was_moved(cut_off, database, payment_id)  # it rests
            assert (await journeys.payment(payment_id)).snapshot.HasField("attention") is is_parked
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SUCCEEDED", "STUCK")
    world.clock.advance(RETRY_MAX)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert state_of(payment) == "REFUNDED"
    assert not payment.snapshot.HasField("attention")  # it moves again, and the history says when
    assert await journeys.states(payment_id) == [*PAID, "SUCCEEDED", "REFUNDED"]


async def test_what_is_stuck_twice_while_status_is_away_moves_in_the_end(
    world: World, replica: Orchestrator, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    async with world.orchestrator(away=frozenset({"status"})) as cut_off, cut_off.connect() as stub:
        for _ in range(2):
            refusal = await refused(stub.SubmitPayment(submit(payment_id, "pm_nobody_made_this")))
            assert refusal.reason == "METHOD_REFUSED"
            await update(database, payment_id, f"failures = {PARKED_AFTER_TRIES}")
            world.clock.advance(RETRY_MAX)
            assert await was_moved(cut_off, database, payment_id)
            assert (await journeys.plan(payment_id)).pending_steps[-1].startswith("record step:stuck")
    world.clock.advance(RETRY_MAX)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("REQUIRES_PAYMENT_METHOD", False)
    assert (await journeys.plan(payment_id)).pending_steps == []


async def test_an_operator_hears_of_what_cannot_be_started(
    world: World, clock: Clock, database: ServiceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """There is nothing in status that could say so."""
    asked = start()
    async with world.orchestrator(away=frozenset({"pricing"})) as cut_off, cut_off.connect() as stub:
        await refused(stub.StartPayment(asked))
        payment_id = derived_payment_id(shop_key(asked))
        await update(database, payment_id, f"failures = {PARKED_AFTER_TRIES - 1}")
        for is_told in (False, True, True):
            caplog.clear()
            clock.advance(RETRY_MAX)
            assert await was_moved(cut_off, database, payment_id)
            assert bool(errors_of(payment_id, caplog)) is is_told


async def test_an_operator_hears_of_what_status_does_not_record(
    world: World, replica: Orchestrator, journeys: Journeys, database: ServiceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    payment_id = await journeys.started()
    async with world.orchestrator(away=frozenset({"status"})) as cut_off, cut_off.connect() as stub:
        await stub.SubmitPayment(submit(payment_id))
        await update(database, payment_id, f"failures = {PARKED_AFTER_TRIES}")
        world.clock.advance(RETRY_MAX)
        await cut_off.move()
        assert errors_of(payment_id, caplog)
    caplog.clear()
    world.clock.advance(RETRY_MAX)
    await replica.sweep()
    assert errors_of(payment_id, caplog) == []
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"


def errors_of(payment_id: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    return [one.getMessage() for one in caplog.records if one.levelname == "ERROR" and payment_id in one.getMessage()]


async def test_a_gateway_whose_database_lost_a_payment_ends_nothing_and_an_operator_hears_of_it(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.started()
    asked = submit(payment_id)
    connection = await asyncpg.connect(plain_dsn(world.gateway_database.owner_url))
    try:
        rows = await rows_of(connection, payment_id)
        await put_back(connection, payment_id, {table: [] for table in rows})
        assert (await refused(orchestrator.SubmitPayment(asked))).code == "UNAVAILABLE"
        for _ in range(PARKED_AFTER_TRIES):
            clock.advance(RETRY_MAX)
            await replica.move()
        payment = await journeys.payment(payment_id)
        assert (state_of(payment), payment.snapshot.attention.reason) == ("PROCESSING", "STUCK")
        await put_back(connection, payment_id, rows)
    finally:
        await connection.close()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.HasField("attention")) == ("REQUIRES_PAYMENT_METHOD", False)
    assert (await refused(orchestrator.SubmitPayment(asked))).reason == "SUBMIT_EXPIRED"
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"


# Stripe away, or silent.


async def test_stripe_is_cut_off_after_it_charged(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.fault("reset", route=CONFIRM, after=True)
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"
    assert len(await journeys.charges(payment_id)) == 1


async def test_stripe_charged_and_does_not_say_so(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await journeys.silence(CONFIRM)
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
    await journeys.silence(CANCEL)
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
    await journeys.silence(REFUND)
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
    await journeys.silence(CREATE)
    refusal = await refused(orchestrator.StartPayment(asked))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    session = (await orchestrator.StartPayment(asked)).session
    assert session.client_secret
    assert len(await journeys.intents(session.payment.payment_id)) == 1
