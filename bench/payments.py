"""A payment from its start to its success, through the whole suite as processes, each with its own database.

One at a time: how long `StartPayment` and `SubmitPayment` take, and how much of that the stand-in for Stripe took by
its own clock; what remains is ours, HTTP to Stripe included. Together: how much processor time a payment takes of each
process, webhooks and all that follows included. Echoes of a bare grpc.aio server and of ours take turns with both.
"""

from __future__ import annotations

import asyncio
import gc
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench.echoes import Peer, running_peers
from bench.figures import Figures, Result, median, ms, percentile, times, us
from bench.machine import Meter, everything, postgres_pid, process, process_and_children
from bench.shop import LocalShop, Payer, open_shop
from local.environments import SERVICES
from local.ports import free_ports
from local.storage import running_storage
from local.suite import Suite, running_suite

COUNTED: Final = 3
"""Rounds whose figures count: those in which others used the machine least."""
ROUNDS: Final = 5
ROUNDS_S: Final = 60.0
"""When rounds have taken as long, there is no other one than those that count."""
ALONE: Final = 40
"""Payments of a round one at a time; every other is the first of its payer, for whom Stripe makes a customer."""
TOGETHER: Final = 160
LOOPS: Final = 16
WARM_UP: Final = 32
IDLE_S: Final = 2.0
WEBHOOK_DELAY_S: Final = 0.2
"""While payments are taken one at a time. The stand-in would send at once, and what its webhooks cost us would count as
waiting for the call that caused them; Stripe's come a second later."""
OURS: Final = "the four services"

Say = Callable[[str], None]


async def measure(say: Say) -> Result:
    """Run the bench, in about a minute and a half."""
    async with AsyncExitStack() as stack:
        suite, server_pid = await stack.enter_async_context(suite_on_own_server())
        shop = await stack.enter_async_context(open_shop(suite))
        peers = await stack.enter_async_context(running_peers(suite.issuer, "bare", "factory", logs=suite.logs))
        bench = _Bench(suite, shop, peers, server_pid=server_pid)
        say("warming up")
        await bench.together(WARM_UP, watched=True)
        for peer in peers.values():
            await peer.echoes()
        gc.collect()
        gc.freeze()
        idle = await bench.idle()
        rounds = []
        began = time.monotonic()
        for number in range(ROUNDS):
            if number >= COUNTED and time.monotonic() - began > ROUNDS_S:
                break
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append(await bench.round(backwards=bool(number % 2)))
        quiet = sorted(rounds, key=lambda one: one["alone"]["others_cores"] + one["together"]["others_cores"])[:COUNTED]
        return Result(
            title="From start to succeeded, through the whole suite",
            tables=[_latencies(quiet), _processor(quiet, idle), _ratios(quiet), _stripe(quiet)],
            rounds=rounds,
        )


