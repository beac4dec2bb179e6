"""Recording transitions, storage alone: our store beside pgbench with the same statement, tables and server.

Rounds of each take turns. Both keep the same number of connections busy, and walk through payments of their own. What
other replicas are told after each commit is measured with one that listens.
"""

from __future__ import annotations

import asyncio
import gc
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from functools import partial
from typing import Final

from bench.database import TENANT, Postgres, executed, payment_id, running_postgres, store_payments
from bench.figures import Figures, Result, median, ms, percentile, us
from bench.goals import COLUMNS, at_least, judged, shown
from bench.machine import process_and_children
from bench.pgbench import Recorded, pgbench
from bench.pinned import python, serving
from bench.sample import SNAPSHOT
from bench.status import Callers
from local.databases import ServiceDatabase
from local.ports import free_ports
from services.runtime.database.connections import DirectConnections
from services.runtime.process.lifecycle import utc_now
from services.status.transitions.recorder import Move, Recorder
from services.status.watches.hints import Hints

ROUNDS: Final = 5
CONNECTIONS: Final = 32
IN_FLIGHT: Final = 64
"""Where transitions are written together."""
PAYMENTS: Final = 20_480
"""A multiple of the connections."""
SECONDS: Final = 2.0
WARM_UP_S: Final = 0.3

ONE_EACH: Final = at_least(0.6, 0.75)
GROUPED: Final = at_least(1.5, 3)
KEPT: Final = at_least(0.8, 0.9)

Say = Callable[[str], None]
Announce = Callable[[str, str], None]
"""Tells other replicas that a payment of a tenant moved."""


