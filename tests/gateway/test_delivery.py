"""What no caller was told reaches the orchestrator: the newest of each payment, once it is there, or a person hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from grpc import aio

from batzen.gateway.v1 import observation_pb2 as pb
from batzen.gateway.v1.observation_pb2_grpc import (
    GatewayEventSinkServiceServicer,
    GatewayEventSinkServiceStub,
    add_GatewayEventSinkServiceServicer_to_server,
)
from services.gateway import delivery, waiting
from services.gateway.__main__ import Parts, gateway_parts
from services.gateway.delivery import DELIVER, Deliveries, DeliveryRefused
from services.gateway.domain import SUCCEEDED, Amounts, Observation
from services.gateway.store import LeaseLost
from services.runtime import calls
from services.runtime.clients import TokenDirectory, peer_channel
from services.runtime.database import reading, transaction
from services.runtime.jobs import Job, JobKind, QueueDepth, RetryLater, RetryPolicy, dead_jobs, queue_depth, replay
from services.runtime.worker import running_worker
from tests.conftest import Databases
from tests.gateway.conftest import Clock
from tests.gateway.samples import new_id

PATIENCE_S = 30
ORIGIN = "webhook payment_intent.succeeded"
IMPATIENT = replace(DELIVER, retry=RetryPolicy(tries_max=2, first_delay=timedelta(milliseconds=1)))


class Sink(GatewayEventSinkServiceServicer):
    """An orchestrator that answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[pb.DeliverEventRequest] = []
        self.refuses: grpc.StatusCode | None = None
        self.answers = asyncio.Event()
        self.answers.set()
        self._called = asyncio.Condition()
        self.calls = 0

    async def DeliverEvent(self, request: pb.DeliverEventRequest, context: Any) -> pb.DeliverEventResponse:
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        await self.answers.wait()
        if self.refuses is not None:
            await context.abort(self.refuses, "no")
        async with self._called:
            self.heard.append(request)
            self._called.notify_all()
        return pb.DeliverEventResponse()

    async def until(self, says: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S), self._called:
            await self._called.wait_for(says)

    def versions(self) -> list[int]:
        return [one.observation.mirror_version for one in self.heard]


@pytest.fixture(scope="module")
def clock() -> Clock:
    """Of this module, which lets days pass."""
    return Clock()


@pytest.fixture(scope="module")
async def place(databases: Databases, clock: Clock) -> AsyncIterator[tuple[Parts, aio.Channel, int]]:
    """A gateway whose jobs wait, its channel to a port on which nobody listens yet, and that port."""
    database = await databases.create("gateway")
    reserved = aio.server()  # gRPC takes a port alone only if told so; this one is given back before its use
    port = reserved.add_insecure_port("127.0.0.1:0")
    await reserved.start()
    await reserved.stop(None)
    async with (
        aio.insecure_channel(
            f"127.0.0.1:{port}",
            options=[("grpc.initial_reconnect_backoff_ms", 50), ("grpc.max_reconnect_backoff_ms", 50)],
        ) as channel,
        gateway_parts(
            database.runtime_url,
            sink=GatewayEventSinkServiceStub(channel),
            stripe_key="sk_test_deliveries",
            stripe_base="http://127.0.0.1:1",
            now=clock.now,
        ) as parts,
    ):
        yield parts, channel, port
    await databases.drop(database)


@pytest.fixture
async def parts(place: tuple[Parts, aio.Channel, int]) -> Parts:
    """The gateway, with nothing to deliver."""
    async with place[0].engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM deliveries"))
        await connection.execute(sa.text("DELETE FROM pgqueuer"))
    return place[0]


@pytest.fixture
async def sink(place: tuple[Parts, aio.Channel, int]) -> AsyncIterator[Sink]:
    async with orchestrator(place) as made:
        yield made


@pytest.fixture
def payment_id() -> str:
    return new_id("pay")


