"""What traces cost a payment: while they are off, at the ratio of production, and of every call.

Four suites of this checkout take turns, so that whatever else runs on the machine meets each alike: one without traces,
the same once more, which shows what two equal ones differ by, and two that are traced. What counts are ratios of
processor time in the same round. Spans go to a collector here, which throws them away and is no part of the figures.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
from grpc import aio

from bench.arms import LOOPS, Arm, payers_of, running_suite_of
from bench.figures import Figures, Result, median, ms, times
from bench.goals import Goal, at_most
from bench.machine import Meter, everything
from bench.trees import copy_here
from local.environments import SERVICES

ROUNDS: Final = 8
SLICE: Final = 48
"""Payments of an arm in one turn."""
WARM_UP: Final = 64
IDLE_S: Final = 4.0
OFF: Final = "off"
OFF_AGAIN: Final = "off, once more"
SOME: Final = "10 % of all calls"
ALL: Final = "every call"
SHARE: Final = 0.1
RATIOS: Final = {OFF: None, OFF_AGAIN: None, SOME: str(SHARE), ALL: "1"}
SERVICE: Final = "opentelemetry.proto.collector.trace.v1.TraceService"

Say = Callable[[str], None]
Round = dict[str, Any]


async def measure(say: Say) -> Result:
    """Run the bench, in about four minutes."""
    async with AsyncExitStack() as stack:
        say("four suites are started")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-bench-")))
        collector = await stack.enter_async_context(_collector())
        arms = [
            await stack.enter_async_context(
                _suite(name, folder, ratio, tree=folder / f"suite {number}", collector=collector)
            )
            for number, (name, ratio) in enumerate(RATIOS.items())
        ]
        bench = _Bench(arms)
        say("warming up")
        await bench.warm_up()
        gc.collect()
        gc.freeze()
        await bench.idle()
        rounds = []
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append(await bench.round(number))
        return Result(title="What traces cost", tables=[_figures(rounds)], rounds=rounds)


@asynccontextmanager
async def _collector() -> AsyncIterator[str]:
    """Take what is exported and forget it; yields where."""

    async def export(_request: bytes, _context: object) -> bytes:
        return b""  # an empty answer says that all was taken

    server = aio.server()
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.unary_unary_rpc_method_handler(export)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {"Export": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@asynccontextmanager
async def _suite(name: str, folder: Path, ratio: str | None, *, tree: Path, collector: str) -> AsyncIterator[Arm]:
    await copy_here(tree)
    traced = {} if ratio is None else {"BATZEN_OTLP_ENDPOINT": collector, "BATZEN_TRACE_RATIO": ratio}
    async with running_suite_of(tree, name=name, folder=folder, environment=traced) as arm:
        yield arm


class _Bench:
    def __init__(self, arms: list[Arm]) -> None:
        self._arms = arms
        self._known = {arm.name: [arm.till.new_payer() for _ in range(LOOPS)] for arm in arms}
        self._idle_cores: dict[str, float] = {}

    async def warm_up(self) -> None:
        for arm in self._arms:
            await arm.pay(payers_of(arm.till, self._known[arm.name], WARM_UP))

    async def idle(self) -> None:
        """Find how much of a core the services of each use while nothing is asked of them."""
        meters = {arm.name: Meter(_services(arm)) for arm in self._arms}
        began = time.perf_counter()
        await asyncio.sleep(IDLE_S)
        seconds = time.perf_counter() - began
        self._idle_cores = {name: sum(meter.read().values()) / seconds for name, meter in meters.items()}

    async def round(self, number: int) -> Round:
        """Let every arm take its turn, each time another one first."""
        first = number % len(self._arms)
        machine, began = Meter({"machine": everything}), time.perf_counter()
        used = {arm.name: await self._slice(arm) for arm in self._arms[first:] + self._arms[:first]}
        cores = machine.read()["machine"] / (time.perf_counter() - began)
        return {"cpu_s": used, "machine_cores": cores}

    async def _slice(self, arm: Arm) -> float:
        """Return the processor time that the four services take for one payment."""
        meter, began = Meter(_services(arm)), time.perf_counter()
        await arm.pay(payers_of(arm.till, self._known[arm.name], SLICE))
        seconds = time.perf_counter() - began
        return (sum(meter.read().values()) - self._idle_cores[arm.name] * seconds) / SLICE


def _services(arm: Arm) -> dict[str, Callable[[], float]]:
    return {name: clock for name, clock in arm.clocks().items() if name in SERVICES}


def _figures(rounds: list[Round]) -> Figures:
    noise = [one["cpu_s"][OFF_AGAIN] / one["cpu_s"][OFF] for one in rounds]

    def base(one: Round) -> float:
        """Both arms without traces: half the noise of one."""
        return float(one["cpu_s"][OFF] + one["cpu_s"][OFF_AGAIN]) / 2

    def spread(ratios: list[float], goal: Goal | None) -> tuple[str, ...]:
        ratio = median(ratios)
        judged = ("", "") if goal is None else (goal.bounds()[0], goal.holds(ratio))
        return f"{times(ratio)} ({times(min(ratios))} to {times(max(ratios))})", *judged

    def row(name: str, ratios: list[float], goal: Goal | None) -> tuple[str, ...]:
        return name, ms(median(one["cpu_s"][name] for one in rounds)), *spread(ratios, goal)

    all_of_them = [one["cpu_s"][ALL] / base(one) for one in rounds]
    by_proportion = [1 + SHARE * (ratio - 1) for ratio in all_of_them]
    cores = [one["machine_cores"] for one in rounds]
    return Figures(
        title="CPU of the four services for one payment",
        columns=("traces", "ms", "beside off", "must", "holds"),
        rows=[
            row(OFF, [1.0], None),
            row(OFF_AGAIN, noise, None),
            row(SOME, [one["cpu_s"][SOME] / base(one) for one in rounds], at_most(1.05)),
            row(ALL, all_of_them, None),
            ("10 %, as a tenth of what every call adds", "", *spread(by_proportion, at_most(1.05))),
        ],
        notes=(
            f"Medians of {len(rounds)} rounds, in brackets the smallest and the largest. {LOOPS} payments at once, "
            "with webhooks and all that follows from them, less what is used idle; export included, the collector not. "
            "The second row is the noise: both are the same. All others stand beside the mean of the first two; the "
            "last is computed, since what a tenth adds is less than the noise of a busy machine. "
            f"All together {min(cores):.1f} to {max(cores):.1f} cores of the machine were in use.",
        ),
        is_for_summary=False,
    )
