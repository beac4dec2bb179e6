"""From a commit to its watchers: 1,000 `WatchPayment` streams on 20 connections while transitions are recorded.

The instant of a commit is PostgreSQL's own (`track_commit_timestamp`), and the instant of receipt is when the client's
code has the message in hand; both are of the same clock. The peer is a bare grpc.aio server that passes the same
messages on to as many streams, without token, history or database. What delivering costs is what the server used above
what it used when it recorded as much and nobody watched.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncpg
from grpc import aio
from sqlalchemy.engine import make_url

from batzen._channel import Metadata, make_channel, streaming
from batzen.status.v1 import status_pb2
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.type.v1 import money_pb2, payment_pb2
from bench.echoes import Peer, running_peers
from bench.figures import Figures, Result, median, ms, percentile, times, us
from bench.machine import process, resident_bytes
from bench.peers import PUBLISH, WATCH, sample
from local.ports import free_ports
from local.storage import Storage, running_storage
from local.suite import Suite, running_suite
from services.runtime.database import plain_dsn

ROUNDS: Final = 3
WATCHERS: Final = 1_000
CONNECTIONS: Final = 20
PAYMENTS: Final = 250
"""So that four watch each: payer, seller, shop and a clerk."""
PER_S: Final = 150
"""Transitions recorded a second, 600 deliveries."""
RECORDED: Final = 900
"""Transitions of a round, with watchers and without."""
WARM_UP: Final = 150
OPENED_AT_ONCE: Final = 50
TIMEOUT_S: Final = 10.0
HEARD_WITHIN_S: Final = 30.0
LOCAL_POOL: Final = (("grpc.use_local_subchannel_pool", 1),)
"""Or all channels of a process to one server would share one connection."""

Say = Callable[[str], None]
Fact = tuple[str, int]
"""A payment and its revision."""
Record = Callable[[str, int], Awaitable[object]]


async def measure(say: Say) -> Result:
    """Run the bench, in about a minute and a half."""
    async with AsyncExitStack() as stack:
        suite, storage = await stack.enter_async_context(_status_alone())
        peers = await stack.enter_async_context(running_peers(suite.issuer, "bare", logs=suite.logs))
        subjects: list[_Subject] = [_Status(suite, storage), _Bare(peers["bare"])]
        for subject in subjects:
            await subject.prepare()
        rounds: list[dict[str, Any]] = []
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append({})
            for subject in reversed(subjects) if number % 2 else subjects:
                rounds[-1][subject.name] = await _round(subject)
    return Result(
        title=f"From a commit to {WATCHERS:,} watchers on {CONNECTIONS} connections",
        tables=[_table(rounds)],
        rounds=rounds,
    )


@asynccontextmanager
async def _status_alone() -> AsyncIterator[tuple[Suite, Storage]]:
    """Run status without the others, on a server that keeps the time of every commit."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-bench-")))
        directory.chmod(0o711)  # noqa: ASYNC240 once; PostgreSQL's unprivileged user has to enter it
        async with running_storage(directory, server_url=None, prefix="bench_") as storage:
            await _query(storage.admin_url, "ALTER SYSTEM SET track_commit_timestamp = on")
        storage = await stack.enter_async_context(running_storage(directory, server_url=None, prefix="bench_"))
        suite = await stack.enter_async_context(
            running_suite(directory / "suite", ports=free_ports(), storage=storage, services=("status",))
        )
        yield suite, storage


async def _query(url: str, query: str, *arguments: Any) -> list[Any]:
    connection = await asyncpg.connect(plain_dsn(url))
    try:
        return list(await connection.fetch(query, *arguments))
    finally:
        await connection.close()


class _Subject:
    """A server with payments that can be watched."""

    name: str

    def __init__(self) -> None:
        self.payments = [f"pay_{uuid.uuid4().hex[:26]}" for _ in range(PAYMENTS)]
        self.revisions = dict.fromkeys(self.payments, 1)

    async def prepare(self) -> None:
        """Make the payments."""

    async def restart(self) -> int:
        """Begin a round with a fresh process; returns its id."""
        raise NotImplementedError

    def channel(self) -> aio.Channel:
        """Return a channel with a connection of its own."""
        raise NotImplementedError

    def watch(self, channel: aio.Channel, payment_id: str) -> Any:
        """Open a watch; its first message says that it has begun."""
        raise NotImplementedError

    def recorder(self, channel: aio.Channel) -> Record:
        """Return what records a revision of a payment."""
        raise NotImplementedError

    async def happened(self) -> dict[Fact, float]:
        """Return when each revision became true, in seconds since the epoch."""
        raise NotImplementedError


