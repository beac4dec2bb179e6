"""What a payment costs: before, at an earlier revision; after, in this checkout; and at a shop without any guarantee.

All three are up at once, and take turns in slices of a few seconds, so that whatever else runs on the machine meets
each alike. What counts are ratios of the same round; milliseconds move with the machine. The unit is an echo of our own
server *as it was before*: run from the earlier checkout, it does not move with what is measured. What the processes
use while nothing is asked of them is taken off.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from bench.arms import LOOPS, Arm, payers_of, running_plain_shop, running_suite_of
from bench.counts import Taken, counted
from bench.echoes import Peer, running_peers
from bench.figures import Figures, Result, median, ms, percentile, times, us
from bench.goals import Goal, at_most
from bench.machine import Meter, everything
from bench.profile import profiled
from bench.trees import check_out, copy_here
from local.environments import SERVICES

BEFORE: Final = "7717dcd4e007f4ed52b2586625cc814d40ebdc1f"
"""The suite before its cost was halved."""
ROUNDS: Final = 6
SLICE: Final = 48
"""Payments of a suite in one turn."""
SLICE_OF_SHOP: Final = 96
"""Of a shop, which has one process, and clocks of processes tick every 10 ms."""
STARTS: Final = 40
WARM_UP: Final = 64
IDLE_S: Final = 4.0
BETWEEN_STARTS_S: Final = 0.01
ECHO: Final = "echo"
SHOP: Final = "plain shop"
SHOP_BEFORE: Final = "the same with every event"
BESIDE: Final = {"before": SHOP_BEFORE, "after": SHOP}
"""Which shop gets the events that a suite gets."""
OURS: Final = "**the four services**"
DATABASE: Final = "PostgreSQL"
STAND_IN: Final = "stand-in for Stripe"

Say = Callable[[str], None]
Round = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Arms:
    before: Arm
    after: Arm
    shop: Arm
    """With the events that `after` gets."""
    shop_before: Arm
    """With every event, as `before`."""

    def all(self) -> tuple[Arm, ...]:
        return self.before, self.after, self.shop, self.shop_before


async def measure(say: Say, *, before: str = BEFORE, profile: str | None = None) -> Result:
    """Run the bench, in about five minutes; or the profile of a service, in one."""
    if profile is not None:
        return await profiled(say, profile)
    async with AsyncExitStack() as stack:
        say("two suites and a shop are started")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-bench-")))
        arms = await stack.enter_async_context(_running_arms(folder, before=before))
        issuer = arms.before.issuer
        assert issuer is not None
        peers = await stack.enter_async_context(running_peers(issuer, "factory", logs=folder, root=folder / "before"))
        bench = _Bench(arms, peers["factory"])
        say("warming up")
        await bench.warm_up()
        say("what a payment takes is counted")
        taken = await counted(arms.all(), bench.known)
        gc.collect()
        gc.freeze()
        await bench.idle()
        rounds = []
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append(await bench.round(number))
        return Result(
            title="What a payment costs",
            tables=[_costs(rounds, taken), _goals(rounds, taken)],
            rounds=[*rounds, {"counted": {name: asdict(one) for name, one in taken.items()}}],
        )


@asynccontextmanager
async def _running_arms(folder: Path, *, before: str) -> AsyncIterator[Arms]:
    async with AsyncExitStack() as stack:
        trees = {name: folder / name for name in ("before", "after")}
        for tree in trees.values():
            tree.mkdir()
        await asyncio.gather(check_out(before, trees["before"]), copy_here(trees["after"]))
        suites = [
            await stack.enter_async_context(running_suite_of(tree, name=name, folder=folder))
            for name, tree in trees.items()
        ]
        shops = [
            await stack.enter_async_context(running_plain_shop(name=name, folder=folder, every_event=every_event))
            for name, every_event in ((SHOP, False), (SHOP_BEFORE, True))
        ]
        yield Arms(before=suites[0], after=suites[1], shop=shops[0], shop_before=shops[1])


class _Bench:
    def __init__(self, arms: Arms, peer: Peer) -> None:
        self._arms = arms
        self._peer = peer
        self._idle: dict[str, dict[str, float]] = {}
        self.known = {arm.name: [arm.till.new_payer() for _ in range(LOOPS)] for arm in arms.all()}

    async def warm_up(self) -> None:
        for arm in self._arms.all():
            await arm.pay(payers_of(arm.till, self.known[arm.name], WARM_UP))
        await self._peer.echoes()

    async def idle(self) -> None:
        """Find what share of a core each process uses while nothing is asked of it."""
        meters = {arm.name: Meter(arm.clocks()) for arm in self._arms.all()}
        began = time.perf_counter()
        await asyncio.sleep(IDLE_S)
        for name, meter in meters.items():
            used = meter.read()
            seconds = time.perf_counter() - began
            self._idle[name] = {process: used_s / seconds for process, used_s in used.items()}

    async def round(self, number: int) -> Round:
        """Let every arm take its turn, each time another one first."""
        arms = list(self._arms.all())
        arms = arms[number % len(arms) :] + arms[: number % len(arms)]
        machine = Meter({"machine": everything} | _all_clocks(arms) | {"load client": time.process_time})
        began = time.perf_counter()
        echoes = [await self._peer.echoes()]
        slices = {arm.name: await self._slice(arm) for arm in arms}
        starts = await self._starts(arms)
        echoes.append(await self._peer.echoes())
        used = machine.read()
        ours_s = sum(one for name, one in used.items() if name != "machine")
        return {
            "echo": {
                "cpu_s": sum(one.cpu_s for one in echoes) / len(echoes),
                "p50_s": sum(one.p50_s for one in echoes) / len(echoes),
            },
            "cpu_s": slices,
            "start_s": starts,
            "others_cores": max(used["machine"] - ours_s, 0) / (time.perf_counter() - began),
        }

    async def _slice(self, arm: Arm) -> dict[str, float]:
        """Return the processor time of one payment, by process."""
        count = SLICE if arm.name in BESIDE else SLICE_OF_SHOP
        payers = payers_of(arm.till, self.known[arm.name], count)
        meter, began = Meter(arm.clocks()), time.perf_counter()
        await arm.pay(payers)
        seconds, idle = time.perf_counter() - began, self._idle[arm.name]
        return {name: (used_s - idle[name] * seconds) / count for name, used_s in meter.read().items()}

    async def _starts(self, arms: list[Arm]) -> dict[str, list[float]]:
        """Start payments one at a time, the arms and echoes in turn; return what each start took without the stand-in.

        Webhooks are held meanwhile: what they cost would count as waiting.
        """
        own: dict[str, list[float]] = {name: [] for name in (ECHO, *(arm.name for arm in arms))}
        for arm in arms:
            await arm.sandbox.webhooks(hold=True)
        for _ in range(STARTS):
            for arm in arms:
                await arm.sandbox.clear_metrics()
                began = time.perf_counter()
                await arm.till.start(self.known[arm.name][0])
                took_s = time.perf_counter() - began
                own[arm.name].append(took_s - sum(one["seconds"] for one in (await arm.sandbox.metrics()).values()))
                await asyncio.sleep(BETWEEN_STARTS_S)
                own[ECHO].append(await self._peer.echo())
                await asyncio.sleep(BETWEEN_STARTS_S)
        for arm in arms:
            await arm.sandbox.webhooks()
            await arm.sandbox.release()
            await arm.until_quiet()
        return own


def _all_clocks(arms: list[Arm]) -> dict[str, Callable[[], float]]:
    return {f"{arm.name}: {name}": clock for arm in arms for name, clock in arm.clocks().items()}


def _services_s(one: Round, arm: str) -> float:
    used: Mapping[str, float] = one["cpu_s"][arm]
    return sum(used_s for name, used_s in used.items() if name not in (DATABASE, STAND_IN))


def _database_s(one: Round, arm: str) -> float:
    return float(one["cpu_s"][arm][DATABASE])


def _start_s(one: Round, arm: str) -> float:
    return percentile(one["start_s"][arm], 0.5)


def _costs(rounds: list[Round], taken: dict[str, Taken]) -> Figures:
    def measured(name: str, value: Callable[[Round, str], float], *, has_shop: bool = True) -> tuple[str, ...]:
        values = {arm: median(value(one, arm) for one in rounds) for arm in ("before", "after")}
        shops = (ms(median(value(one, arm) for one in rounds)) if has_shop else "" for arm in (SHOP, SHOP_BEFORE))
        change = median(value(one, "after") / value(one, "before") for one in rounds)
        return name, ms(values["before"]), ms(values["after"]), times(change), *shops

    def of(process: str) -> Callable[[Round, str], float]:
        return lambda one, arm: float(one["cpu_s"][arm][process])

    def count(name: str, value: Callable[[Taken], float]) -> tuple[str, ...]:
        before, after, *shops = (value(taken[arm]) for arm in ("before", "after", SHOP, SHOP_BEFORE))
        change = times(after / before) if before else ""
        return name, f"{before:.1f}", f"{after:.1f}", change, *(f"{shop:.1f}" for shop in shops)

    return Figures(
        title="One payment, from start to succeeded",
        columns=("", "before", "after", "ratio", SHOP, SHOP_BEFORE),
        rows=[
            *(measured(f"CPU, ms: {service}", of(service), has_shop=False) for service in sorted(SERVICES)),
            measured(f"CPU, ms: {OURS}; the shop", _services_s),
            measured(f"CPU, ms: {DATABASE}", _database_s),
            measured(f"CPU, ms: {STAND_IN}", of(STAND_IN)),
            measured("`StartPayment` alone, own p50, ms", _start_s),
            count("RPCs served", lambda one: one.rpcs),
            count("SQL statements", lambda one: one.statements),
            count("commits", lambda one: one.commits),
            count("WAL, KB", lambda one: one.wal_bytes / 1_000),
            count("calls of Stripe", lambda one: one.stripe_calls),
            count("webhooks", lambda one: one.webhooks),
            count("log lines", lambda one: one.lines),
        ],
        notes=(
            f"{LOOPS} at once, half of them of payers who pay for the first time, for whom the suite makes a customer "
            "and the shops do not. CPU with webhooks and all that follows from them, less what is used idle. "
            "Statements without BEGIN and COMMIT; of the shops', asyncpg's pool adds one to each. Commits as "
            "PostgreSQL counts them, readings included. Autovacuum is off in all. "
            f"{_spread(rounds)}",
        ),
    )


def _spread(rounds: list[Round]) -> str:
    echo = median(one["echo"]["cpu_s"] for one in rounds)
    others = [one["others_cores"] for one in rounds]
    return (
        f"An echo takes {us(echo)} µs of processor, p50 {us(median(one['echo']['p50_s'] for one in rounds))} µs. "
        f"Others used {min(others):.1f} to {max(others):.1f} cores of the machine meanwhile."
    )


def _goals(rounds: list[Round], taken: dict[str, Taken]) -> Figures:
    def echoes(arm: str) -> list[float]:
        return [_services_s(one, arm) / one["echo"]["cpu_s"] for one in rounds]

    def starts(arm: str) -> list[float]:
        return [_start_s(one, arm) / one["echo"]["p50_s"] for one in rounds]

    def starts_at_once(arm: str) -> list[float]:
        return [_start_s(one, arm) / _start_s(one, ECHO) for one in rounds]

    def beside(value: Callable[[Round, str], float]) -> Callable[[str], list[float]]:
        return lambda arm: [value(one, arm) / value(one, BESIDE[arm]) for one in rounds]

    def row(what: str, values: Callable[[str], list[float]], goal: Goal | None = None) -> tuple[str, ...]:
        after = values("after")
        spread = f" ({times(min(after))} to {times(max(after))})" if len(after) > 1 else ""
        return (
            f"**{what}**",
            times(median(values("before"))),
            f"{times(median(after))}{spread}",
            *(("", "") if goal is None else (goal.bounds()[0], goal.holds(median(after)))),
        )

    return Figures(
        title="In ratios of the same round",
        columns=("", "before", "after", "must", "holds"),
        rows=[
            row("CPU of the four services, in echoes", echoes, at_most(45)),
            row(
                "CPU of the four services, beside the plain shop with the same events",
                beside(_services_s),
                at_most(1.3),
            ),
            row(
                "CPU of the four services, beside the plain shop with every event",
                lambda arm: [_services_s(one, arm) / _services_s(one, SHOP_BEFORE) for one in rounds],
            ),
            row("CPU of PostgreSQL, beside the plain shop's", beside(_database_s), at_most(3.5)),
            row("`StartPayment`, own p50, in echoes' p50, one after another", starts, at_most(18)),
            row("the same, in echoes between the starts", starts_at_once),
            row("RPCs served", lambda arm: [taken[arm].rpcs], at_most(8)),
            row("SQL statements", lambda arm: [taken[arm].statements], at_most(18)),
            row("commits", lambda arm: [taken[arm].commits], at_most(16)),
        ],
        notes=("Medians of the rounds, in brackets the smallest and the largest.",),
        is_for_summary=False,
    )