@asynccontextmanager
async def suite_on_own_server() -> AsyncIterator[tuple[Suite, int]]:
    """Run a suite on an embedded server of its own, and tell the server's process id."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-bench-")))
        directory.chmod(0o711)  # noqa: ASYNC240 once; PostgreSQL's unprivileged user has to enter it
        storage = await stack.enter_async_context(running_storage(directory, server_url=None, prefix="bench_"))
        suite = await stack.enter_async_context(running_suite(directory / "suite", ports=free_ports(), storage=storage))
        yield suite, await postgres_pid(storage.admin_url)


class _Bench:
    def __init__(self, suite: Suite, shop: LocalShop, peers: dict[str, Peer], *, server_pid: int) -> None:
        self._suite = suite
        self._shop = shop
        self._peers = peers
        self._meter = Meter(
            {service: process(suite.pid(service)) for service in SERVICES}
            | {
                "PostgreSQL": process_and_children(server_pid),
                "stand-in for Stripe": process(suite.pid("sandbox")),
                "load client": time.process_time,
                "machine": everything,
            }
        )
        self._known = [shop.new_payer() for _ in range(LOOPS)]

    async def round(self, *, backwards: bool) -> dict[str, Any]:
        """Measure everything once."""
        steps: dict[str, Callable[[], Any]] = {
            "bare": self._peers["bare"].echoes,
            "alone": self.alone,
            "factory": self._peers["factory"].echoes,
            "together": lambda: self.together(TOGETHER),
            "watched": lambda: self.together(TOGETHER, watched=True),
        }
        figures = {name: await step() for name, step in (reversed(steps.items()) if backwards else steps.items())}
        return {name: one if isinstance(one, dict) else asdict(one) for name, one in figures.items()}

    async def alone(self) -> dict[str, Any]:
        """Take payments one at a time, each left to its end before the next."""
        sandbox = self._suite.sandbox
        self._meter.start()
        all_began = time.perf_counter()
        waited: dict[str, list[float]] = {}
        own: dict[str, list[float]] = {}
        routes: dict[str, dict[str, float]] = {}

        async def timed(what: str, call: Any) -> Any:
            await sandbox.clear_metrics()
            began = time.perf_counter()
            answer = await call
            took_s = time.perf_counter() - began
            metrics = await sandbox.metrics()
            waited.setdefault(what, []).append(took_s)
            own.setdefault(what, []).append(took_s - sum(one["seconds"] for one in metrics.values()))
            for route, one in metrics.items():
                known = routes.setdefault(route, {"count": 0, "seconds": 0.0})
                known["count"] += one["count"]
                known["seconds"] += one["seconds"]
            return answer

        await sandbox.webhooks(delay_s=WEBHOOK_DELAY_S)
        for number in range(ALONE):
            is_new = bool(number % 2)
            payer = self._shop.new_payer() if is_new else self._known[0]
            what = "StartPayment, payer's first" if is_new else "StartPayment"
            payment_id = await timed(what, self._shop.start(payer))
            await timed("SubmitPayment", self._shop.submit(payer, payment_id))
            await sandbox.settle()  # or its webhooks come in the middle of the next payment
            await self._shop.until_drained()
        await sandbox.webhooks()
        return {
            "calls": {what: {"waited_s": waited[what], "own_s": own[what]} for what in waited},
            "routes": routes,
            "others_cores": self._others(time.perf_counter() - all_began, self._meter.read()),
        }

    async def together(self, count: int, *, watched: bool = False) -> dict[str, Any]:
        """Keep `LOOPS` payments under way until `count` have succeeded and nothing is left to do for them."""
        payers = [self._payer(number) for number in range(count)]
        self._meter.start()
        began = time.perf_counter()
        paid = await self._shop.pay_together(iter(payers), loops=LOOPS, watched=watched)
        answered_s = time.perf_counter() - began
        await self._shop.until_drained()
        drained_s = time.perf_counter() - began
        used = self._meter.read()
        return {
            "per_s": count / drained_s,
            "answered_per_s": count / answered_s,
            "cpu_s": {name: seconds / count for name, seconds in used.items() if name != "machine"},
            "start_s": [one.start_s for one in paid],
            "submit_s": [one.submit_s for one in paid],
            "others_cores": self._others(drained_s, used),
        }

    async def idle(self) -> float:
        """Return the share of a core that the four services use while nobody wants anything."""
        self._meter.start()
        await asyncio.sleep(IDLE_S)
        used = self._meter.read()
        return sum(used[service] for service in SERVICES) / IDLE_S

    @staticmethod
    def _others(seconds: float, used: dict[str, float]) -> float:
        """Return how many cores were kept busy by whom we do not know."""
        ours_s = sum(one for name, one in used.items() if name != "machine")
        return max(used["machine"] - ours_s, 0) / seconds

    def _payer(self, number: int) -> Payer:
        return self._shop.new_payer() if number % 2 else self._known[number // 2 % LOOPS]


def _latencies(rounds: list[dict[str, Any]]) -> Figures:
    def row(name: str, values: Callable[[dict[str, Any]], list[float]]) -> tuple[str, str, str]:
        return (
            name,
            ms(median(percentile(values(one), 0.5) for one in rounds)),
            ms(median(percentile(values(one), 0.99) for one in rounds)),
        )

    rows: list[tuple[str, ...]] = []
    for what in rounds[0]["alone"]["calls"]:
        rows.append(row(f"{what}, whole", partial(_of_call, what, "waited_s")))
        rows.append(row(f"{what}, **ours**", partial(_of_call, what, "own_s")))
    rows.append(row(f"StartPayment, {LOOPS} payments at once", lambda one: one["together"]["start_s"]))
    rows.append(row(f"SubmitPayment, {LOOPS} payments at once", lambda one: one["together"]["submit_s"]))
    for kind, name in (("factory", "echo through our server and channel"), ("bare", "bare grpc.aio echo")):
        peer = [one[kind] for one in rounds]
        rows.append((name, ms(median(one["p50_s"] for one in peer)), ms(median(one["p99_s"] for one in peer))))
    others = median(one["alone"]["others_cores"] for one in rounds)
    return Figures(
        title="One call at a time, ms",
        columns=("", "p50", "p99"),
        rows=rows,
        notes=(
            "Ours: less what the stand-in for Stripe took by its own clock. A payer's first payment makes a customer "
            "at Stripe, too. Webhooks come later, as Stripe's do. "
            f"Others used {others:.1f} cores of the machine meanwhile.",
        ),
    )


def _processor(rounds: list[dict[str, Any]], idle: float) -> Figures:
    def cpu_ms(kind: str, *names: str) -> str:
        return ms(median(sum(one[kind]["cpu_s"][name] for name in names) for one in rounds))

    def per_s(kind: str, read: Callable[[dict[str, Any]], float]) -> str:
        return f"{median(read(one[kind]) for one in rounds):.1f}"

    kinds = ("together", "watched")
    rows = [
        (name, *(cpu_ms(kind, name) for kind in kinds)) for name in ("orchestrator", "gateway", "status", "pricing")
    ]
    rows.append((f"**{OURS}**", *(cpu_ms(kind, *SERVICES) for kind in kinds)))
    rows += [
        (name, *(cpu_ms(kind, name) for kind in kinds)) for name in ("PostgreSQL", "stand-in for Stripe", "load client")
    ]
    rows.append((f"**payments/s per core of {OURS}**", *(per_s(kind, lambda one: 1 / _ours_s(one)) for kind in kinds)))
    rows.append(
        (
            "payments/s on this machine, all of the above on it",
            *(per_s(kind, lambda one: one["per_s"]) for kind in kinds),
        )
    )
    others = median(one["together"]["others_cores"] for one in rounds)
    return Figures(
        title="Processor time per payment, ms",
        columns=("", f"{LOOPS} at once", "with a watcher each"),
        rows=rows,
        notes=(
            f"Webhooks and what follows from them included. Idle, {OURS} use {idle:.1%} of a core. Others used "
            f"{others:.1f} cores of the machine meanwhile.",
        ),
    )


def _ratios(rounds: list[dict[str, Any]]) -> Figures:
    def ratio(value: Callable[[dict[str, Any]], float]) -> str:
        return times(median(value(one) for one in rounds))

    def start_s(one: dict[str, Any]) -> float:
        return percentile(one["alone"]["calls"]["StartPayment"]["own_s"], 0.5)

    return Figures(
        title="In echoes of the same round",
        columns=("", "of ours", "of bare grpc.aio"),
        rows=[
            (name, ratio(partial(value, kind="factory")), ratio(partial(value, kind="bare")))
            for name, value in (
                ("own time of StartPayment, p50", lambda one, kind: start_s(one) / one[kind]["p50_s"]),
                (
                    f"processor time of {OURS} per payment",
                    lambda one, kind: _ours_s(one["together"]) / one[kind]["cpu_s"],
                ),
                ("processor time of an echo of ours", lambda one, kind: one["factory"]["cpu_s"] / one[kind]["cpu_s"]),
                ("time of an echo of ours, p50", lambda one, kind: one["factory"]["p50_s"] / one[kind]["p50_s"]),
            )
        ],
        notes=(
            f"An echo takes {us(median(one['factory']['cpu_s'] for one in rounds))} µs of processor at our server, "
            f"{us(median(one['bare']['cpu_s'] for one in rounds))} µs at a bare one.",
        ),
    )


def _stripe(rounds: list[dict[str, Any]]) -> Figures:
    payments = ALONE * len(rounds)
    routes: dict[str, list[float]] = {}
    for one in rounds:
        for route, figures in one["alone"]["routes"].items():
            count, seconds = routes.setdefault(route, [0, 0.0])
            routes[route] = [count + figures["count"], seconds + figures["seconds"]]
    return Figures(
        title="At the stand-in for Stripe",
        columns=("", "calls per payment", "ms per call"),
        rows=[(route, f"{count / payments:.2f}", ms(seconds / count)) for route, (count, seconds) in routes.items()],
    )


def _of_call(what: str, share: str, one: dict[str, Any]) -> list[float]:
    waited: list[float] = one["alone"]["calls"][what][share]
    return waited


def _ours_s(together: dict[str, Any]) -> float:
    used: dict[str, float] = together["cpu_s"]
    return sum(used[service] for service in SERVICES)