class _Status(_Subject):
    name = "status"

    def __init__(self, suite: Suite, storage: Storage) -> None:
        super().__init__()
        self._suite = suite
        self._storage = storage
        # The watches are a service's, as those of a BFF; only the orchestrator writes.
        self._tokens = {name: suite.token("service", sub=name) for name in ("bff", "orchestrator")}

    async def prepare(self) -> None:
        async with self._channel("orchestrator") as channel:
            status = StatusServiceStub(channel)
            for payment_id in self.payments:
                request = status_pb2.OpenPaymentRequest(
                    request_id=str(uuid.uuid4()),
                    payment_id=payment_id,
                    payer_id="payer_1",
                    seller_ids=["seller_1"],
                    total=money_pb2.Money(amount_minor=12_000, currency_code="CHF"),
                )
                await status.OpenPayment(request)

    async def restart(self) -> int:
        await self._suite.restart("status")
        pid = self._suite.pid("status")
        assert pid is not None
        return pid

    def channel(self) -> aio.Channel:
        return self._channel("bff")

    def watch(self, channel: aio.Channel, payment_id: str) -> Any:
        return StatusServiceStub(channel).WatchPayment(status_pb2.WatchPaymentRequest(payment_id=payment_id))

    def recorder(self, channel: aio.Channel) -> Record:
        status = StatusServiceStub(channel)
        metadata = (("authorization", f"Bearer {self._tokens['orchestrator']}"),)

        async def record(payment_id: str, revision: int) -> None:
            request = status_pb2.RecordTransitionRequest(
                request_id=str(uuid.uuid4()),
                payment_id=payment_id,
                expected_revision=revision - 1,
                snapshot=_snapshot(revision),
            )
            await status.RecordTransition(request, metadata=metadata)

        return record

    async def happened(self) -> dict[Fact, float]:
        rows = await _query(
            make_url(self._storage.admin_url)
            .set(database=make_url(self._suite.database_url("status")).database)
            .render_as_string(hide_password=False),
            """SELECT payment_id, revision, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at
               FROM transitions""",
        )
        return {(row["payment_id"], row["revision"]): row["at"] for row in rows}

    def _channel(self, subject: str) -> aio.Channel:
        def metadata() -> Metadata:
            return (("authorization", f"Bearer {self._tokens[subject]}"),)

        return make_channel(self._suite.addresses.status, timeout_s=TIMEOUT_S, metadata=metadata, options=LOCAL_POOL)


class _Bare(_Subject):
    name = "bare"

    def __init__(self, peer: Peer) -> None:
        super().__init__()
        self._peer = peer
        self._happened: dict[Fact, float] = {}

    async def restart(self) -> int:
        await self._peer.child.kill()
        await self._peer.child.start()
        pid = self._peer.child.pid
        assert pid is not None
        async with asyncio.timeout(TIMEOUT_S), self.channel() as channel:
            await channel.channel_ready()
        return pid

    def channel(self) -> aio.Channel:
        return aio.insecure_channel(self._peer.address, options=LOCAL_POOL)

    def watch(self, channel: aio.Channel, payment_id: str) -> Any:
        start = channel.unary_stream(
            WATCH,
            request_serializer=status_pb2.WatchPaymentRequest.SerializeToString,
            response_deserializer=status_pb2.WatchPaymentResponse.FromString,
        )
        return start(status_pb2.WatchPaymentRequest(payment_id=payment_id))

    def recorder(self, channel: aio.Channel) -> Record:
        publish = channel.unary_unary(
            PUBLISH,
            request_serializer=status_pb2.WatchPaymentResponse.SerializeToString,
            response_deserializer=status_pb2.WatchPaymentResponse.FromString,
        )

        async def record(payment_id: str, revision: int) -> None:
            transition = status_pb2.Transition(
                payment_id=payment_id,
                revision=revision,
                request_id=str(uuid.uuid4()),
                state=payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
                phase=status_pb2.PHASE_COLLECTING,
                snapshot=_snapshot(revision),
            )
            updates = status_pb2.WatchPaymentResponse.Updates(transitions=[transition])
            answer = await publish(status_pb2.WatchPaymentResponse(updates=updates), timeout=TIMEOUT_S)
            published = answer.updates.transitions[0].record_time
            self._happened[payment_id, revision] = published.ToNanoseconds() / 1e9

        return record

    async def happened(self) -> dict[Fact, float]:
        return self._happened


def _snapshot(revision: int) -> payment_pb2.PaymentSnapshot:
    """Return what is true after one more declined card."""
    return payment_pb2.PaymentSnapshot(
        collection=payment_pb2.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
        cause=payment_pb2.PaymentSnapshot.CAUSE_OBSERVATION,
        amounts=payment_pb2.PaymentSnapshot.Amounts(),
        last_error=payment_pb2.PaymentError(
            code="card_declined", decline_code="insufficient_funds", message="Your card was declined.", recoverable=True
        ),
        method=sample().snapshot.method,
        attempt=1,
        decline_count=revision,
    )


@dataclass(slots=True)
class _Heard:
    """What watchers received, and when."""

    started: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    receipts: list[tuple[str, int, float]] = field(default_factory=list)


