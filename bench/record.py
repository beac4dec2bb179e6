"""`RecordTransition` over the wire, beside an echo through our own server, a bare one, and pgbench.

The server under measurement has one processor, light clients the other; PostgreSQL takes what it finds. The payments
stand in a database of 20,480.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

import uvloop

from bench.database import Postgres, running_postgres, store_payments
from bench.echoes import running_peers
from bench.figures import Figures, Result, median, ms, percentile, us
from bench.goals import COLUMNS, at_least, at_most, judged, shown
from bench.light.calling import Caller, in_closed_loops
from bench.machine import process, process_and_children
from bench.peers import ECHO, sample
from bench.pgbench import pgbench
from bench.pinned import as_client, pin_server, python, serving
from bench.recording import RECORD, WRITER, Transitions, connected
from bench.status import Callers
from local.databases import ServiceDatabase
from local.ports import free_ports

loop_factory = uvloop.new_event_loop
ROUNDS: Final = 5
TOGETHER: Final = 32
TOGETHER_S: Final = 2.0
ALONE_S: Final = 1.0
WARM_UP_S: Final = 0.5
PAYMENTS: Final = 20_480
SHARE: Final = PAYMENTS // ROUNDS
"""Of the payments for each round of pgbench."""

RATE: Final = at_least(0.45, 0.65)
PROCESSOR: Final = at_most(1.8, 1.3)
ALONE: Final = at_most(2.0, 1.4)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """Calls of one kind, one at a time and many at once."""

    alone_p50_s: float
    alone_p99_s: float
    per_s: float
    p50_s: float
    p99_s: float
    cpu_s: float
    """The server's, per call of many at once."""
    postgres_cpu_s: float


class _Subject:
    def __init__(self, callers: list[Caller], path: bytes, next_request: Callable[[], bytes], *, pid: int) -> None:
        self._callers = callers
        self._path = path
        self._next_request = next_request
        self.used = process(pid)

    async def called(self, postgres: Postgres) -> Called:
        """Measure a round."""
        postgres_used = process_and_children(postgres.pid)
        await self._loops(TOGETHER, WARM_UP_S)
        alone = await self._loops(1, ALONE_S)
        cpu_s, postgres_s = self.used(), postgres_used()
        together = await self._loops(TOGETHER, TOGETHER_S)
        count = len(together)
        return Called(
            alone_p50_s=percentile(alone, 0.5),
            alone_p99_s=percentile(alone, 0.99),
            per_s=count / TOGETHER_S,
            p50_s=percentile(together, 0.5),
            p99_s=percentile(together, 0.99),
            cpu_s=(self.used() - cpu_s) / count,
            postgres_cpu_s=(postgres_used() - postgres_s) / count,
        )

    async def _loops(self, loops: int, seconds: float) -> list[float]:
        calls = await in_closed_loops(self._callers, self._path, self._next_request, loops=loops, seconds=seconds)
        assert not calls.failed, f"{calls.failed} calls failed"
        return [took_ns / 1e9 for took_ns in calls.took_ns]


async def measure(say: Say) -> Result:
    """Run the bench, in about a minute and a half."""
    rounds: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres("max_wal_size = '4GB'"))
        database = await postgres.status_database("record")
        plain = await postgres.status_database("pgbench")
        for each in (database, plain):
            await store_payments(each, beyond=PAYMENTS, revisions=1, stands_at=1)
        subjects = await _subjects(stack, postgres, database)
        stack.enter_context(as_client())
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append({})
            for name, subject in reversed(subjects.items()) if number % 2 else subjects.items():
                rounds[-1][name] = await subject.called(postgres)
            rounds[-1]["pgbench"] = await pgbench(
                postgres, plain, clients=1, first=number * SHARE, payments=SHARE, seconds=ALONE_S
            )
    return Result(
        title="`RecordTransition` over the wire",
        tables=[_table(rounds)],
        rounds=[{name: asdict(one) for name, one in each.items()} for each in rounds],
    )


async def _subjects(stack: AsyncExitStack, postgres: Postgres, database: ServiceDatabase) -> dict[str, _Subject]:
    """Start the servers, and connect to each."""
    callers = Callers(postgres.directory)
    port = next(iter(free_ports().values()))
    ours = await stack.enter_async_context(
        serving(
            python("bench.servers.ours", postgres.directory / "status.log"),
            environment=callers.environment(database, port=port),
        )
    )
    subjects = {
        "record": _Subject(
            await connected(port, headers=callers.headers(WRITER)),
            RECORD,
            Transitions(PAYMENTS).next,
            pid=ours.pid,
        )
    }
    peers = await stack.enter_async_context(running_peers(callers.issuer, "factory", "bare", logs=postgres.directory))
    payment = sample().SerializeToString()
    for kind, peer in peers.items():
        pid = peer.child.pid
        assert pid is not None
        pin_server(pid)
        connections = await connected(peer.port, headers=callers.headers("bench"))
        subjects[kind] = _Subject(connections, ECHO.encode(), lambda: payment, pid=pid)
    return subjects


def _table(rounds: list[dict[str, Any]]) -> Figures:
    def figure(name: str, value: str, write: Callable[[float], str]) -> str:
        return write(median(getattr(one[name], value) for one in rounds))

    def ratios(value: str, peer: str) -> list[float]:
        return [getattr(one["record"], value) / getattr(one[peer], value) for one in rounds]

    def row(what: str, value: str, write: Callable[[float], str], peer: str, goal: Any = None) -> tuple[str, ...]:
        return judged(what, figure("record", value, write), figure(peer, value, write), ratios(value, peer), goal)

    def count(per_s: float) -> str:
        return f"{per_s:,.0f}"

    alone = [one["record"].alone_p50_s / (one["factory"].alone_p50_s + one["pgbench"].p50_s) for one in rounds]
    sums = median(one["factory"].alone_p50_s + one["pgbench"].p50_s for one in rounds)
    return Figures(
        title=f"{TOGETHER} in flight, or alone",
        columns=COLUMNS,
        rows=[
            row("**calls/s**, beside an echo of our server", "per_s", count, "factory", RATE),
            row("calls/s, beside a bare echo", "per_s", count, "bare"),
            row("server's processor time per call, µs, beside an echo of ours", "cpu_s", us, "factory", PROCESSOR),
            row("server's processor time per call, µs, beside a bare echo", "cpu_s", us, "bare"),
            judged(
                "**alone, p50, ms**, beside pgbench's and the echo's together",
                figure("record", "alone_p50_s", ms),
                ms(sums),
                alone,
                ALONE,
            ),
            row("alone, p99, ms, beside an echo of ours", "alone_p99_s", ms, "factory"),
            row(f"p50 of {TOGETHER}, ms, beside an echo of ours", "p50_s", ms, "factory"),
            row(f"p99 of {TOGETHER}, ms, beside an echo of ours", "p99_s", ms, "factory"),
            shown("PostgreSQL's processor time per call, µs", figure("record", "postgres_cpu_s", us)),
        ],
    )
