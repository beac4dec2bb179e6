"""The tables of the command side: who holds a payment, what a fence keeps out, when a payment is due again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from local.databases import ServiceDatabase
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import DueFor, NewPayment, Plan, QuoteEnd, Request, RequestKey, Stage, Transition
from services.orchestrator.domain.policies import RETRY_MAX
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.quote_outbox import QuoteOutbox
from services.orchestrator.storage.statements import FORGET
from services.orchestrator.storage.store import Acceptance, Store
from services.orchestrator.sweep import Sweep
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.runtime.database.lease import LEASE, LeaseLost
from services.runtime.database.request_expiry import REQUESTS_KEPT, forget
from services.runtime.work.kinds import WorkKind
from services.runtime.work.statements import claim
from services.shared.states import State
from tests.blocking import until_waited_for
from tests.orchestrator.samples import Clock, new_payment_id

HOUR = timedelta(hours=1)
ROWS_MAX = 1_000
"""More than this module leaves behind."""


@pytest.fixture(scope="module")
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="storage-tests", size=4) as held:
        yield held


@pytest.fixture
def store(held: DirectConnections, clock: Clock) -> Store:
    return Store(held, clock=clock, wake=lambda _: None)


def request_of(payment_id: str, method: str = "StartPayment", **fields: object) -> Request:
    key = RequestKey(tenant_id="main", caller="shop", method=method, request_id=uuid.uuid4())
    ours: dict[str, object] = {"key": key, "request_hash": b"hash", "payment_id": payment_id, "command": b"command"}
    return Request(**(ours | fields))  # type: ignore[arg-type]


def payment_of(payment_id: str) -> NewPayment:
    return NewPayment(
        payment_id=payment_id,
        payer_id="payer_1",
        quote_request=b"\x00lines",
        session_type="lesson",
        session_name="Skiing",
        client_reference="ref",
        return_url="https://shop.example/back",
        seller_ids=("seller_1",),
        booking_ids=("booking_1", "booking_2"),
        labels={"note": "«ü»"},
    )


def transition(fact: str, collection: State = State.REQUIRES_PAYMENT_METHOD) -> Transition:
    return Transition(request_id=uuid.uuid4(), fact=fact, snapshot=Snapshot(collection=collection))


async def held_plan(store: Store, clock: Clock) -> Plan:
    """Return the plan of a new payment that we hold, and whose start is answered."""
    payment_id = new_payment_id()
    request = request_of(payment_id)
    plan = await store.start(request, payment_of(payment_id), now=clock.now())
    assert plan is not None
    plan.stage = Stage.COLLECTING
    await store.save(plan, point="test.save", now=clock.now(), request=replace(request, answer=b"answer"))
    return plan


async def released(store: Store, plan: Plan, clock: Clock, *, due_in: timedelta | None = None) -> None:
    plan.due_time = None if due_in is None else clock.now() + due_in
    await store.save(plan, point="test.save", now=clock.now(), release=True)


async def is_due(held: DirectConnections, plan: Plan, clock: Clock) -> bool:
    """Whether the engine would take it now."""
    async with held.statement(None) as connection:
        query = "SELECT due_time <= now() + $2 AND held_until <= now() + $2 FROM payments WHERE payment_id = $1"
        return bool(await connection.fetchval(query, plan.payment_id, clock.shift))


async def test_a_new_payment_is_held_by_who_starts_it(store: Store, held: DirectConnections, clock: Clock) -> None:
    payment_id = new_payment_id()
    plan = await store.start(request_of(payment_id), payment_of(payment_id), now=clock.now())
    assert plan is not None
    assert plan.fence == 1
    assert (plan.labels, plan.booking_ids) == ({"note": "«ü»"}, ("booking_1", "booking_2"))
    assert await store.take("main", payment_id) is None
    assert not await is_due(held, plan, clock)

    clock.advance(LEASE)
    assert await is_due(held, plan, clock)
    taken = await store.take("main", payment_id)
    assert taken is not None
    assert taken.fence == 2
    assert taken.quote_request == b"\x00lines"


async def test_a_start_that_is_repeated_writes_nothing(store: Store, clock: Clock) -> None:
    first, second = new_payment_id(), new_payment_id()
    request, now = request_of(first), clock.now()
    assert await store.start(request, payment_of(first), now=now) is not None
    assert await store.start(replace(request, payment_id=second), payment_of(second), now=clock.now()) is None
    assert await store.read("main", second, payer_id=None) is None
    kept = await store.request(request.key)
    assert kept == replace(request, accept_time=now)


async def test_twenty_takers_at_once_and_one_has_it(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    await released(store, plan, clock)
    taken = await asyncio.gather(*(store.take("main", plan.payment_id) for _ in range(20)))
    assert len([one for one in taken if one is not None]) == 1


async def test_who_lost_the_lease_writes_nothing(store: Store, clock: Clock) -> None:
    slow = await held_plan(store, clock)
    clock.advance(LEASE)
    quick = await store.take("main", slow.payment_id)
    assert quick is not None
    request = request_of(slow.payment_id, "SubmitPayment")
    await store.accept(request, payer_id=None, point="test.accept", now=clock.now())

    slow.latest_snapshot = Snapshot(collection=State.REQUIRES_PAYMENT_METHOD)
    with pytest.raises(LeaseLost):
        await store.save(
            slow, point="test.save", now=clock.now(), added=[transition("late")],
            request=replace(request, answer=b"late"), release=True,
        )  # fmt: skip
    assert not await store.renew(slow)
    await store.release(slow, now=clock.now())

    assert await store.take("main", slow.payment_id) is None  # the quick one has it still
    kept = await store.read("main", slow.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.latest_snapshot.collection, kept.pending) == ("INITIALIZED", [])
    assert [one.done for one in await store.open_requests("main", slow.payment_id)] == [False]


async def test_the_outbox_keeps_its_order_until_it_is_said(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    first, second, third = transition("first"), transition("second"), transition("third")
    await store.save(plan, point="test.save", now=clock.now(), added=[first, second])
    await store.save(plan, point="test.save", now=clock.now(), added=[third], recorded=[first.request_id])
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert kept.pending == [second, third]

    await store.save(plan, point="test.save", now=clock.now(), rejection=(second.request_id, "TRANSITION_ILLEGAL"))
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.pending, kept.rejected) == ([third], ["second"])
    await store.save(plan, point="test.save", now=clock.now(), operator_notified=True)
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.pending, kept.rejected) == ([third], [])


async def test_who_waited_for_the_row_reads_the_outbox_as_it_is_then(
    store: Store, clock: Clock, database: ServiceDatabase
) -> None:
    """A statement that waits for the last holder's commit must not see the outbox as it was before."""
    plan = await held_plan(store, clock)
    said, pending = transition("said"), transition("pending")
    await store.save(plan, point="test.save", now=clock.now(), added=[said])

    other = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        async with other.transaction():
            # What the last holder's release does, not committed yet.
            await other.execute("UPDATE payments SET held_until = '-infinity' WHERE payment_id = $1", plan.payment_id)
            await other.execute("DELETE FROM transitions WHERE request_id = $1", said.request_id)
            await other.execute(
                """INSERT INTO transitions (tenant_id, payment_id, request_id, fact, snapshot, create_time)
                   SELECT 'main', $1, $2, 'pending', latest_snapshot, $3 FROM payments WHERE payment_id = $1""",
                plan.payment_id, pending.request_id, clock.now(),
            )  # fmt: skip
            request = request_of(plan.payment_id, "SubmitPayment")
            waiting = asyncio.create_task(store.accept(request, payer_id=None, point="test.accept", now=clock.now()))
            await until_waited_for(other)
        taken = (await waiting).plan
    finally:
        await other.close()
    assert taken is not None
    assert [one.fact for one in taken.pending] == ["pending"]


