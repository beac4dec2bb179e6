"""Many writers at once on several replicas: one line per payment, each told what is so, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import pytest

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import payment_pb2
from tests.status.history.checker.findings import Finding
from tests.status.history.checker.verdict import findings_of
from tests.status.history.harness.cluster import REPLICAS, Cluster
from tests.status.history.harness.world import World
from tests.status.history.harness.writers import Writers
from tests.status.history.reports import Refused, Report, Written
from tests.status.history.stored import Stored, read_stored

pytestmark = pytest.mark.faults

PaymentSnapshot = payment_pb2.PaymentSnapshot

THOUSAND: Final = 1_000
TRIES: Final = 2
BATCH: Final = 64
CUTS: Final = 8
PAUSE_S: Final = 0.05
"""From one cut to the next."""


class Pen:
    """Writes as the orchestrator, and keeps an account of it."""

    def __init__(self, cluster: Cluster, stubs: Sequence[Any], *, seed: str) -> None:
        self.chance = random.Random(seed)
        self.writers = Writers(World(settled_xid=cluster.settled_xid), stubs, self.chance)
        self._cluster = cluster

    async def move(self, payment_id: str, *, expected: int, replica: int) -> Written | Refused:
        """Ask one replica to move a payment, in a way unlike any other."""
        snapshot = PaymentSnapshot(
            collection=payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
            cause=PaymentSnapshot.CAUSE_STEP,
            amounts=PaymentSnapshot.Amounts(),
            attempt=self.chance.randrange(1, 2**31),
        )
        request = pb.RecordTransitionRequest(
            request_id=self.writers.new_id(), payment_id=payment_id, expected_revision=expected, snapshot=snapshot
        )
        return await self.writers.settle(request, snapshot, expected=expected, replica=replica)

    async def verdict(self) -> tuple[Stored, list[Finding]]:
        async with self._cluster.admin() as connection:
            stored = await read_stored(connection, payment_ids=self.writers.payment_ids)
        return stored, findings_of(stored, Report(attempts=self.writers.attempts, readings=self.writers.readings))


@pytest.fixture
async def pen(cluster: Cluster, request: pytest.FixtureRequest) -> AsyncIterator[Pen]:
    async with cluster.roads() as roads:
        yield Pen(cluster, [road.stub for road in roads], seed=request.node.name)


async def test_a_thousand_writers_of_one_payment_make_one_line(pen: Pen) -> None:
    payment_id = await pen.writers.open(0)

    async def write(number: int) -> int:
        expected, won = 1, 0
        for _ in range(TRIES):
            outcome = await pen.move(payment_id, expected=expected, replica=number % REPLICAS)
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
    assert sum(won) == stored[payment_id].last - 1 > TRIES
    assert len(pen.writers.attempts) >= 1 + TRIES * THOUSAND  # more where a replica had too much to do for a moment


async def test_calls_whose_connections_to_the_database_are_cut_are_neither_lost_nor_carried_out_twice(
    pen: Pen, cluster: Cluster
) -> None:
    payment_ids = [await pen.writers.open(number) for number in range(BATCH)]

    async def cut_again_and_again() -> int:
        cut = 0
        for _ in range(CUTS):
            cut += await cluster.cut_backends(share=1.0, chance=pen.chance)
            await asyncio.sleep(PAUSE_S)
        return cut

    async def write(payment_id: str, replica: int) -> None:
        expected = 1
        while not cutting.done():
            outcome = await pen.move(payment_id, expected=expected, replica=replica)
            assert isinstance(outcome, Written)
            expected = outcome.revision

    cutting = asyncio.ensure_future(cut_again_and_again())
    await asyncio.gather(*(write(payment_id, number % REPLICAS) for number, payment_id in enumerate(payment_ids)))

    stored, findings = await pen.verdict()
    assert findings == []
    assert await cutting > CUTS
    assert sum(payment.last for payment in stored.values()) > 2 * BATCH
