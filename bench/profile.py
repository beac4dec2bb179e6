"""Where the processor time of a service goes: of its main thread, by layer and by function, by that thread's clock."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from bench.arms import LOOPS, Arm, payers_of, running_suite_of, written
from bench.counts import Taken, counted
from bench.figures import Figures, Result, ms
from bench.machine import Meter, main_thread, process
from bench.shop import Payer
from bench.trees import copy_here

SAMPLED: Final = 400
"""Payments: about 2,000 samples of the busiest service."""
WARM_UP: Final = 64
WRITTEN_S: Final = 30.0
LAYERS: Final = 40
FUNCTIONS: Final = 60
EVERYWHERE: Final = 0.95
"""What is below so many samples is the loop and what started it."""
STATEMENTS_FROM: Final = 0.05
"""A payment."""
_STANDARD: Final = f"{sysconfig.get_path('stdlib')}/"
_HOSTS: Final = ("local/", "services/runtime/process/", "grpc_tools/")
"""Start everything else, and are no layer of their own."""


async def profiled(say: Callable[[str], None], service: str) -> Result:
    """Take payments at this checkout's suite, and tell where one of its services spends its time."""
    async with AsyncExitStack() as stack:
        say("the suite is started")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-bench-")))
        tree, file = folder / "tree", folder / "profile.json"
        tree.mkdir()
        await copy_here(tree)
        environment = {
            "PYTHONPATH": str(Path(__file__).parent / "profiled"),
            "BENCH_PROFILED": f"services.{service}",
            "BENCH_PROFILE": str(file),
        }
        suite = running_suite_of(tree, name="profiled", folder=folder, environment=environment)
        arm = await stack.enter_async_context(suite)
        known = [arm.till.new_payer() for _ in range(LOOPS)]
        say("warming up")
        await arm.pay(payers_of(arm.till, known, WARM_UP))
        say("statements are counted")
        taken = (await counted([arm], {arm.name: known}))[arm.name]
        say("sampling")
        used_s, main_s, samples = await _sampled(arm, arm.pids[service], known, file)
        return Result(
            title=f"Where a payment's {ms(used_s)} ms in {service} go: {ms(main_s)} in its main thread",
            tables=[*_shares(samples, main_s, tree=tree), _statements(taken, service)],
            rounds=[{"samples": samples}],
        )


async def _sampled(arm: Arm, pid: int, known: list[Payer], file: Path) -> tuple[float, float, dict[str, int]]:
    meter = Meter({"process": process(pid), "main thread": main_thread(pid)})
    payers = payers_of(arm.till, known, SAMPLED)
    os.kill(pid, signal.SIGUSR1)
    meter.start()
    await arm.pay(payers)
    used = meter.read()
    os.kill(pid, signal.SIGUSR2)
    await written(file, within_s=WRITTEN_S)
    return used["process"] / SAMPLED, used["main thread"] / SAMPLED, json.loads(await asyncio.to_thread(file.read_text))


def _shares(samples: dict[str, int], each_s: float, *, tree: Path) -> list[Figures]:
    layers: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    deepest: Counter[str] = Counter()
    for stack, count in samples.items():
        frames = [_frame(frame, tree=tree) for frame in stack.split(";")]
        layers[next((layer for layer, _ in reversed(frames) if layer), "asyncio and what started it")] += count
        for function in {function for _, function in frames}:
            functions[function] += count
        deepest[frames[-1][1]] += count
    total = sum(samples.values())
    inclusive = Counter({name: count for name, count in functions.items() if count < total * EVERYWHERE})

    def table(title: str, counts: Counter[str], most: int, *notes: str) -> Figures:
        rows: list[tuple[str, ...]] = [
            (name, f"{count / total:.1%}", ms(each_s * count / total)) for name, count in counts.most_common(most)
        ]
        return Figures(title=title, columns=("", "share", "ms a payment"), rows=rows, notes=notes)

    return [
        table(
            "By layer, with what it calls of the standard library and of C",
            layers,
            LAYERS,
            f"{total} samples of the main thread. The others are gRPC's and the log's.",
        ),
        table("By function, with all below it", inclusive, FUNCTIONS),
        table("By function, without what it calls in Python", deepest, LAYERS),
    ]


def _frame(frame: str, *, tree: Path) -> tuple[str, str]:
    """Return the layer of a frame, empty for what belongs to whoever called it, and its name."""
    file, _, function = frame.rpartition(":")
    if "site-packages/" in file:
        where = file.partition("site-packages/")[2]
        return where.partition("/")[0], f"{where}:{function}"
    if file.startswith(str(tree)):
        where = file.removeprefix(f"{tree}/")
        is_layer = not where.startswith(_HOSTS) and not where.endswith("__main__.py")
        return where if is_layer else "", f"{where}:{function}"
    return "", f"{file.removeprefix(_STANDARD)}:{function}"


def _statements(taken: Taken, service: str) -> Figures:
    return Figures(
        title="Its statements",
        columns=("", "a payment"),
        rows=[
            (text.partition(": ")[2], f"{count:.2f}")
            for text, count in taken.each["statements"].items()
            if text.startswith(f"{service}: ") and count >= STATEMENTS_FROM
        ],
    )
