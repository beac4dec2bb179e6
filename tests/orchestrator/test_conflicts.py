"""Status that knows better, and holders that lose what they hold."""

from __future__ import annotations

import asyncio
import uuid
from datetime import timedelta

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from local.databases import ServiceDatabase
from services.orchestrator.domain.plan import Transition
from services.orchestrator.domain.policies import ABANDONED_AFTER, retry_delay
from services.orchestrator.wire.payments import observation
from services.runtime.database.lease import LEASE
from services.runtime.rpc import call_context
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Lives
from tests.orchestrator.samples import (
    CONFIRM,
    OPENED,
    PAID,
    TOTAL_MINOR,
    Clock,
    cancel,
    new_id,
    refund,
    refused,
    state_of,
    submit,
    update,
)


async def test_a_revision_that_was_forgotten_is_put_right(
    orchestrator: OrchestratorServiceStub, journeys: Journeys, database: ServiceDatabase
) -> None:
    payment_id = await journeys.started()
    await update(database, payment_id, "revision = 1")
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


async def test_a_payment_of_which_status_takes_nothing_rests_between_two_tries(
    replica: Orchestrator,
    orchestrator: OrchestratorServiceStub,
    journeys: Journeys,
    database: ServiceDatabase,
    clock: Clock,
) -> None:
    payment_id = await journeys.started()
    too_long = f'[{{"reason": "QUOTE_REFUSED", "detail": "{"x" * 20_000}"}}]'
    await update(database, payment_id, f"latest_snapshot = jsonb_set(latest_snapshot, '{{attentions}}', '{too_long}')")
    await orchestrator.SubmitPayment(submit(payment_id))
    before = clock.now()
    await replica.move()  # others may be due, too: the gateway may only now deliver what another test's payment led to
    async with replica.held.statement(None) as connection:
        row = await connection.fetchrow("SELECT failures, due_time FROM payments WHERE payment_id = $1", payment_id)
    assert row["failures"] == 1
    assert row["due_time"] >= before + retry_delay(1)
    await update(
        database, payment_id, "latest_snapshot = jsonb_set(latest_snapshot, '{attentions}', '[]'), due_time = now()"
    )
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert payment.snapshot.attention.reason == "TRANSITION_REFUSED"


async def test_a_person_is_asked_also_when_the_process_died_over_it(
    replica: Orchestrator, journeys: Journeys, lives: Lives
) -> None:
    for life in lives():
        payment_id = await journeys.started()
        await told_to_be_paid(journeys, payment_id)
        asked = submit(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        await replica.sweep()
        payment = await journeys.payment(payment_id)
        if life.place != "before accept":
            assert payment.snapshot.attention.reason == "TRANSITION_REFUSED", life.place
            assert payment.snapshot.amounts.captured_minor == TOTAL_MINOR, life.place
            assert len(await journeys.charges(payment_id)) == 1, life.place


async def test_a_person_is_asked_also_when_a_command_comes_before_the_sweep(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id, store = await journeys.started(), replica.parts.store
    await orchestrator.CancelPayment(cancel(payment_id))
    plan = await store.take("main", payment_id)
    assert plan is not None
    transition = Transition(request_id=uuid.uuid4(), fact="mirror:99", snapshot=plan.latest_snapshot)
    await store.save(plan, point="test.save", now=clock.now(), added=[transition])
    await store.save(plan, point="test.save", now=clock.now(), rejection=(transition.request_id, "TRANSITION_ILLEGAL"))
    clock.advance(LEASE)  # who held it died before it asked anybody

    await orchestrator.CancelPayment(cancel(payment_id))  # it is cancelled, so there is nothing to do
    await replica.sweep()
    assert (await journeys.payment(payment_id)).snapshot.attention.reason == "TRANSITION_REFUSED"


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
        with call_context.acting_for("main"):
            quick = await replica.parts.store.take("main", payment_id)
        assert quick is not None
        await journeys.stripe.resume()
        refusal = await refused(stalled)
        assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "DEPENDENCY_UNAVAILABLE")
    assert await journeys.states(payment_id) == [*OPENED, "PROCESSING"]
    quick.due_time = clock.now()
    await replica.parts.store.release(quick, now=clock.now())
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


async def test_what_was_read_before_is_not_applied_after(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """A sync reads, another one is quicker to apply what it read later; then the first has the payment."""
    payment_id = await journeys.started()
    read_first = observation(await journeys.seen(payment_id))
    await orchestrator.SubmitPayment(submit(payment_id))
    plan = await replica.parts.payments.acquire("main", payment_id)
    async with replica.parts.payments.holding(plan) as work:
        work.apply(read_first)
        assert not work.has_pending
        await work.save("test.save", release=True)
    assert (plan.latest_snapshot.collection, plan.mirror_version > read_first.mirror_version) == ("SUCCEEDED", True)