@asynccontextmanager
async def orchestrator(place: tuple[Parts, aio.Channel, int]) -> AsyncIterator[Sink]:
    """Have the orchestrator there while inside, and the gateway's channel know it."""
    _, channel, port = place
    sink, server = Sink(), aio.server()
    add_GatewayEventSinkServiceServicer_to_server(sink, server)
    assert server.add_insecure_port(f"127.0.0.1:{port}") == port
    await server.start()
    async with asyncio.timeout(PATIENCE_S):
        await channel.channel_ready()
    try:
        yield sink
    finally:
        sink.answers.set()
        await server.stop(None)


def seen(payment_id: str, version: int) -> Observation:
    return Observation(
        payment_id=payment_id,
        mirror_version=version,
        attempt=1,
        intent_state=SUCCEEDED,
        amounts=Amounts(authorized_minor=10_000, captured_minor=10_000),
    )


async def record(parts: Parts, payment_id: str, *versions: int) -> None:
    for version in versions:
        async with transaction(parts.engine, "test.record") as connection:
            await parts.deliveries.record(connection, "main", seen(payment_id, version), origin=ORIGIN)


async def deliver(parts: Parts, payment_id: str) -> None:
    """Run the job once, as a worker does."""
    await parts.deliveries.deliver(Job(job_id=1, tenant_id="main", payload={"payment_id": payment_id}, attempt=1))


def working(parts: Parts, kind: JobKind = DELIVER) -> Any:
    return running_worker(parts.database_url, handlers={kind: parts.deliveries.deliver}, application_name="test")


async def queue_is(parts: Parts, says: Callable[[QueueDepth], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not says(await queue_depth(parts.engine)):  # noqa: ASYNC110 the event is another connection's
            await asyncio.sleep(0.01)


async def row_of(parts: Parts, payment_id: str) -> Any:
    async with reading(parts.engine) as connection:
        return (
            await connection.execute(
                sa.text("SELECT * FROM deliveries WHERE payment_id = :payment_id"), {"payment_id": payment_id}
            )
        ).one()


async def test_a_delivery_says_all_that_is_known(parts: Parts, sink: Sink, payment_id: str) -> None:
    await record(parts, payment_id, 3)

    await deliver(parts, payment_id)
    await deliver(parts, payment_id)

    (heard,) = sink.heard
    assert (heard.observation.payment_id, heard.observation.mirror_version) == (payment_id, 3)
    assert heard.observation.intent_state == pb.INTENT_STATE_SUCCEEDED
    assert heard.observation.amounts.captured_minor == heard.observation.refundable_minor == 10_000
    assert heard.origin == ORIGIN
    assert len(heard.request_id) == 36


async def test_a_repeat_of_a_delivery_carries_the_same_id(parts: Parts, sink: Sink, payment_id: str) -> None:
    await record(parts, payment_id, 1)
    await deliver(parts, payment_id)
    async with parts.engine.begin() as connection:  # as if the process had died before it noted the answer
        await connection.execute(sa.text("UPDATE deliveries SET delivered_version = 0"))

    await deliver(parts, payment_id)
    await record(parts, payment_id, 2)
    await deliver(parts, payment_id)

    first, repeated, second = sink.heard
    assert first == repeated
    assert second.request_id != first.request_id


async def test_what_was_rolled_back_is_not_delivered(parts: Parts, payment_id: str) -> None:
    with suppress(LeaseLost):
        async with transaction(parts.engine, "test.record") as connection:
            await parts.deliveries.record(connection, "main", seen(payment_id, 1), origin=ORIGIN)
            raise LeaseLost

    assert (await queue_depth(parts.engine)).idle


async def test_the_newest_covers_the_older(parts: Parts, sink: Sink, payment_id: str) -> None:
    await record(parts, payment_id, 1, 2, 5, 4)

    async with working(parts):
        await queue_is(parts, lambda depth: depth.idle)

    assert sink.versions() == [5]
    row = await row_of(parts, payment_id)
    assert row.delivered_version == row.wanted_version == 5


async def test_what_is_seen_during_a_delivery_is_delivered_after_it(parts: Parts, sink: Sink, payment_id: str) -> None:
    sink.answers.clear()
    await record(parts, payment_id, 1)
    async with working(parts):
        await sink.until(lambda: sink.calls == 1)
        await record(parts, payment_id, 2)
        sink.answers.set()
        await queue_is(parts, lambda depth: depth.idle)

    assert sink.versions() == [1, 2]
    assert (await row_of(parts, payment_id)).delivered_version == 2


async def test_an_orchestrator_that_is_away_is_waited_for(
    place: tuple[Parts, aio.Channel, int], parts: Parts, payment_id: str
) -> None:
    await record(parts, payment_id, 1)
    async with working(parts):
        await queue_is(parts, lambda depth: depth.later == 1)  # tried in vain, and put back
        async with orchestrator(place) as sink:
            await sink.until(lambda: sink.versions() == [1])
            await queue_is(parts, lambda depth: depth.idle)

    assert not await dead_jobs(parts.engine, tenant_id="main")


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNAUTHENTICATED,
    ],
)
async def test_waiting_is_no_failure_until_it_takes_days(
    parts: Parts, sink: Sink, payment_id: str, clock: Clock, code: grpc.StatusCode
) -> None:
    sink.refuses = code
    await record(parts, payment_id, 1)

    rests = []
    for _ in range(3):
        with pytest.raises(RetryLater) as later:
            await deliver(parts, payment_id)
        rests.append(later.value.delay)
        clock.advance(timedelta(seconds=20))
    clock.advance(waiting.WAIT_MAX)

    assert timedelta(0) < rests[0] < rests[1] < rests[2] < waiting.REST_MAX * 2
    with pytest.raises(DeliveryRefused, match=code.name):
        await deliver(parts, payment_id)


