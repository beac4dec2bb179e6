"""Transitions that are written together: each comes to what it would have come to alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from local.databases import ServiceDatabase
from local.issuer import Issuer
from local.postgres import EmbeddedPostgres
from services.errors import DependencyUnavailable, ServiceError
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.shared.states import Cause, State
from services.status.domain.snapshot import Snapshot
from services.status.transitions.recorder import BATCH_MAX, Move, Recorded, Recorder
from tests.eventually import WITHIN_S
from tests.status.conftest import Replica, StatusServiceStub, running_replica
from tests.status.samples import (
    NOW,
    TOTAL_MINOR,
    new_payment_id,
    new_request_id,
    open_request,
    record_request,
    refusal_of,
    snapshot,
    succeeded,
)

REPEATS_MAX = 20


@pytest.fixture
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="status-batches", size=8) as held:
        yield held


class Batches:
    """A recorder whose first statement is held up, so that all that is asked meanwhile makes batches."""

    def __init__(self, held: DirectConnections, database: ServiceDatabase) -> None:
        self.recorder = Recorder(held, concurrency_max=1)
        self._database = database

    async def record(self, first: Move, *moves: Move) -> list[Recorded | BaseException]:
        """Record `moves` in batches behind `first`, and return what they came to."""
        blocker = await asyncpg.connect(plain_dsn(self._database.runtime_url))
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT FROM payments WHERE payment_id = $1 FOR UPDATE", first.payment_id)
        leading = asyncio.create_task(self.recorder.record(first))
        await asyncio.sleep(0)
        tasks = [asyncio.create_task(self.recorder.record(move)) for move in moves]
        await asyncio.sleep(0)
        await transaction.rollback()
        await blocker.close()
        await leading
        return await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture
async def batches(held: DirectConnections, database: ServiceDatabase) -> Batches:
    return Batches(held, database)


def move(payment_id: str, *, expected: int = 1, request_id: str | None = None, **fields: Any) -> Move:
    to = Snapshot(**({"collection": State.REQUIRES_PAYMENT_METHOD, "cause": Cause.STEP} | fields))
    return Move(
        tenant_id="main",
        payment_id=payment_id,
        request_id=request_id or new_request_id(),
        expected_revision=expected,
        snapshot=to,
        now=NOW,
    )


async def opened(status: StatusServiceStub, count: int) -> list[str]:
    answers = await asyncio.gather(*(status.OpenPayment(open_request()) for _ in range(count)))
    return [answer.payment.payment_id for answer in answers]


async def history(status: StatusServiceStub, payment_id: str) -> list[pb.Transition]:
    answer = await status.ListTransitions(pb.ListTransitionsRequest(payment_id=payment_id, page_size=500))
    assert [transition.revision for transition in answer.transitions] == list(range(1, len(answer.transitions) + 1))
    return list(answer.transitions)


async def test_a_batch_writes_what_its_members_would_have_written_alone(
    status: StatusServiceStub, batches: Batches
) -> None:
    first, *payment_ids = await opened(status, 6)
    ends = [move(payment_id, collection=State.FAILED) for payment_id in payment_ids]

    answers = await batches.record(move(first), *ends)

    for asked, answer in zip(ends, answers, strict=True):
        assert isinstance(answer, Recorded)
        assert answer.is_new
        assert (answer.transition.request_id, answer.transition.revision) == (asked.request_id, 2)
        assert answer.payment.complete_time == answer.payment.update_time == answer.transition.record_time
        stored = await status.GetPayment(pb.GetPaymentRequest(payment_id=asked.payment_id))
        assert (stored.payment.revision, stored.payment.settled) == (2, True)
        assert [each.request_id for each in await history(status, asked.payment_id)][1:] == [asked.request_id]


async def test_one_that_may_not_move_among_many_that_may(status: StatusServiceStub, batches: Batches) -> None:
    first, *payment_ids = await opened(status, BATCH_MAX + 1)
    illegal, stale, unknown, empty, *legal = payment_ids
    moves = [
        move(illegal, collection=State.AUTHORIZED),
        move(stale, expected=7),
        move(new_payment_id()),
        move(empty, collection=State.SUCCEEDED),
        *map(move, legal),
    ]
    random.Random(3).shuffle(moves)

    answers = dict(zip((each.payment_id for each in moves), await batches.record(move(first), *moves), strict=True))

    reasons = {payment_id: answer.reason for payment_id, answer in answers.items() if isinstance(answer, ServiceError)}
    unknown = next(payment_id for payment_id in reasons if payment_id not in payment_ids)
    assert reasons == {
        illegal: "TRANSITION_ILLEGAL",
        stale: "REVISION_CONFLICT",
        unknown: "PAYMENT_NOT_FOUND",
        empty: "AMOUNTS_INCONSISTENT",
    }
    assert all(isinstance(answers[payment_id], Recorded) for payment_id in legal)


async def test_two_moves_of_one_payment_go_one_after_the_other(status: StatusServiceStub, batches: Batches) -> None:
    first, payment_id, other = await opened(status, 3)
    moves = [move(payment_id), move(other), move(payment_id, expected=2), move(payment_id, expected=2, attempt=1)]

    answers = await batches.record(move(first), *moves)

    assert [type(answer).__name__ for answer in answers] == ["Recorded", "Recorded", "Recorded", "RevisionConflict"]
    assert len(await history(status, payment_id)) == 3


async def test_a_repeat_inside_a_batch_and_across_batches_writes_once(
    status: StatusServiceStub, batches: Batches
) -> None:
    first, payment_id, other = await opened(status, 3)
    once = move(payment_id)
    guess = move(payment_id, expected=2, request_id=once.request_id)

    answers = await batches.record(move(first), once, move(other), once, guess, once)
    again = await batches.record(move(first, expected=2), move(other, expected=2), once)

    written = [answer.transition for answer in (*answers, *again) if isinstance(answer, Recorded)]
    assert len(written) == 7
    assert [each.revision for each in written if each.payment_id == payment_id] == [2] * 5
    assert [each.request_id for each in await history(status, payment_id)][1:] == [once.request_id]
    other_body = move(payment_id, request_id=once.request_id, attempt=9)
    (refused,) = await batches.record(move(first, expected=3), other_body)
    assert isinstance(refused, ServiceError)
    assert refused.reason == "REQUEST_ID_REUSED"


async def test_a_payment_that_somebody_holds_keeps_no_other_waiting(
    status: StatusServiceStub, batches: Batches, database: ServiceDatabase
) -> None:
    first, held_up, *others = await opened(status, 5)
    holder = await asyncpg.connect(plain_dsn(database.runtime_url))
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("SELECT FROM payments WHERE payment_id = $1 FOR UPDATE", held_up)
    waiting = asyncio.create_task(batches.record(move(first), *(move(each) for each in (held_up, *others))))
    for payment_id in others:
        async with asyncio.timeout(WITHIN_S):
            while (await status.GetPayment(pb.GetPaymentRequest(payment_id=payment_id))).payment.revision == 1:
                pass
    assert not waiting.done()
    await transaction.rollback()
    await holder.close()

    assert all(isinstance(answer, Recorded) for answer in await waiting)


async def test_a_connection_that_is_lost_in_the_middle_of_a_batch_loses_and_doubles_nothing(
    status: StatusServiceStub, batches: Batches, postgres: EmbeddedPostgres
) -> None:
    admin = await asyncpg.connect(postgres.admin_url)
    for number in range(6):
        first, *payment_ids = await opened(status, 30)
        moves = [move(payment_id) for payment_id in payment_ids]
        recording = asyncio.create_task(batches.record(move(first), *moves))
        for _ in range(number):
            await admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'status-batches'"
            )
        answers = await asyncio.gather(recording, return_exceptions=True)
        refused = answers[0] if isinstance(answers[0], list) else []
        assert all(isinstance(answer, Recorded | DependencyUnavailable) for answer in refused)

        repeated = await asyncio.gather(*(until_recorded(batches.recorder, each) for each in moves))

        assert [answer.transition.revision for answer in repeated] == [2] * 29
        for payment_id in payment_ids:
            assert len(await history(status, payment_id)) == 2
    await admin.close()


async def until_recorded(recorder: Recorder, move: Move) -> Recorded:
    """Send a move again while the recorder says that it may be: the connection may break under a repeat, too."""
    for _ in range(REPEATS_MAX):
        with suppress(DependencyUnavailable):
            return await recorder.record(move)
    raise AssertionError("the database is away")


async def test_replicas_that_move_the_same_payments_in_opposite_order_do_not_wait_for_each_other(
    replica: Replica, database: ServiceDatabase, issuer: Issuer
) -> None:
    async with (
        running_replica(database.runtime_url, issuer=issuer) as other,
        replica.connect() as here,
        other.connect() as there,
    ):
        payment_ids = await opened(here, 40)

        async def write(status: StatusServiceStub, payment_id: str, expected: int) -> str:
            try:
                await status.RecordTransition(record_request(payment_id, expected=expected, to=snapshot()))
            except aio.AioRpcError as error:
                return refusal_of(error).reason or error.code().name
            return "moved"

        for expected in range(1, 6):
            outcomes = await asyncio.gather(
                *(write(here, payment_id, expected) for payment_id in payment_ids),
                *(write(there, payment_id, expected) for payment_id in reversed(payment_ids)),
            )
            assert sorted(outcomes) == sorted(["moved"] * 40 + ["REVISION_CONFLICT"] * 40)
        for payment_id in payment_ids:
            assert len(await history(here, payment_id)) == 6


@pytest.mark.faults
async def test_of_a_thousand_writers_one_wins_each_revision(status: StatusServiceStub, payment: pb.Payment) -> None:
    last = 6

    async def write(number: int) -> list[int]:
        """Move the payment whenever it is where the last answer said; return the revisions that this writer wrote."""
        wrote, expected, request = [], 1, None
        while expected < last:
            request = request or record_request(payment.payment_id, expected=expected, to=snapshot(attempt=number))
            try:
                answer = await status.RecordTransition(request)
            except aio.AioRpcError as error:
                refusal = refusal_of(error)
                if refusal.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED"):
                    continue  # a connection takes only so many calls at once, a machine too: the same again
                assert refusal.reason == "REVISION_CONFLICT"
                assert int(refusal.metadata["current_revision"]) > expected
                expected, request = int(refusal.metadata["current_revision"]), None
            else:
                wrote.append(answer.transition.revision)
                expected, request = answer.transition.revision, None
        return wrote

    wrote = await asyncio.gather(*(write(number) for number in range(1_000)))

    by = {revision: number for number, revisions in enumerate(wrote) for revision in revisions}
    stored = await history(status, payment.payment_id)
    assert sum(map(len, wrote)) == len(by) == len(stored) - 1
    assert all(stored[revision - 1].snapshot.attempt == number for revision, number in by.items())


async def test_success_needs_money_in_a_batch_too(status: StatusServiceStub, payment: pb.Payment) -> None:
    requests = [
        record_request(payment.payment_id, expected=1, to=to)
        for to in (succeeded(), snapshot(), succeeded(captured=0), succeeded(captured=TOTAL_MINOR))
    ]

    outcomes = await asyncio.gather(*map(status.RecordTransition, requests), return_exceptions=True)

    moved = [outcome for outcome in outcomes if isinstance(outcome, pb.RecordTransitionResponse)]
    assert [each.transition.snapshot for each in moved] == [snapshot()]


async def test_a_database_that_lost_a_transition_can_be_moved_on(
    payment: pb.Payment, database: ServiceDatabase
) -> None:
    """As one may that took over from another. What a process remembers of a payment is no truth."""
    async with DirectConnections(database.runtime_url, application_name="status-batches", size=1) as held:
        recorder = Recorder(held)
        await recorder.record(move(payment.payment_id))
        owner = await asyncpg.connect(plain_dsn(database.owner_url))
        await owner.execute("DELETE FROM transitions WHERE payment_id = $1 AND revision = 2", payment.payment_id)
        await owner.execute(
            "UPDATE payments SET revision = 1, collection = 'INITIALIZED' WHERE payment_id = $1", payment.payment_id
        )
        await owner.close()

        again = await recorder.record(move(payment.payment_id))

    assert (again.is_new, again.transition.revision) == (True, 2)


@pytest.mark.parametrize("together", [False, True], ids=["alone", "in batches"])
async def test_a_request_that_races_at_every_revision_writes_once(
    status: StatusServiceStub, database: ServiceDatabase, payment: pb.Payment, together: bool
) -> None:
    """Four replicas send one request id at every revision, while another moves the payment on under its feet."""
    async with AsyncExitStack() as stack:
        recorders = []
        for number in range(5):
            connections = DirectConnections(database.runtime_url, application_name=f"status-race-{number}", size=4)
            recorders.append(Recorder(await stack.enter_async_context(connections), concurrency_max=4))
        crowd = [(await status.OpenPayment(open_request())).payment.payment_id for _ in range(8 if together else 0)]
        request_id, written = new_request_id(), []
        for expected in range(1, 9):
            same = [
                recorder.record(move(payment.payment_id, expected=revision, request_id=request_id))
                for recorder in recorders[:4]
                for revision in (expected, expected + 1)
            ]
            others = [recorders[0].record(move(each, expected=expected)) for each in crowd]
            on = recorders[4].record(move(payment.payment_id, expected=expected))
            answers = await asyncio.gather(*same, on, *others, return_exceptions=True)
            written += [answer.transition.revision for answer in answers[:8] if isinstance(answer, Recorded)]
            stands_at = (await status.GetPayment(pb.GetPaymentRequest(payment_id=payment.payment_id))).payment.revision
            while stands_at <= expected:  # lost every race: the next round begins one further on all the same
                await recorders[4].record(move(payment.payment_id, expected=stands_at))
                stands_at += 1
    transitions = await history(status, payment.payment_id)
    (once,) = [each.revision for each in transitions if each.request_id == request_id]
    assert set(written) == {once}
    assert [each.revision for each in transitions] == list(range(1, len(transitions) + 1))