async def measure(say: Say) -> Result:
    """Run the bench, in about a minute and a half."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres("max_wal_size = '4GB'"))
        database = await postgres.status_database()
        await store_payments(database, beyond=PAYMENTS, revisions=1, stands_at=1)
        bench = _Bench(postgres, database)
        steps: dict[str, Callable[[], Awaitable[Recorded]]] = {
            "pgbench": bench.pgbench,
            "one each": bench.one_each,
            "one each, announced": partial(bench.one_each, announced=True),
            "grouped": bench.grouped,
            "grouped, announced": partial(bench.grouped, announced=True),
        }
        rounds: list[dict[str, Recorded]] = []
        for number in range(ROUNDS):
            rounds.append({})
            for name, step in reversed(steps.items()) if number % 2 else steps.items():
                say(f"round {number + 1} of {ROUNDS}: {name}")
                await bench.begin_anew()
                rounds[-1][name] = await step()
    return Result(
        title="Recording transitions, storage alone",
        tables=[_table(rounds)],
        rounds=[{name: asdict(one) for name, one in each.items()} for each in rounds],
    )


class _Bench:
    def __init__(self, postgres: Postgres, database: ServiceDatabase) -> None:
        self._postgres = postgres
        self._database = database
        self._callers = Callers(postgres.directory)

    async def begin_anew(self) -> None:
        """Let all payments stand at revision 1 again, and PostgreSQL have nothing left to do."""
        await executed(
            self._database.owner_url,
            "DELETE FROM transitions WHERE revision > 1",
            "UPDATE payments SET revision = 1 WHERE revision > 1",
            "VACUUM ANALYZE",
        )
        await executed(self._postgres.server.admin_url, "CHECKPOINT")

    async def pgbench(self) -> Recorded:
        return await pgbench(self._postgres, self._database, clients=CONNECTIONS, payments=PAYMENTS, seconds=SECONDS)

    async def one_each(self, *, announced: bool = False) -> Recorded:
        """Record with a statement per transition: callers of a recorder of their own have nobody to share with."""
        return await self._with_recorders(CONNECTIONS, loops=CONNECTIONS, announced=announced)

    async def grouped(self, *, announced: bool = False) -> Recorded:
        """Record as the service does, which gathers what comes together."""
        return await self._with_recorders(1, loops=IN_FLIGHT, announced=announced)

    async def _with_recorders(self, count: int, *, loops: int, announced: bool) -> Recorded:
        async with AsyncExitStack() as stack:
            held = DirectConnections(self._database.runtime_url, application_name="bench", size=CONNECTIONS)
            await stack.enter_async_context(held)
            recorders = [Recorder(held) for _ in range(count)]
            nothing: Callable[..., None] = lambda *_: None  # noqa: E731 nobody to tell
            announce: Announce = nothing
            if announced:
                environment = self._callers.environment(self._database, port=next(iter(free_ports().values())))
                log = self._postgres.directory / "status.log"
                await stack.enter_async_context(serving(python("bench.servers.ours", log), environment=environment))
                hints = Hints(self._database.runtime_url, application_name="bench")
                await stack.enter_async_context(hints.running(hear=nothing, missed=nothing, unannounced=nothing))
                announce = hints.announce
            return await self._recorded(recorders, announce, loops=loops)

    async def _recorded(self, recorders: Sequence[Recorder], announce: Announce, *, loops: int) -> Recorded:
        """Keep so many transitions under way."""
        share = PAYMENTS // loops
        took_s: list[float] = []

        async def walk(loop: int, until: float) -> None:
            walked = positions[loop]
            while (began := time.perf_counter()) < until:
                name = payment_id(loop * share + walked % share)
                await recorders[loop % len(recorders)].record(_move(name, expected_revision=1 + walked // share))
                announce(TENANT, name)
                took_s.append(time.perf_counter() - began)
                walked += 1
            positions[loop] = walked

        positions = [0] * loops
        await asyncio.gather(*(walk(loop, time.perf_counter() + WARM_UP_S) for loop in range(loops)))
        took_s.clear()
        gc.collect()
        gc.freeze()
        postgres_used = process_and_children(self._postgres.pid)
        postgres_s, client_s, began = postgres_used(), time.process_time(), time.perf_counter()
        await asyncio.gather(*(walk(loop, began + SECONDS) for loop in range(loops)))
        passed_s, count = time.perf_counter() - began, len(took_s)
        return Recorded(
            per_s=count / passed_s,
            p50_s=percentile(took_s, 0.5),
            p99_s=percentile(took_s, 0.99),
            client_cpu_s=(time.process_time() - client_s) / count,
            postgres_cpu_s=(postgres_used() - postgres_s) / count,
        )


def _move(name: str, *, expected_revision: int) -> Move:
    return Move(
        tenant_id=TENANT,
        payment_id=name,
        request_id=str(uuid.uuid4()),
        expected_revision=expected_revision,
        snapshot=SNAPSHOT,
        now=utc_now(),
    )


def _table(rounds: list[dict[str, Recorded]]) -> Figures:
    def per_s(name: str) -> str:
        return f"{median(one[name].per_s for one in rounds):,.0f}"

    def ratio(name: str, peer: str) -> list[float]:
        return [one[name].per_s / one[peer].per_s for one in rounds]

    def latency(name: str) -> str:
        halves = (median(one[name].p50_s for one in rounds), median(one[name].p99_s for one in rounds))
        return " / ".join(map(ms, halves))

    def cpu(name: str) -> str:
        used = (median(one[name].client_cpu_s for one in rounds), median(one[name].postgres_cpu_s for one in rounds))
        return " / ".join(map(us, used))

    def kept(name: str) -> tuple[str, ...]:
        told = f"{name}, announced"
        what = f"transitions/s, {name}, while another replica is told, beside none"
        return judged(what, per_s(told), per_s(name), ratio(told, name), KEPT)

    return Figures(
        title=f"{CONNECTIONS} connections, or {IN_FLIGHT} in flight, grouped",
        columns=COLUMNS,
        rows=[
            judged(
                "**transitions/s, one statement each**, beside pgbench",
                per_s("one each"),
                per_s("pgbench"),
                ratio("one each", "pgbench"),
                ONE_EACH,
            ),
            judged(
                "**transitions/s, grouped**, beside pgbench, one statement each",
                per_s("grouped"),
                per_s("pgbench"),
                ratio("grouped", "pgbench"),
                GROUPED,
            ),
            kept("one each"),
            kept("grouped"),
            shown("p50 / p99, ms, one statement each", latency("one each"), latency("pgbench")),
            shown("p50 / p99, ms, grouped", latency("grouped"), latency("pgbench")),
            shown("processor time per transition, client / PostgreSQL, µs, one each", cpu("one each"), cpu("pgbench")),
            shown("processor time per transition, client / PostgreSQL, µs, grouped", cpu("grouped"), cpu("pgbench")),
        ],
    )