async def test_a_payment_is_due_when_its_plan_says(store: Store, held: DirectConnections, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    await released(store, plan, clock, due_in=HOUR)
    assert not await is_due(held, plan, clock)
    clock.advance(HOUR)
    assert await is_due(held, plan, clock)


async def test_a_payment_without_anything_to_do_is_never_due(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    await released(store, plan, clock)
    clock.advance(timedelta(days=365))
    assert not await is_due(held, plan, clock)


async def test_what_is_delivered_makes_a_payment_due(store: Store, held: DirectConnections, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    await released(store, plan, clock)
    assert await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    assert await is_due(held, plan, clock)


async def test_what_is_delivered_while_it_is_held_makes_it_due_again(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    assert not await is_due(held, plan, clock)
    await released(store, plan, clock, due_in=HOUR)
    assert await is_due(held, plan, clock)

    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    assert (taken.observed_version, taken.observation) == (3, b"three")
    taken.mirror_version = 3
    await released(store, taken, clock)
    assert not await is_due(held, plan, clock)


async def test_what_was_applied_before_it_is_delivered_makes_nothing_due(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    plan.mirror_version = 3
    await released(store, plan, clock)
    assert await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    assert not await is_due(held, plan, clock)


async def test_the_newest_delivery_is_kept_in_whatever_order_they_come(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    for version in (2, 5, 3, 5, 4):
        await store.observe("main", plan.payment_id, mirror_version=version, observation=b"%d" % version)
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.observed_version, kept.observation) == (5, b"5")


async def test_a_delivery_of_an_unknown_payment_or_of_another_tenants_is_not_taken(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    unknown = new_payment_id()
    assert not await store.observe("main", unknown, mirror_version=1, observation=b"")
    assert not await store.observe("other", plan.payment_id, mirror_version=1, observation=b"")


async def test_a_request_that_comes_while_it_is_held_makes_it_due_again(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    request = request_of(plan.payment_id, "CancelPayment")
    accepted = await store.accept(request, payer_id=None, point="test.accept", now=clock.now())
    assert accepted == Acceptance(found=True, is_new=True, plan=None)
    await released(store, plan, clock)
    assert await is_due(held, plan, clock)


async def test_a_request_that_is_open_keeps_a_payment_due_whoever_lets_it_go(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    left = request_of(plan.payment_id, "RefundPayment")
    await store.accept(left, payer_id=None, point="test.accept", now=clock.now())
    await released(store, plan, clock)
    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    taken.failures = 3
    taken.due_time = clock.now() + HOUR
    await store.release(taken, now=clock.now())  # it met an outage
    assert not await is_due(held, plan, clock)

    other = request_of(plan.payment_id, "SubmitPayment")
    taken = (await store.accept(other, payer_id=None, point="test.accept", now=clock.now())).plan
    assert taken is not None
    taken.due_time = None
    await store.save(taken, point="test.save", now=clock.now(), request=replace(other, answer=b"answer"), release=True)
    assert await is_due(held, plan, clock)


async def test_after_an_error_a_payment_rests_and_keeps_what_was_saved(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    await released(store, plan, clock)
    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    taken.latest_snapshot = Snapshot(collection=State.SUCCEEDED)
    taken.mirror_version, taken.failures, taken.due_time = 3, 1, clock.now() + HOUR
    await store.release(taken, now=clock.now())

    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.latest_snapshot.collection, kept.mirror_version, kept.failures) == ("INITIALIZED", 0, 1)
    assert not await is_due(held, plan, clock)  # although something is to be applied: it would fail again
    assert await store.take("main", plan.payment_id) is not None


async def test_after_an_error_a_payment_to_which_something_came_is_looked_at_at_once(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await held_plan(store, clock)
    await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    plan.due_time = clock.now() + HOUR
    await store.release(plan, now=clock.now())
    assert await is_due(held, plan, clock)


async def test_a_request_is_accepted_for_its_payer_alone(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    request = request_of(plan.payment_id, "SubmitPayment")
    accepted = await store.accept(request, payer_id="payer_2", point="test.accept", now=clock.now())
    assert (accepted.found, accepted.is_new) == (False, False)
    assert await store.read("main", plan.payment_id, payer_id="payer_2") is None
    accepted = await store.accept(request, payer_id="payer_1", point="test.accept", now=clock.now())
    assert (accepted.found, accepted.is_new) == (True, True)


async def test_of_twenty_equal_requests_at_once_one_is_accepted(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    await released(store, plan, clock)
    request = request_of(plan.payment_id, "SubmitPayment")
    answers = await asyncio.gather(
        *(store.accept(request, payer_id=None, point="test.accept", now=clock.now()) for _ in range(20))
    )
    assert sum(one.is_new for one in answers) == 1
    assert len([one for one in answers if one.plan is not None]) == 1


async def test_an_answer_is_kept_for_ever(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    request = request_of(plan.payment_id, "SubmitPayment")
    await store.accept(request, payer_id=None, point="test.accept", now=clock.now())
    await store.save(plan, point="test.save", now=clock.now(), request=request)
    [calling] = await store.open_requests("main", plan.payment_id)
    assert calling.calling
    await store.save(plan, point="test.save", now=clock.now(), request=replace(request, answer=b"first"))
    await store.save(plan, point="test.save", now=clock.now(), request=replace(request, refusal={"reason": "SECOND"}))
    kept = await store.request(request.key)
    assert kept is not None
    assert (kept.answer, kept.refusal) == (b"first", None)
    assert await store.open_requests("main", plan.payment_id) == []


async def test_answers_are_forgotten_after_90_days_but_for_what_is_open(
    store: Store, clock: Clock, database: ServiceDatabase
) -> None:
    payment_id = new_payment_id()
    start, done, still_open = (request_of(payment_id, method) for method in ("StartPayment", "Submit", "Refund"))
    plan = await store.start(start, payment_of(payment_id), now=clock.now())
    assert plan is not None
    for request in (done, still_open):
        await store.accept(request, payer_id=None, point="test.accept", now=clock.now())
    for request in (start, done):
        await store.save(plan, point="test.save", now=clock.now(), request=replace(request, answer=b"answer"))

    async with DirectConnections(database.runtime_url, application_name="storage-tests", size=1) as held:
        clock.advance(REQUESTS_KEPT - HOUR)
        await forget(held, FORGET, now=clock.now())
        assert await store.request(done.key) is not None
        clock.advance(HOUR)
        assert await forget(held, FORGET, now=clock.now()) >= 1
    assert await store.request(done.key) is None
    assert await store.request(start.key) is None
    assert await store.request(still_open.key) is not None
    assert await store.start(start, payment_of(payment_id), now=clock.now()) is None
    assert await store.request(start.key) is None


# What pricing has to hear.


async def quoted_plan(store: Store, clock: Clock) -> Plan:
    plan = await held_plan(store, clock)
    plan.quote_id = f"quote_{plan.payment_id}"
    plan.quote_holds_uses = True
    return plan


async def fence_of_engine(held: DirectConnections, kind: WorkKind, plan: Plan, clock: Clock) -> int | None:
    """Take the lease of a payment's row as the engine does; None if it is not due."""
    async with held.statement(None) as connection:
        rows = await connection.fetch(claim(kind, tenants=False), clock.shift, ROWS_MAX)
    return next((row["fence"] for row in rows if row["payment_id"] == plan.payment_id), None)


async def claimed(store: Store, held: DirectConnections, plan: Plan, clock: Clock) -> QuoteEnd | None:
    """Return what pricing has to hear of a payment, held as by the engine; None if nothing is due."""
    kind = QuoteOutbox(store, pricing=None).kind  # type: ignore[arg-type]
    fence = await fence_of_engine(held, kind, plan, clock)
    return None if fence is None else await store.quote_end("main", plan.payment_id, fence=fence)


async def test_what_became_of_a_quote_is_due_until_pricing_has_heard_it(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await quoted_plan(store, clock)
    await store.save(plan, point="test.save", now=clock.now(), quote_state=QuoteState.REDEEMED)
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.quote_state, kept.quote_pending, kept.quote_problem) == ("REDEEMED", "REDEEMED", None)

    one = await claimed(store, held, plan, clock)
    assert one == QuoteEnd(
        tenant_id="main", payment_id=plan.payment_id, quote_id=plan.quote_id or "", quote_state=QuoteState.REDEEMED
    )
    assert await claimed(store, held, plan, clock) is None
    clock.advance(2 * LEASE)  # whoever told it died
    again = await claimed(store, held, plan, clock)
    assert again == one
    await store.quote_heard(again)
    clock.advance(RETRY_MAX)
    assert await claimed(store, held, plan, clock) is None


async def test_of_a_quote_that_holds_no_uses_there_is_nothing_to_be_heard(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await quoted_plan(store, clock)
    plan.quote_holds_uses = False
    await store.save(plan, point="test.save", now=clock.now(), quote_state=QuoteState.REDEEMED)
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.quote_state, kept.quote_pending) == ("REDEEMED", None)
    assert await claimed(store, held, plan, clock) is None


async def test_what_was_heard_is_forgotten_unless_it_is_something_else_by_now(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await quoted_plan(store, clock)
    await store.save(plan, point="test.save", now=clock.now(), quote_state=QuoteState.RELEASED)
    told = await claimed(store, held, plan, clock)
    assert told is not None
    await store.save(plan, point="test.save", now=clock.now(), quote_state=QuoteState.REDEEMED)
    await store.quote_heard(told)
    await store.quote_problem(told, "LATE")
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.quote_pending, kept.quote_problem) == ("REDEEMED", None)
    clock.advance(2 * LEASE)
    again = await claimed(store, held, plan, clock)
    assert again is not None
    assert again.quote_state == "REDEEMED"


async def test_what_pricing_answered_makes_a_payment_due_although_it_is_held(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await quoted_plan(store, clock)
    await store.save(plan, point="test.save", now=clock.now(), quote_state=QuoteState.REDEEMED)
    one = await claimed(store, held, plan, clock)
    assert one is not None
    await store.quote_problem(one, "OVER_LIMIT")
    assert not await is_due(held, plan, clock)
    await released(store, plan, clock)
    assert await is_due(held, plan, clock)

    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    assert (taken.quote_pending, taken.quote_problem) == ("REDEEMED", "OVER_LIMIT")
    taken.due_time = None
    await store.save(taken, point="test.save", now=clock.now(), quote_operator_notified=True, release=True)
    assert not await is_due(held, plan, clock)
    kept = await store.read("main", plan.payment_id, payer_id=None)
    assert kept is not None
    assert (kept.quote_state, kept.quote_pending, kept.quote_problem) == ("REDEEMED", None, None)


async def test_who_lost_the_lease_ends_no_quote(store: Store, held: DirectConnections, clock: Clock) -> None:
    slow = await quoted_plan(store, clock)
    clock.advance(LEASE)
    assert await store.take("main", slow.payment_id) is not None
    with pytest.raises(LeaseLost):
        await store.save(slow, point="test.save", now=clock.now(), quote_state=QuoteState.REDEEMED)
    assert await claimed(store, held, slow, clock) is None


# What a payment is due for.


async def work_class(store: Store, plan: Plan) -> str:
    kept = await store.read(plan.tenant_id, plan.payment_id, payer_id=None)
    assert kept is not None
    return kept.work_class


async def waiting_for_its_payer(store: Store, clock: Clock) -> Plan:
    """Return a payment that is due for nothing but its end."""
    plan = await held_plan(store, clock)
    plan.work_class = DueFor.EXPIRY
    await released(store, plan, clock, due_in=HOUR)
    assert await work_class(store, plan) == DueFor.EXPIRY
    return plan


async def taken_for_its_end(store: Store, held: DirectConnections, plan: Plan, clock: Clock) -> Plan:
    """Return the plan of a payment whose end is due, held as by the engine."""
    clock.advance(HOUR)
    _, expiries = Sweep(store, None, None, None, None, due_steps=None, surplus=None, fraud_refunds=None).kinds  # type: ignore[arg-type]
    fence = await fence_of_engine(held, expiries, plan, clock)
    assert fence is not None
    taken = await store.held("main", plan.payment_id, fence=fence)
    assert taken is not None
    return taken


async def test_a_payment_that_is_started_is_due_for_money(store: Store, clock: Clock) -> None:
    assert (await held_plan(store, clock)).work_class == DueFor.MONEY


async def test_who_is_waited_for_takes_a_payment_for_money_and_the_sweep_for_what_it_was_due_for(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await waiting_for_its_payer(store, clock)
    swept = await taken_for_its_end(store, held, plan, clock)
    assert swept.work_class == DueFor.EXPIRY
    await store.release(swept, now=clock.now())  # it met an outage, and is still no more than an end
    assert await work_class(store, plan) == DueFor.EXPIRY
    assert await store.take("main", plan.payment_id) is not None
    assert await work_class(store, plan) == DueFor.MONEY


async def test_whatever_comes_to_a_payment_is_money(store: Store, clock: Clock) -> None:
    plan = await waiting_for_its_payer(store, clock)
    await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    assert await work_class(store, plan) == DueFor.MONEY

    plan = await waiting_for_its_payer(store, clock)
    await store.accept(
        request_of(plan.payment_id, "SubmitPayment"), payer_id=None, point="test.accept", now=clock.now()
    )
    assert await work_class(store, plan) == DueFor.MONEY

    plan = await waiting_for_its_payer(store, clock)
    end = QuoteEnd(tenant_id="main", payment_id=plan.payment_id, quote_id="quote_1", quote_state=QuoteState.RELEASED)
    await store.quote_problem(end, "QUOTE_NOT_FOUND")
    assert await work_class(store, plan) == DueFor.MONEY


@pytest.mark.parametrize("comes", ["observation", "request"])
@pytest.mark.parametrize("ends", ["save", "release"])
async def test_what_comes_while_an_end_is_at_work_is_money_afterwards(
    comes: str, ends: str, store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await waiting_for_its_payer(store, clock)
    swept = await taken_for_its_end(store, held, plan, clock)
    if comes == "observation":
        await store.observe("main", plan.payment_id, mirror_version=3, observation=b"three")
    else:
        request = request_of(plan.payment_id, "SubmitPayment")
        await store.accept(request, payer_id=None, point="test.accept", now=clock.now())
    if ends == "save":
        await released(store, swept, clock, due_in=HOUR)
    else:
        await store.release(swept, now=clock.now())
    assert await work_class(store, plan) == DueFor.MONEY


async def test_an_end_of_which_status_has_not_heard_is_money(
    store: Store, held: DirectConnections, clock: Clock
) -> None:
    plan = await waiting_for_its_payer(store, clock)
    swept = await taken_for_its_end(store, held, plan, clock)
    swept.pending = [transition("expired", State.EXPIRED)]
    await store.release(swept, now=clock.now())
    assert await work_class(store, plan) == DueFor.MONEY


async def test_an_urgent_request_that_is_open_is_known_to_who_takes_the_payment(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    request = replace(request_of(plan.payment_id, "CancelPayment"), is_urgent=True)
    accepted = await store.accept(request, payer_id=None, point="test.accept", now=clock.now())
    assert accepted.plan is None
    await released(store, plan, clock)
    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    assert taken.has_urgent_request
    await store.save(
        taken, point="test.save", now=clock.now(), request=replace(request, answer=b"answer"), release=True
    )
    taken = await store.take("main", plan.payment_id)
    assert taken is not None
    assert not taken.has_urgent_request


async def test_open_requests_are_carried_on_the_urgent_ones_first(store: Store, clock: Clock) -> None:
    plan = await held_plan(store, clock)
    for method in ("SubmitPayment", "RefundPayment", "CancelPayment"):
        clock.advance(HOUR)
        send_before = clock.now() + HOUR if method == "SubmitPayment" else None
        request = request_of(plan.payment_id, method, send_before_time=send_before)
        request = replace(request, is_urgent=method == "CancelPayment")
        await store.accept(request, payer_id=None, point="test.accept", now=clock.now())
    found = await store.open_requests("main", plan.payment_id)
    assert [one.key.method for one in found] == ["CancelPayment", "SubmitPayment", "RefundPayment"]
    assert [one.send_before_time is not None for one in found] == [False, True, False]
