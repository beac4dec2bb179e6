"""Many writers at once on several replicas: one line per payment, each told what is so, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import payment_pb2
from tests.status.history.checker.findings import Finding
from tests.status.history.checker.verdict import findings_of
from tests.status.history.harness.cluster import Cluster
from tests.status.history.harness.world import World
from tests.status.history.harness.writers import Writers
from tests.status.history.reports import Refused, Report, Unknown, Written
from tests.status.history.stored import Stored, read_stored
from tests.status.samples import new_payment_id, refusal_of

PaymentSnapshot = payment_pb2.PaymentSnapshot

THOUSAND: Final = 1_000
TRIES: Final = 3
BATCH: Final = 64
CUTS: Final = 8


class Pen:
    """Writes as the orchestrator, and keeps an account of it."""

    def __init__(self, cluster: Cluster, stubs: Sequence[Any], *, seed: str) -> None:
        self.chance = random.Random(seed)
        self.stubs = stubs
        self.writers = Writers(World(settled_xid=cluster.settled_xid), stubs, self.chance)
        self._cluster = cluster
        self._opened = 0

    async def open(self, number: int) -> list[str]:
        first, self._opened = self._opened, self._opened + number
        return await asyncio.gather(*(self.writers.open(one) for one in range(first, first + number)))

    def move(self, payment_id: str, *, expected: int, to: str = "REQUIRES_PAYMENT_METHOD") -> Any:
        """Return a request to move a payment, unlike any other."""
        snapshot = PaymentSnapshot(
            collection=f"PAYMENT_STATE_{to}",  # type: ignore[arg-type]
            cause=PaymentSnapshot.CAUSE_STEP,
            amounts=PaymentSnapshot.Amounts(),
            attempt=self.chance.randrange(1, 2**31),
        )
        return pb.RecordTransitionRequest(
            request_id=self.writers.new_id(), payment_id=payment_id, expected_revision=expected, snapshot=snapshot
        )

    async def write(self, request: Any, *, replica: int | None = None) -> Written | Refused:
        return await self.writers.settle(request, request.snapshot, expected=request.expected_revision, replica=replica)

    async def verdict(self) -> tuple[Stored, list[Finding]]:
        async with self._cluster.admin() as connection:
            stored = await read_stored(connection, payment_ids=self.writers.payment_ids)
        return stored, findings_of(stored, Report(attempts=self.writers.attempts, readings=self.writers.readings))

    def answers_that_settle_nothing(self) -> list[Unknown]:
        return [attempt.outcome for attempt in self.writers.attempts if isinstance(attempt.outcome, Unknown)]


@pytest.fixture
async def pen(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Pen]:
    async with cluster.roads() as roads:
        yield Pen(cluster, [road.stub for road in roads], seed=request.node.name)


async def test_a_thousand_writers_of_one_payment_make_one_line(pen: Pen) -> None:
    [payment_id] = await pen.open(1)

    async def write(number: int) -> int:
        expected, won = 1, 0
        for _ in range(TRIES):
            outcome = await pen.write(pen.move(payment_id, expected=expected), replica=number % len(pen.stubs))
            if isinstance(outcome, Written):
                won, expected = won + 1, outcome.revision
            else:
                assert outcome.reason == "REVISION_CONFLICT"
                assert outcome.current_revision is not None
                expected = outcome.current_revision
        return won

    won = await asyncio.gather(*(write(number) for number in range(THOUSAND)))

    stored, findings = await pen.verdict()
    assert findings == []
    assert sum(won) == stored[payment_id].last - 1 > 3
    assert len(pen.writers.attempts) == 1 + TRIES * THOUSAND


async def test_replicas_that_write_the_same_payments_in_opposite_order_do_not_stand_in_each_others_way(
    pen: Pen,
) -> None:
    payment_ids = await pen.open(BATCH)

    for expected in range(1, 6):
        orders = [payment_ids, payment_ids[::-1], pen.chance.sample(payment_ids, BATCH)]
        outcomes = await asyncio.gather(
            *(
                pen.write(pen.move(payment_id, expected=expected), replica=replica)
                for replica, order in enumerate(orders)
                for payment_id in order
            )
        )
        assert Counter(type(outcome) for outcome in outcomes) == {Written: BATCH, Refused: 2 * BATCH}

    stored, findings = await pen.verdict()
    assert findings == []
    assert {payment.last for payment in stored.values()} == {6}
    assert pen.answers_that_settle_nothing() == []


async def test_a_request_that_is_sent_many_times_at_once_is_written_once_and_answered_alike(pen: Pen) -> None:
    payment_ids = await pen.open(20)
    requests = [pen.move(payment_id, expected=1) for payment_id in payment_ids]
    too_late = [pen.move(payment_id, expected=5) for payment_id in payment_ids]
    copies = [
        (request, replica) for request in requests + too_late for replica in range(len(pen.stubs)) for _ in "1234"
    ]
    pen.chance.shuffle(copies)

    outcomes = await asyncio.gather(*(pen.write(request, replica=replica) for request, replica in copies))

    _, findings = await pen.verdict()
    assert findings == []
    for request in requests:
        answers = [outcome for (copy, _), outcome in zip(copies, outcomes, strict=True) if copy is request]
        assert {(answer.revision, answer.transition) for answer in answers if isinstance(answer, Written)} == {
            (2, answers[0].transition)  # type: ignore[union-attr]
        }
        assert len(answers) == 4 * len(pen.stubs)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("illegal", "TRANSITION_ILLEGAL"),
        ("too late", "REVISION_CONFLICT"),
        ("nowhere", "PAYMENT_NOT_FOUND"),
        ("contradicting", "AMOUNTS_INCONSISTENT"),
        ("reused", "REQUEST_ID_REUSED"),
    ],
)
async def test_one_that_is_refused_among_many_changes_nothing_for_the_others(pen: Pen, wrong: str, reason: str) -> None:
    payment_ids = await pen.open(BATCH)
    first = [pen.move(payment_id, expected=1) for payment_id in payment_ids]
    await asyncio.gather(*(pen.write(request, replica=0) for request in first))

    for expected in range(2, 6):
        odd, *others = pen.chance.sample(payment_ids, BATCH)
        request = pen.move(odd, expected=2)
        match wrong:
            case "illegal":
                request.snapshot.collection = payment_pb2.PAYMENT_STATE_INITIALIZED
                request.expected_revision = (await pen.verdict())[0][odd].last
            case "too late":
                request.expected_revision = 1
            case "nowhere":
                request.payment_id = new_payment_id()
            case "contradicting":
                request.snapshot.amounts.captured_minor = 1
            case "reused":
                request.request_id = first[payment_ids.index(odd)].request_id
        calls = [pen.stubs[0].RecordTransition(request)]
        stands = {payment_id: stored.last for payment_id, stored in (await pen.verdict())[0].items()}
        good = [pen.write(pen.move(payment_id, expected=stands[payment_id]), replica=0) for payment_id in others]
        refused, *outcomes = await asyncio.gather(*calls, *good, return_exceptions=True)

        assert isinstance(refused, aio.AioRpcError)
        assert refusal_of(refused).reason == reason, expected
        assert {type(outcome) for outcome in outcomes} == {Written}

    _, findings = await pen.verdict()
    assert findings == []
    assert pen.answers_that_settle_nothing() == []


async def test_moves_of_one_payment_that_come_together_go_one_after_the_other(pen: Pen) -> None:
    payment_ids = await pen.open(20)
    requests = [pen.move(payment_id, expected=expected) for payment_id in payment_ids for expected in range(1, 6)]

    outcomes = await asyncio.gather(*(pen.write(request, replica=1) for request in requests))

    stored, findings = await pen.verdict()
    assert findings == []
    written = Counter(
        request.payment_id for request, outcome in zip(requests, outcomes, strict=True) if isinstance(outcome, Written)
    )
    assert written == {payment_id: stored[payment_id].last - 1 for payment_id in payment_ids}


async def test_calls_whose_connections_to_the_database_are_cut_are_neither_lost_nor_carried_out_twice(
    pen: Pen, cluster: Cluster
) -> None:
    payment_ids = await pen.open(BATCH)
    cut = 0

    async def cut_again_and_again() -> None:
        nonlocal cut
        for _ in range(CUTS):
            cut += await cluster.cut_backends(share=1.0, chance=pen.chance)
            await asyncio.sleep(0.05)

    async def write(payment_id: str, replica: int) -> None:
        expected = 1
        while cutting and not cutting.done():
            outcome = await pen.write(pen.move(payment_id, expected=expected), replica=replica)
            assert isinstance(outcome, Written)
            expected = outcome.revision

    cutting = asyncio.ensure_future(cut_again_and_again())
    await asyncio.gather(
        cutting, *(write(payment_id, number % len(pen.stubs)) for number, payment_id in enumerate(payment_ids))
    )

    stored, findings = await pen.verdict()
    assert findings == []
    assert cut > CUTS
    assert sum(payment.last for payment in stored.values()) > 2 * BATCH