async def test_an_orchestrator_that_hangs_is_not_waited_for_long(
    parts: Parts, sink: Sink, payment_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "TIMEOUT_S", 0.05)
    sink.answers.clear()
    await record(parts, payment_id, 1)

    with pytest.raises(RetryLater):
        await deliver(parts, payment_id)


async def test_a_missing_token_is_waited_for(parts: Parts, clock: Clock, tmp_path: Path, payment_id: str) -> None:
    await record(parts, payment_id, 1)
    async with peer_channel("127.0.0.1:1", tokens=TokenDirectory(tmp_path)) as channel:
        stub = GatewayEventSinkServiceStub(channel)
        deliveries = Deliveries(parts.deliveries._held, parts.deliveries._queue, stub, now=clock.now)
        with calls.acting_for("main"), pytest.raises(RetryLater):
            await deliveries.deliver(Job(job_id=1, tenant_id="main", payload={"payment_id": payment_id}, attempt=1))


async def test_a_refused_delivery_is_held_for_a_person_and_can_be_replayed(
    parts: Parts, sink: Sink, payment_id: str
) -> None:
    sink.refuses = grpc.StatusCode.NOT_FOUND
    await record(parts, payment_id, 1)
    async with working(parts, IMPATIENT):
        await queue_is(parts, lambda depth: depth.dead == 1)

        (dead,) = await dead_jobs(parts.engine, tenant_id="main")
        assert (dead.kind, dead.payload, dead.tries) == ("deliver", {"payment_id": payment_id}, 2)
        assert "NOT_FOUND" in dead.error

        sink.refuses = None
        assert await replay(parts.engine, [dead.job_id], tenant_id="main") == [dead.job_id]
        await sink.until(lambda: sink.versions() == [1])
        await queue_is(parts, lambda depth: depth.idle and depth.dead == 0)


async def test_a_newer_observation_is_delivered_past_a_dead_one(parts: Parts, sink: Sink, payment_id: str) -> None:
    sink.refuses = grpc.StatusCode.NOT_FOUND
    await record(parts, payment_id, 1)
    async with working(parts, IMPATIENT):
        await queue_is(parts, lambda depth: depth.dead == 1)
        sink.refuses = None

        await record(parts, payment_id, 2)

        await sink.until(lambda: sink.versions() == [2])
