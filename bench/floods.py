"""How long a well-behaved caller waits while somebody floods status with frames of bare HTTP/2.

The caller reads a payment, and now and then moves it and sees the move on its watch, on connections of its own; nothing
is tried again. The attacker is a process of its own on the same machine, and sends as fast as status takes it. What
each flood is says its function in `tests/runtime/flooding.py`. Beside it stands the same caller in peace, of the same
round.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from grpc import aio

from batzen._channel import make_channel, streaming
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from bench.figures import Figures, Result, median, ms, percentile, times
from bench.machine import peak_bytes, resident_bytes, restart_peak
from local.ports import free_ports
from local.suite import Suite, running_suite
from services.status.__main__ import LIMITS
from tests.runtime.flooding import FLOODS, Target, attack
from tests.status.samples import open_request, record_request, snapshot

ROUNDS: Final = 3
FLOOD_S: Final = 3.0
PAUSE_S: Final = 0.002
"""Of the caller, after each answer."""
CALLS_PER_MOVE: Final = 20
TIMEOUT_S: Final = 10.0
UNITS_MAX: Final = 100_000_000
NEVER_READ: Final = 512
"""Watches, on eight connections."""
GOAL_S: Final = 0.1
"""What others may wait at p99, whatever somebody floods the server with."""
QUIET: Final = "nothing"
ONE_TRY: Final = (("grpc.service_config", "{}"), ("grpc.use_local_subchannel_pool", 1))
SERVICE: Final = "/batzen.status.v1.StatusService"

Say = Callable[[str], None]


async def measure(say: Say) -> Result:
    """Run the bench, in about two and a half minutes."""
    rounds: list[dict[str, Any]] = []
    async with _status_alone() as suite:
        for number in range(ROUNDS):
            await suite.restart("status")
            rounds.append({})
            async with _caller(suite) as caller:
                for kind in (QUIET, *FLOODS):
                    say(f"round {number + 1} of {ROUNDS}, {kind}")
                    rounds[-1][kind] = await _one(suite, caller, kind)
    return Result(title="A well-behaved caller of status under floods", tables=[_table(rounds)], rounds=rounds)


@asynccontextmanager
async def _status_alone() -> AsyncIterator[Suite]:
    with tempfile.TemporaryDirectory(prefix="batzen-bench-") as name:
        directory = Path(name)
        directory.chmod(0o711)  # noqa: ASYNC240 once; PostgreSQL's unprivileged user has to enter it
        async with running_suite(directory / "suite", ports=free_ports(), services=("status",)) as suite:
            yield suite


@dataclass(slots=True)
class _Caller:
    orchestrator: StatusServiceStub
    shop: StatusServiceStub
    payment_id: str
    revision: int = 1
    heard: int = 1
    failures: list[str] = field(default_factory=list)
    told: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Watch the payment; whatever is missed or ends the watch is a failure."""
        request = pb.WatchPaymentRequest(payment_id=self.payment_id, after_revision=1)
        try:
            async with streaming(self.shop.WatchPayment(request)) as messages:
                async for message in messages:
                    for transition in message.updates.transitions:
                        if transition.revision != self.heard + 1:
                            self.failures.append(f"revision {transition.revision} after {self.heard}")
                        self.heard = transition.revision
                    self.told.set()
        except aio.AioRpcError as error:
            self.failures.append(f"the watch: {error.code().name}")
            self.told.set()

    async def read(self) -> float:
        """Read the payment, and return how long that took."""
        began = time.perf_counter()
        try:
            await self.shop.GetPayment(pb.GetPaymentRequest(payment_id=self.payment_id))
        except aio.AioRpcError as error:
            self.failures.append(error.code().name)
        return time.perf_counter() - began

    async def move(self) -> None:
        request = record_request(self.payment_id, expected=self.revision, to=snapshot(attempt=self.revision))
        try:
            await self.orchestrator.RecordTransition(request)
        except aio.AioRpcError as error:
            self.failures.append(error.code().name)
        else:
            self.revision += 1

    async def caught_up(self) -> None:
        """Return once the watch has told everything, or failed."""
        async with asyncio.timeout(TIMEOUT_S):
            while self.heard < self.revision and not self.failures:
                self.told.clear()
                await self.told.wait()


