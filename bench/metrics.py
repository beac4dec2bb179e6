"""What metrics cost a payment, and what a scrape takes.

Three suites of this checkout take turns, so that whatever else runs on the machine meets each alike: one without
metrics, the same once more, which shows what two equal ones differ by, and one with them. What counts are ratios of
processor time in the same round. A scrape is measured by itself, since it comes by the clock and not with a payment.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp

from bench.arms import LOOPS, SETTINGS, SHOP, Arm, payers_of
from bench.database import running_postgres
from bench.figures import Figures, Result, median, ms, times, us
from bench.machine import Meter, everything, process
from bench.shop import SELLER, Shop, clients_of_payers
from local.environments import SERVICES
from local.ports import HOST, free_ports
from local.start import add_seller
from local.suite import Suite, running_suite

BASELINE: Final = "off"
NOISE: Final = "off, once more"
METRICS: Final = "on"
NOTHING: Final = {"BATZEN_METRICS_LISTEN": ""}
TOLD: Final[Mapping[str, Mapping[str, str]]] = {BASELINE: NOTHING, NOISE: NOTHING, METRICS: {}}
"""What each suite is told beside what the suite on one machine always is, which has metrics."""
ROUNDS: Final = 8
SLICE: Final = 64
"""Payments of one turn."""
WARM_UP: Final = 96
IDLE_S: Final = 4.0
SCRAPES: Final = 20

Say = Callable[[str], None]
Round = dict[str, Any]


async def measure(say: Say) -> Result:
    """Run the bench, in about three minutes."""
    async with AsyncExitStack() as stack:
        say("the suites are started")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-metrics-")))
        arms = [await stack.enter_async_context(_running(name, told, folder)) for name, told in TOLD.items()]
        known = {arm.name: [arm.till.new_payer() for _ in range(LOOPS)] for arm, _ in arms}
        say("warming up")
        for arm, _ in arms:
            await arm.pay(payers_of(arm.till, known[arm.name], WARM_UP))
        gc.collect()
        gc.freeze()
        idle = await _idle([arm for arm, _ in arms])
        rounds = []
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            turns = arms[number % len(arms) :] + arms[: number % len(arms)]
            machine, began = Meter({"machine": everything, "load client": time.process_time}), time.perf_counter()
            costs = {arm.name: await _slice(arm, known[arm.name], idle[arm.name]) for arm, _ in turns}
            used = machine.read()
            rounds.append({"cpu_s": costs, "cores": used["machine"] / (time.perf_counter() - began)})
        say("scrapes")
        scrapes = await _scrapes(next(one for one in arms if one[0].name == METRICS))
        return Result(
            title="What metrics cost",
            tables=[_costs(rounds), _scraped(scrapes)],
            rounds=[*rounds, {"scrape": scrapes}],
        )


@asynccontextmanager
async def _running(name: str, told: Mapping[str, str], folder: Path) -> AsyncIterator[tuple[Arm, Suite]]:
    """Run a suite of this checkout on a database server of its own, every service told the same."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres(*SETTINGS))
        suite = await stack.enter_async_context(
            running_suite(
                folder / name.replace(" ", "-").replace(",", ""),
                ports=free_ports(),
                server_url=postgres.server.admin_url,
                extra=dict.fromkeys(SERVICES, told),
            )
        )
        shop = await stack.enter_async_context(suite.client("service", sub=SHOP))
        await add_seller(shop, SELLER)
        payers = await stack.enter_async_context(clients_of_payers(suite.addresses))
        pids = {service: suite.pid(service) for service in (*SERVICES, "sandbox")}
        yield (
            Arm(
                name=name,
                till=Shop(shop=shop, payers=payers, token_of=lambda payer: suite.token("payer", sub=payer)),
                pids={service: pid for service in SERVICES if (pid := pids[service]) is not None},
                sandbox=suite.sandbox,
                sandbox_pid=pids["sandbox"] or 0,
                postgres=postgres,
                logs={service: suite.logs / f"{service}.log" for service in SERVICES},
            ),
            suite,
        )


async def _idle(arms: list[Arm]) -> dict[str, dict[str, float]]:
    """Return what share of a core each process uses while nothing is asked of it."""
    meters = {arm.name: Meter(arm.clocks()) for arm in arms}
    began = time.perf_counter()
    await asyncio.sleep(IDLE_S)
    seconds = time.perf_counter() - began
    return {
        name: {process: used_s / seconds for process, used_s in meter.read().items()} for name, meter in meters.items()
    }


async def _slice(arm: Arm, known: list[Any], idle: Mapping[str, float]) -> dict[str, float]:
    """Return the processor time of one payment, by process."""
    payers = payers_of(arm.till, known, SLICE)
    meter, began = Meter(arm.clocks()), time.perf_counter()
    await arm.pay(payers)
    seconds = time.perf_counter() - began
    return {name: (used_s - idle[name] * seconds) / SLICE for name, used_s in meter.read().items()}


async def _scrapes(observed: tuple[Arm, Suite]) -> dict[str, dict[str, float]]:
    """Return what one scrape takes each service, and how long its answer is."""
    arm, suite = observed
    found = {}
    async with aiohttp.ClientSession() as session:
        for service in SERVICES:
            url, size = f"http://{HOST}:{suite.ports[f'{service}-metrics']}/metrics", 0
            meter = Meter({service: process(arm.pids[service])})
            for _ in range(SCRAPES):
                async with session.get(url) as answer:
                    size = len(await answer.read())
            found[service] = {"cpu_s": meter.read()[service] / SCRAPES, "bytes": size}
    return found


def _costs(rounds: list[Round]) -> Figures:
    def services_s(one: Round, arm: str) -> float:
        used: Mapping[str, float] = one["cpu_s"][arm]
        return sum(used[service] for service in SERVICES)

    rows: list[tuple[str, ...]] = []
    for arm in TOLD:
        ratios = [services_s(one, arm) / services_s(one, BASELINE) for one in rounds]
        database = median(one["cpu_s"][arm]["PostgreSQL"] / one["cpu_s"][BASELINE]["PostgreSQL"] for one in rounds)
        cost = ms(median(services_s(one, arm) for one in rounds))
        spread = "" if arm == BASELINE else f"{median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        rows.append((arm, cost, spread, "" if arm == BASELINE else times(database)))
    cores = [one["cores"] for one in rounds]
    return Figures(
        title="CPU of the four services for a payment",
        columns=("metrics", "ms", "beside the first, of the same round", "PostgreSQL's, beside the first's"),
        rows=rows,
        notes=(
            f"{ROUNDS} rounds of {SLICE} payments, {LOOPS} at once; medians, in brackets the smallest and the largest. "
            f"The machine used {min(cores):.1f} to {max(cores):.1f} cores meanwhile, others' work included.",
        ),
        is_for_summary=False,
    )


def _scraped(scrapes: Mapping[str, Mapping[str, float]]) -> Figures:
    return Figures(
        title="One scrape",
        columns=("", "CPU, µs", "KB"),
        rows=[(service, us(one["cpu_s"]), f"{one['bytes'] / 1_000:.0f}") for service, one in scrapes.items()],
        notes=(f"Mean of {SCRAPES}; clocks of processes tick every 10 ms.",),
        is_for_summary=False,
    )
