"""What no caller was told reaches the orchestrator: the newest of each payment, once it is there, or a person hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
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
from local.ports import free_ports
from services.gateway.call_log import backoff
from services.gateway.deliveries import sink as answers
from services.gateway.deliveries.outbox import Deliveries
from services.gateway.deliveries.sink import DeliveryRefused
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.wiring import Parts, gateway_parts
from services.runtime.database.connections import DirectConnections, reading
from services.runtime.database.lease import LeaseLost
from services.runtime.rpc import call_context
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from services.runtime.work import dead_letters as letters
from services.runtime.work.dead_letters import Depth
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind
from services.shared.payment import Amounts
from services.shared.states import IntentState
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import WITHIN_S, eventually
from tests.gateway.pinned import pin
from tests.gateway.samples import new_id
from tests.personal import PERSONAL_KEYS

ORIGIN = "webhook payment_intent.succeeded"
IMPATIENT = RetryPolicy(tries_max=2, first_delay=timedelta(milliseconds=1))


class Sink(GatewayEventSinkServiceServicer):
    """An orchestrator that answers as it is told."""

    def __init__(self) -> None:
        self.heard: list[pb.DeliverEventRequest] = []
        self.notices: list[pb.Notice] = []
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

    async def DeliverNotice(self, request: pb.DeliverNoticeRequest, context: Any) -> pb.DeliverNoticeResponse:
        async with self._called:
            self.calls += 1
            self._called.notify_all()
        await self.answers.wait()
        if self.refuses is not None:
            await context.abort(self.refuses, "no")
        async with self._called:
            self.notices.append(request.notice)
            self._called.notify_all()
        return pb.DeliverNoticeResponse()

    async def until(self, says: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S), self._called:
            await self._called.wait_for(says)

    def captured(self) -> list[int]:
        """What was said to be captured, one for each delivery."""
        return [one.observation.amounts.captured_minor for one in self.heard]


@pytest.fixture(scope="module")
def clock() -> Clock:
    """Of this module, which lets days pass."""
    return Clock()


@pytest.fixture(scope="module")
async def place(databases: Databases, clock: Clock) -> AsyncIterator[tuple[Parts, aio.Channel, int]]:
    """A gateway that does no work, its channel to a port on which nobody listens yet, and that port."""
    database = await databases.create("gateway")
    await pin(database)
    port = free_ports()["orchestrator"]  # not one that the next connection of anybody may begin from
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
            personal_keys=PERSONAL_KEYS,
            clock=clock,
        ) as parts,
    ):
        yield parts, channel, port
    await databases.drop(database)


@pytest.fixture
async def parts(place: tuple[Parts, aio.Channel, int]) -> Parts:
    """The gateway, with nothing to deliver."""
    async with place[0].engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM deliveries"))
        await connection.execute(sa.text("DELETE FROM notices"))
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
    async with asyncio.timeout(WITHIN_S):
        await channel.channel_ready()
    try:
        yield sink
    finally:
        sink.answers.set()
        await server.stop(None)


def seen(before: Observation, captured_minor: int) -> Observation:
    return replace(
        before,
        mirror_version=before.mirror_version + 1,
        attempt=1,
        intent_state=IntentState.SUCCEEDED,
        amounts=Amounts(authorized_minor=10_000, captured_minor=captured_minor),
    )


async def record(parts: Parts, payment_id: str, *captured_minor: int) -> None:
    """Have the mirror see that so much was captured, one after the other, as readings do."""
    payment = MirroredPayment.new("main", payment_id, payer_id="payer", seller_id="seller", currency_code="CHF")
    await parts.store.begin(payment, now=datetime.now(UTC))
    for one in captured_minor:
        held = await parts.store.take("main", payment_id)
        assert held is not None
        held.observation = seen(held.observation, one)
        await parts.store.save(held, point="test.record", now=parts.clock.now(), release=True, deliver=ORIGIN)


async def deliver(parts: Parts, payment_id: str) -> None:
    """Make a delivery once, as the engine does."""
    kind = parts.deliveries.work
    await parts.deliveries.deliver(Work(kind=kind, tenant_id="main", key=(payment_id,), fence=1, failures=0))


@asynccontextmanager
async def working(
    parts: Parts, *, retry: RetryPolicy = answers.RETRY, kind: WorkKind | None = None
) -> AsyncIterator[tuple[DirectConnections, Engine]]:
    url = parts.engine.url.render_as_string(hide_password=False)
    async with DirectConnections(url, application_name="test", size=2) as held:
        engine = Engine(url, held, clock=parts.clock, application_name="test")
        engine.register(replace(kind or parts.deliveries.work, retry=retry))
        async with engine.running():
            yield held, engine


async def depth_is(held: DirectConnections, engine: Engine, says: Callable[[Depth], bool]) -> None:
    async def says_so() -> bool:
        return says(await letters.depth(held, engine.kinds[0]))

    await eventually(says_so)


def is_done(depth: Depth) -> bool:
    return depth == Depth(due=0, later=0, running=0, dead=0)


async def row_of(parts: Parts, payment_id: str) -> Any:
    async with reading(parts.engine) as connection:
        return (
            await connection.execute(
                sa.text("SELECT * FROM deliveries WHERE payment_id = :payment_id"), {"payment_id": payment_id}
            )
        ).one()


async def test_a_delivery_says_all_that_is_known(parts: Parts, sink: Sink, payment_id: str) -> None:
    await record(parts, payment_id, 10_000)

    await deliver(parts, payment_id)
    await deliver(parts, payment_id)

    (heard,) = sink.heard
    assert heard.observation.payment_id == payment_id
    assert heard.observation.mirror_version == (await row_of(parts, payment_id)).delivered_version
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


async def test_what_was_not_saved_is_not_delivered(parts: Parts, payment_id: str) -> None:
    await record(parts, payment_id)
    held = await parts.store.take("main", payment_id)
    assert held is not None
    await parts.store.release(held)  # as if its lease had run out
    held.observation = seen(held.observation, 1)

    with pytest.raises(LeaseLost):
        await parts.store.save(held, point="test.record", now=parts.clock.now(), release=True, deliver=ORIGIN)

    async with reading(parts.engine) as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM deliveries")) == 0


async def test_the_newest_covers_the_older(parts: Parts, sink: Sink, payment_id: str) -> None:
    await record(parts, payment_id, 1, 2, 5)

    async with working(parts) as (held, engine):
        await depth_is(held, engine, is_done)

    assert sink.captured() == [5]
    row = await row_of(parts, payment_id)
    assert row.delivered_version == row.wanted_version


async def test_what_is_seen_during_a_delivery_is_delivered_after_it(parts: Parts, sink: Sink, payment_id: str) -> None:
    sink.answers.clear()
    await record(parts, payment_id, 1)
    async with working(parts) as (held, engine):
        await sink.until(lambda: sink.calls == 1)
        await record(parts, payment_id, 2)
        sink.answers.set()
        await depth_is(held, engine, is_done)

    assert sink.captured() == [1, 2]
    row = await row_of(parts, payment_id)
    assert row.delivered_version == row.wanted_version


async def test_an_orchestrator_that_is_away_is_waited_for(
    place: tuple[Parts, aio.Channel, int], parts: Parts, payment_id: str
) -> None:
    await record(parts, payment_id, 1)
    async with working(parts) as (held, engine):
        await depth_is(held, engine, lambda depth: depth.later == 1)  # tried in vain, and put back
        async with orchestrator(place) as sink:
            await sink.until(lambda: sink.captured() == [1])
            await depth_is(held, engine, is_done)

    assert (await row_of(parts, payment_id)).failures == 0


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
    clock.advance(backoff.WAIT_MAX)

    assert timedelta(0) < rests[0] < rests[1] < rests[2] < backoff.REST_MAX * 2
    with pytest.raises(DeliveryRefused, match=code.name):
        await deliver(parts, payment_id)


async def test_an_orchestrator_that_hangs_is_not_waited_for_long(
    parts: Parts, sink: Sink, payment_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "TIMEOUT_S", 0.05)
    sink.answers.clear()
    await record(parts, payment_id, 1)

    with pytest.raises(RetryLater):
        await deliver(parts, payment_id)


async def test_a_missing_token_is_waited_for(parts: Parts, clock: Clock, tmp_path: Path, payment_id: str) -> None:
    await record(parts, payment_id, 1)
    async with peer_channel("127.0.0.1:1", tokens=TokenDirectory(tmp_path)) as channel:
        stub = GatewayEventSinkServiceStub(channel)
        url = parts.engine.url.render_as_string(hide_password=False)
        async with DirectConnections(url, application_name="test", size=1) as held:
            deliveries = Deliveries(held, stub, now=clock.now)
            work = Work(kind=deliveries.work, tenant_id="main", key=(payment_id,), fence=1, failures=0)
            with call_context.acting_for("main"), pytest.raises(RetryLater):
                await deliveries.deliver(work)


async def test_a_refused_delivery_waits_for_an_operator_and_can_be_replayed(
    parts: Parts, sink: Sink, payment_id: str
) -> None:
    sink.refuses = grpc.StatusCode.NOT_FOUND
    await record(parts, payment_id, 1)
    async with working(parts, retry=IMPATIENT) as (held, engine):
        await depth_is(held, engine, lambda depth: depth.dead == 1)

        (kind,) = engine.kinds
        (letter,) = await letters.dead_letters(held, [kind], tenant_id="main", after=None, limit=10)
        assert (letter.kind, letter.key, letter.failures) == ("deliveries", (payment_id,), 2)
        assert "NOT_FOUND" in letter.problem

        sink.refuses = None
        assert await letters.replay(held, kind, letter.key, tenant_id="main")
        engine.wake(WorkClass.DELIVERIES)
        await sink.until(lambda: sink.captured() == [1])
        await depth_is(held, engine, is_done)


async def test_a_newer_observation_is_delivered_past_a_dead_one(parts: Parts, sink: Sink, payment_id: str) -> None:
    sink.refuses = grpc.StatusCode.NOT_FOUND
    await record(parts, payment_id, 1)
    async with working(parts, retry=IMPATIENT) as (held, engine):
        await depth_is(held, engine, lambda depth: depth.dead == 1)
        sink.refuses = None

        await record(parts, payment_id, 2)

        await sink.until(lambda: sink.captured() == [2])
        await depth_is(held, engine, is_done)