@asynccontextmanager
async def _caller(suite: Suite) -> AsyncIterator[_Caller]:
    async with AsyncExitStack() as stack:
        orchestrator, shop = [
            StatusServiceStub(await stack.enter_async_context(_channel(suite, subject)))
            for subject in ("orchestrator", "shop")
        ]
        payment = (await orchestrator.OpenPayment(open_request())).payment
        caller = _Caller(orchestrator, shop, payment.payment_id)
        following = asyncio.create_task(caller.follow())
        stack.callback(following.cancel)
        for _ in range(300):
            await caller.read()
        yield caller


def _channel(suite: Suite, subject: str) -> aio.Channel:
    metadata = (("authorization", f"Bearer {suite.token('service', sub=subject)}"),)
    return make_channel(suite.addresses.status, timeout_s=TIMEOUT_S, metadata=lambda: metadata, options=ONE_TRY)


async def _one(suite: Suite, caller: _Caller, kind: str) -> dict[str, Any]:
    """Call for as long as a flood takes, or as long in peace."""
    pid = suite.pid("status")
    memory = resident_bytes(pid)
    restart_peak(pid)
    caller.failures.clear()
    async with AsyncExitStack() as stack:
        flood = None
        if kind != QUIET:
            flood = await stack.enter_async_context(attack(kind, _target(suite, caller, kind)))
        waited, end = [], time.perf_counter() + FLOOD_S
        while time.perf_counter() < end:
            waited.append(await caller.read())
            if len(waited) % CALLS_PER_MOVE == 0:
                await caller.move()
            await asyncio.sleep(PAUSE_S)
        outcome = None if flood is None else await flood
    await caller.caught_up()
    return {
        "waited_s": waited,
        "failures": list(caller.failures),
        "memory_bytes": peak_bytes(pid) - memory,
        "units_per_s": 0 if outcome is None else outcome.units / FLOOD_S,
        "received": {} if outcome is None else outcome.received,
    }


def _target(suite: Suite, caller: _Caller, kind: str) -> Target:
    waits = kind == "never_reading"
    return Target(
        port=suite.ports["status"],
        path=f"{SERVICE}/WatchPayment" if waits else f"{SERVICE}/GetPayment",
        request=pb.GetPaymentRequest(payment_id=caller.payment_id).SerializeToString(),  # a WatchPaymentRequest, too
        token=suite.token("service", sub="attacker"),
        units=NEVER_READ if waits else UNITS_MAX,
        seconds=FLOOD_S,
        connections=8 if waits else 1,
    )


def _table(rounds: list[dict[str, Any]]) -> Figures:
    def row(kind: str) -> tuple[str, ...]:
        def late(one: dict[str, Any], share: float, of: str = kind) -> float:
            return percentile(one[of]["waited_s"], share)

        p99 = median(late(one, 0.99) for one in rounds)
        ratio = median(late(one, 0.99) / late(one, 0.99, QUIET) for one in rounds)
        units = median(one[kind]["units_per_s"] for one in rounds)
        return (
            kind.replace("_", " "),
            ms(median(late(one, 0.5) for one in rounds)),
            f"**{ms(p99)}**" if p99 <= GOAL_S else f"**{ms(p99)}**, over the goal",
            "" if kind == QUIET else times(ratio),
            str(sum(len(one[kind]["failures"]) for one in rounds)),
            f"{max(one[kind]['memory_bytes'] for one in rounds) / 2**20:.0f}",
            f"{units:,.0f}" if units else "",
        )

    return Figures(
        title="flood, by one connection as fast as it goes",
        columns=("", "p50, ms", "p99, ms", "p99 / in peace", "failed calls", "memory, MiB", "calls or frames/s"),
        rows=[row(kind) for kind in (QUIET, *FLOODS)],
        notes=(
            f"The goal is a p99 of {ms(GOAL_S)} ms. Attacker, caller, status and PostgreSQL share this machine's "
            "processors. Memory is how much more status had during a flood than right before, the most of all rounds.",
            "gRPC picks calls up in the order they came, those that were reset, too: others wait behind as many as one "
            f"connection may have, {LIMITS.streams_per_connection_max:,}.",
        ),
    )
