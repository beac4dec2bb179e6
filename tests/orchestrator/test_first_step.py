"""A request's first step is saved with it, where its payment waits for nothing else; else the request is only kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import asyncpg
import pytest

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from local.databases import ServiceDatabase
from services.orchestrator.domain import transitions
from services.orchestrator.domain.payment import SUBMITTABLE, WITHOUT_ATTEMPT, Snapshot, derived_id
from services.orchestrator.domain.plan import FirstStep, Plan, QuoteEnd, Request
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.storage.store import Acceptance, Store
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.lease import LEASE
from services.shared.payment import Attention, PaymentError
from services.shared.states import AttemptKind, State
from tests.blocking import until_waited_for
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import OPENED, PAID, Clock, refused, submit
from tests.orchestrator.test_storage import held_plan, request_of, transition

WAITING = Snapshot(
    collection=State.REQUIRES_PAYMENT_METHOD,
    last_error=PaymentError(code="card_declined", recoverable=True),
    attempt=1,
    decline_count=1,
)
STORED = json.dumps(WAITING.to_json())
PARKED = (Attention(reason="STUCK", detail="It did not move."),)


@pytest.fixture
async def store(database: ServiceDatabase, clock: Clock) -> AsyncIterator[Store]:
    async with DirectConnections(database.runtime_url, application_name="first-step-tests", size=4) as held:
        yield Store(held, clock=clock, wake=lambda _: None)


def first_step(plan: Plan) -> FirstStep:
    return FirstStep(
        fact="step:submit:1",
        request_id=derived_id(plan.payment_id, "step:submit:1"),
        collections=SUBMITTABLE,
        without=WITHOUT_ATTEMPT,
        kinds=frozenset({AttemptKind.INTENT}),
        changes=transitions.submitted_changes(),
        course_changes={"submitted_by": "the first"},
    )


async def submitted(store: Store, plan: Plan, clock: Clock, *, request: Request | None = None) -> Acceptance:
    return await store.accept(
        request or request_of(plan.payment_id, "SubmitPayment"),
        payer_id=None,
        point="test.accept",
        now=clock.now(),
        first_step=first_step(plan),
    )


async def waiting(store: Store, clock: Clock, **changes: object) -> Plan:
    """Return the plan of a payment that waits for its payer and that nobody holds."""
    plan = await held_plan(store, clock)
    plan.latest_snapshot = replace(WAITING, **changes)  # type: ignore[arg-type]
    await store.save(plan, point="test.save", now=clock.now(), release=True)
    return plan


async def test_it_is_saved_with_the_request(store: Store, clock: Clock) -> None:
    plan = await waiting(store, clock)
    request = request_of(plan.payment_id, "SubmitPayment")
    accepted = await submitted(store, plan, clock, request=request)
    assert (accepted.is_new, accepted.is_step_taken) == (True, True)
    assert accepted.plan is not None
    assert accepted.plan.latest_snapshot == transitions.submitted(WAITING)
    assert accepted.plan.course == replace(plan.course, submitted_by="the first")
    assert accepted.plan.pending == [first_step(plan).transition(transitions.submitted(WAITING))]
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.latest_snapshot, kept.pending) == (accepted.plan.latest_snapshot, accepted.plan.pending)
    written = await store.request(request.key)
    assert written is not None
    assert written.calling
    again = await submitted(store, plan, clock, request=request)
    assert (again.is_new, again.is_step_taken, again.plan) == (False, False, None)


async def is_only_kept(store: Store, plan: Plan, clock: Clock) -> bool:
    """Whether a submit is written down without its step, and the plan stays as it is."""
    before = await store.read("main", plan.payment_id, payer_id=None)
    request = request_of(plan.payment_id, "SubmitPayment")
    accepted = await submitted(store, plan, clock, request=request)
    after, written = await store.read("main", plan.payment_id, payer_id=None), await store.request(request.key)
    assert before is not None
    assert after is not None
    assert written is not None
    is_same = (after.latest_snapshot, after.course, after.pending) == (
        before.latest_snapshot,
        before.course,
        before.pending,
    )
    return accepted.is_new and not accepted.is_step_taken and not written.calling and is_same


@pytest.mark.parametrize(
    "collection", sorted(set(State) & set(transitions.COLLECTION_OF_INTENT.values()) - SUBMITTABLE)
)
async def test_not_from_a_collection_that_takes_none(collection: State, store: Store, clock: Clock) -> None:
    assert await is_only_kept(store, await waiting(store, clock, collection=collection), clock)


@pytest.mark.parametrize(
    ("total_minor", "currency_code", "is_taken"),
    [(6_000, "CHF", True), (5_999, "CHF", False), (6_000, "EUR", False), (None, None, True)],
)
async def test_only_at_the_price_that_was_agreed_to(
    total_minor: int | None, currency_code: str | None, is_taken: bool, store: Store, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    plan.latest_snapshot, plan.total_minor, plan.currency_code = WAITING, 6_000, "CHF"
    await store.save(plan, point="test.save", now=clock.now(), release=True)
    step = replace(first_step(plan), total_minor=total_minor, currency_code=currency_code)
    request = request_of(plan.payment_id, "SubmitPayment")
    accepted = await store.accept(request, payer_id=None, point="test.accept", now=clock.now(), first_step=step)
    assert (accepted.is_new, accepted.is_step_taken) == (True, is_taken)


async def test_not_while_something_was_delivered_that_is_not_applied(store: Store, clock: Clock) -> None:
    plan = await waiting(store, clock)
    assert await store.observe("main", plan.payment_id, mirror_version=9, observation=b"seen")
    assert await is_only_kept(store, plan, clock)


async def test_not_while_something_is_pending(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    plan.latest_snapshot = WAITING
    await store.save(plan, point="test.save", now=clock.now(), added=[transition("mirror:5")], release=True)
    assert await is_only_kept(store, plan, clock)


async def test_not_while_something_was_rejected_of_which_nobody_was_told(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    plan.latest_snapshot, one = WAITING, transition("mirror:5")
    await store.save(plan, point="test.save", now=clock.now(), added=[one])
    await store.save(
        plan, point="test.save", now=clock.now(), rejection=(one.request_id, "TRANSITION_ILLEGAL"), release=True
    )
    assert await is_only_kept(store, plan, clock)


async def test_not_of_a_payment_that_was_declined_since_it_was_looked_at(store: Store, clock: Clock) -> None:
    for seen, is_taken in ((WAITING.decline_count - 1, False), (WAITING.decline_count, True)):
        plan = await waiting(store, clock)
        accepted = await store.accept(
            request_of(plan.payment_id, "SubmitPayment"),
            payer_id=None,
            point="test.accept",
            now=clock.now(),
            first_step=replace(first_step(plan), decline_count=seen),
        )
        assert (accepted.is_new, accepted.is_step_taken) == (True, is_taken)


async def test_not_while_somebody_has_to_look(store: Store, clock: Clock) -> None:
    assert await is_only_kept(store, await waiting(store, clock, attentions=PARKED), clock)


async def test_not_while_what_pricing_answered_is_to_be_said(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    plan.latest_snapshot, plan.quote_id, plan.quote_holds_uses = WAITING, "quote_1", True
    await store.save(plan, point="test.save", now=clock.now(), quote_state=QuoteState.RELEASED, release=True)
    end = QuoteEnd(tenant_id="main", payment_id=plan.payment_id, quote_id="quote_1", quote_state=QuoteState.RELEASED)
    await store.quote_problem(end, "OVER_LIMIT")
    assert await is_only_kept(store, plan, clock)


async def test_not_while_an_urgent_request_is_open(store: Store, clock: Clock) -> None:
    plan = await waiting(store, clock)
    urgent = request_of(plan.payment_id, "CancelPayment", is_urgent=True)
    accepted = await store.accept(urgent, payer_id=None, point="test.accept", now=clock.now())
    assert accepted.plan is not None
    clock.advance(LEASE)  # who took it died
    assert await is_only_kept(store, plan, clock)


async def test_not_while_another_holds_it_even_one_that_is_just_letting_it_go(
    store: Store, clock: Clock, database: ServiceDatabase
) -> None:
    plan = await waiting(store, clock)
    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    assert await is_only_kept(store, plan, clock)
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        # The statement begins while the holder's is open, and ends after it: it goes by what that left.
        open_transaction = connection.transaction()
        await open_transaction.start()
        await connection.execute(
            "UPDATE payments SET held_until = '-infinity', fence = fence + 1 WHERE payment_id = $1", plan.payment_id
        )
        await connection.execute(
            "INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, create_time) "
            "VALUES ('main', $1, gen_random_uuid(), 'mirror:5', '{}', now())",
            plan.payment_id,
        )
        accepting = asyncio.create_task(submitted(store, plan, clock))
        await until_waited_for(connection)
        await connection.execute("UPDATE transitions SET snapshot = $2 WHERE payment_id = $1", plan.payment_id, STORED)
        await open_transaction.commit()
        accepted = await accepting
    finally:
        await connection.close()
    assert (accepted.is_new, accepted.is_step_taken) == (True, False)
    assert accepted.plan is not None
    assert [one.fact for one in accepted.plan.pending] == ["mirror:5"]


async def test_a_payment_that_another_replica_moved_is_submitted_as_it_stands_now(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    async with replica.world.orchestrator() as other, other.connect() as stub:
        assert await journeys.states(payment_id) == OPENED
        await stub.SubmitPayment(submit(payment_id))
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"})
    assert await journeys.states(payment_id) == PAID


async def test_what_was_delivered_since_is_applied_before_a_submit(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.succeed(intent["id"])
    await journeys.deliver(await journeys.synced(payment_id))
    refusal = await refused(orchestrator.SubmitPayment(submit(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"})
    assert len(await journeys.charges(payment_id)) == 1