async def _round(subject: _Subject) -> dict[str, Any]:
    """Record alone, open the watches, record again."""
    pid = await subject.restart()
    used = process(pid)
    async with AsyncExitStack() as stack:
        channels = [await stack.enter_async_context(subject.channel()) for _ in range(CONNECTIONS)]
        record = subject.recorder(await stack.enter_async_context(subject.channel()))
        await _record(subject, record, count=WARM_UP)
        before = used()
        alone = await _record(subject, record, count=RECORDED)
        alone_s = used() - before
        gc.collect()

        heard = _Heard()
        memory, before, began = resident_bytes(pid), used(), time.perf_counter()
        tasks: list[asyncio.Task[None]] = []
        stack.push_async_callback(_cancel, tasks)
        for number in range(WATCHERS):
            call = subject.watch(channels[number % CONNECTIONS], subject.payments[number % PAYMENTS])
            tasks.append(asyncio.create_task(_follow(call, heard)))
            if len(tasks) > OPENED_AT_ONCE:
                await heard.started.acquire()
        for _ in range(min(OPENED_AT_ONCE, WATCHERS)):
            await heard.started.acquire()
        opened_s, open_cpu_s = time.perf_counter() - began, used() - before
        memory = resident_bytes(pid) - memory

        gc.collect()
        before = used()
        answered = await _record(subject, record, count=RECORDED)
        wanted = sum(WATCHERS // PAYMENTS for _ in answered)
        async with asyncio.timeout(HEARD_WITHIN_S):
            while len(heard.receipts) < wanted:
                for task in tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.05)
        watched_s = used() - before
    happened = await subject.happened()
    return {
        "memory_bytes": memory / WATCHERS,
        "open_cpu_s": open_cpu_s / WATCHERS,
        "opened_per_s": WATCHERS / opened_s,
        "record_cpu_s": alone_s / len(alone),
        "delivery_cpu_s": (watched_s - alone_s) / wanted,
        "after_commit_s": [at - happened[payment_id, revision] for payment_id, revision, at in heard.receipts],
        "after_answer_s": [at - answered[payment_id, revision] for payment_id, revision, at in heard.receipts],
    }


async def _record(subject: _Subject, record: Record, *, count: int) -> dict[Fact, float]:
    """Record transitions at a steady rate; returns when each was answered."""
    answered: dict[Fact, float] = {}
    revisions = subject.revisions

    async def one(payment_id: str) -> None:
        revision = revisions[payment_id] = revisions[payment_id] + 1
        await record(payment_id, revision)
        answered[payment_id, revision] = time.time()

    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for number in range(count):
            await asyncio.sleep(max(began + number / PER_S - loop.time(), 0))
            group.create_task(one(subject.payments[number % PAYMENTS]))
    return answered


async def _follow(call: Any, heard: _Heard) -> None:
    async with streaming(call) as messages:
        async for message in messages:
            now = time.time()
            if message.HasField("updates"):
                for transition in message.updates.transitions:
                    heard.receipts.append((transition.payment_id, transition.revision, now))
            else:
                heard.started.release()


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


def _table(rounds: list[dict[str, Any]]) -> Figures:
    def row(name: str, write: Callable[[float], str], value: Callable[[dict[str, Any]], float]) -> tuple[str, ...]:
        ours, bare = (median(value(one[kind]) for one in rounds) for kind in ("status", "bare"))
        ratio = median(value(one["status"]) / value(one["bare"]) for one in rounds)
        return name, write(ours), write(bare), times(ratio) if bare > 0 else ""

    def late(what: str, share: float) -> Callable[[dict[str, Any]], float]:
        return lambda one: percentile(one[what], share)

    return Figures(
        title=f"{PER_S} transitions/s, {PER_S * WATCHERS // PAYMENTS} deliveries/s",
        columns=("", "status", "bare grpc.aio", "ratio"),
        rows=[
            row("**from commit to watcher**, p50, ms", ms, late("after_commit_s", 0.5)),
            row("from commit to watcher, p99, ms", ms, late("after_commit_s", 0.99)),
            row("from the recorder's answer to watcher, p50, ms", ms, late("after_answer_s", 0.5)),
            row("from the recorder's answer to watcher, p99, ms", ms, late("after_answer_s", 0.99)),
            row("processor time per delivery, µs", us, lambda one: one["delivery_cpu_s"]),
            row("processor time per recorded transition, µs", us, lambda one: one["record_cpu_s"]),
            row("processor time to open a watch, µs", us, lambda one: one["open_cpu_s"]),
            row("memory per watch, KiB", lambda size: f"{size / 1024:.1f}", lambda one: one["memory_bytes"]),
        ],
        notes=(
            "All in one client process, whose own work counts as waiting. The bare server has no commit: its time runs "
            "from when it begins to pass a message on. Status' includes PostgreSQL's flush to the disk.",
        ),
    )
