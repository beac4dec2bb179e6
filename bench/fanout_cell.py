"""One server, one way to watch it, so many watchers: what they cost, how late changes come, how many at most."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from bench.figures import percentile
from bench.light.tally import Tally
from bench.pinned import Served
from bench.servers.control import payment_id
from bench.subjects import Headers, Subject

WATCHERS_OF_A_PAYMENT: Final = (1, 2, 3)
"""In turns: a payer; and the seller; and a clerk."""
STEADY_PER_S: Final = 2_000
STEADY_S: Final = 1.5
WARM_UP_PER_S: Final = 200
WARM_UP_S: Final = 0.3
STEP_S: Final = 0.6
STEP_FACTOR: Final = 1.4
STEPS_MAX: Final = 12
STEPS_WITHOUT_GAIN: Final = 2
GAIN_MIN: Final = 1.03
REST_S: Final = 0.3
"""For what opening left behind, before memory is looked at."""
LAG_MAX_S: Final = 0.05
DELIVERED_MIN: Final = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Changes published at one rate for a while."""

    per_s: float
    published: int
    delivered: int
    delivered_per_s: float
    """While they were published; what came late does not count."""
    is_complete: bool
    """Every watcher got every change, by the end."""
    p50_s: float
    p99_s: float
    lag_s: float
    cpu_s: float
    """The server's, per delivery."""
    client_cpu_s: float

    @property
    def kept_up(self) -> bool:
        return self.lag_s < LAG_MAX_S


@dataclass(slots=True, kw_only=True)
class Cell:
    """What was found out."""

    subject: str
    watchers: int
    connections: int = 0
    opened_per_s: float = 0.0
    open_cpu_s: float = 0.0
    began_p50_s: float = 0.0
    began_p99_s: float = 0.0
    memory_bytes: float = 0.0
    """Per watch."""
    steady: Step | None = None
    steps: list[Step] = field(default_factory=list)
    broken: int = 0
    """Watches that the server ended."""

    @property
    def peak_per_s(self) -> float:
        """The most deliveries a second, with no bound on how late they came."""
        return max((step.delivered_per_s for step in self.steps), default=0.0)

    @property
    def best_cpu_s(self) -> float:
        return min((step.cpu_s for step in self.steps), default=0.0)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"peak_per_s": self.peak_per_s, "best_cpu_s": self.best_cpu_s}


def watched_payments(watchers: int) -> list[str]:
    """Return whom to watch: each payment once, twice or three times, `watchers` in all."""
    names: list[str] = []
    number = 0
    while len(names) < watchers:
        names += [payment_id(number)] * WATCHERS_OF_A_PAYMENT[number % len(WATCHERS_OF_A_PAYMENT)]
        number += 1
    return names[:watchers]


async def measured(
    subject: Subject,
    served: Served,
    *,
    port: int,
    watchers: int,
    headers: Headers,
    changes_max: int | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Cell:
    """Open the watches, then publish steadily, then as much as the server can take, at most `changes_max` in all."""
    tally = Tally()
    names = watched_payments(watchers)
    payments = len(set(names))
    cell = Cell(subject=subject.name, watchers=watchers)
    gc.collect()
    gc.disable()
    connections = []
    try:
        memory, cpu_s, began = served.resident_bytes(), served.cpu_s(), time.perf_counter()
        connections = await subject.watch(tally, port, names, headers)
        took_s = time.perf_counter() - began
        cell.connections = len(connections)
        cell.opened_per_s = watchers / took_s
        cell.open_cpu_s = (served.cpu_s() - cpu_s) / watchers
        cell.began_p50_s = percentile(tally.began_ns, 0.5) / 1e9
        cell.began_p99_s = percentile(tally.began_ns, 0.99) / 1e9
        await asyncio.sleep(REST_S)
        cell.memory_bytes = (served.resident_bytes() - memory) / watchers

        left = changes_max

        async def step(per_s: float, seconds: float) -> Step | None:
            nonlocal left
            if left is not None and left < per_s * seconds:
                return None
            say(f"{subject.name}, {watchers:,} watchers, {per_s:,.0f} changes/s")
            done = await _step(tally, served, per_s=per_s, seconds=seconds, payments=payments, watchers=watchers)
            left = None if left is None else left - done.published
            return done

        await step(WARM_UP_PER_S, WARM_UP_S)
        cell.steady = await step(STEADY_PER_S, STEADY_S)
        per_s = subject.begins_at_per_s
        best = without_gain = 0.0
        while len(cell.steps) < STEPS_MAX and without_gain < STEPS_WITHOUT_GAIN and not tally.broken:
            done = await step(per_s, STEP_S)
            if done is None:
                break
            cell.steps.append(done)
            without_gain = 0 if done.delivered_per_s > best * GAIN_MIN else without_gain + 1
            best = max(best, done.delivered_per_s)
            per_s *= STEP_FACTOR
        cell.broken = len(tally.broken)
    finally:
        tally.is_closing = True
        for connection in connections:
            connection.close()
        gc.enable()
    return cell


async def _step(tally: Tally, served: Served, *, per_s: float, seconds: float, payments: int, watchers: int) -> Step:
    tally.forget_deliveries()
    cpu_s, client_cpu_s = served.cpu_s(), time.process_time()
    published = await served.publish(per_s=per_s, seconds=seconds, payments=payments)
    in_time = len(tally.late_ns)
    await tally.settle()
    delivered = len(tally.late_ns)
    expected = published.count * watchers / payments
    return Step(
        per_s=per_s,
        published=published.count,
        delivered=delivered,
        delivered_per_s=in_time / published.seconds,
        is_complete=delivered >= expected * DELIVERED_MIN,
        p50_s=percentile(tally.late_ns, 0.5) / 1e9 if delivered else 0.0,
        p99_s=percentile(tally.late_ns, 0.99) / 1e9 if delivered else 0.0,
        lag_s=published.lag_s,
        cpu_s=(served.cpu_s() - cpu_s) / max(delivered, 1),
        client_cpu_s=(time.process_time() - client_cpu_s) / max(delivered, 1),
    )
