"""Everybody comes back at once: 10,000 watches lose their replica and go on at another, which has to catch them up.

The replica is killed while payments move. Before anybody is back, each payment moves once more through the replica that
is left; then all streams begin there in the same moment, without any pause, and payments go on moving. Every watch has
to get exactly what it missed, in order; every call has to be answered. The peer's sockets join their rooms again, and
there is nothing for them to catch up with.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Final

import uvloop

from bench.database import Postgres, running_postgres, store_payments
from bench.fanout_cell import watched_payments
from bench.figures import Figures, Result, median, ms, percentile, us
from bench.goals import COLUMNS, at_most, bounded, shown
from bench.light.calling import Caller, Calls, at_a_rate
from bench.light.following import FROM_NOW, Arrivals, Following, ManyFollowing, PaymentFollowing
from bench.light.tally import Tally, now_ns
from bench.pinned import Served, as_client, python, serving
from bench.recording import RECORD, WRITER, Transitions, connected
from bench.servers.control import payment_id
from bench.status import HOST, Callers
from bench.subjects import CONNECTIONS, NO_NODE, SUBJECTS, connections_for, environment_of, is_here
from local.databases import ServiceDatabase
from local.ports import free_ports

loop_factory = uvloop.new_event_loop
ROUNDS: Final = 3
WATCHES: Final = 10_000
PER_S: Final = 500
"""Transitions while everybody is there, and while everybody comes back."""
BEFORE_S: Final = 1.0
MISSED_PER_S: Final = 2_000
MEANWHILE_S: Final = 5.0
PATIENCE_S: Final = 30.0
WRITING_CONNECTIONS: Final = 16
"""With room for all calls that wait while everybody comes back, at 256 each."""
POLL_S: Final = 0.02

CAUGHT_UP_S: Final = at_most(5)
NONE_LOST: Final = at_most(0)

Say = Callable[[str], None]
Kind = type[ManyFollowing] | type[PaymentFollowing]
MANY: Final = "`WatchMany`"
KINDS: Final[dict[str, Kind]] = {MANY: ManyFollowing, "`WatchPayment`": PaymentFollowing}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stormed:
    """What one storm came to."""

    caught_up_s: float
    """From the first stream's beginning to the last watch that had all that it had missed."""
    missed: int
    """Transitions to catch up with, over all watches."""
    lost: int
    """Streams, watches and calls that were refused or ended, and transitions out of turn."""
    cpu_s: float
    """The server's until all were there, per watch."""
    recorded_p50_s: float
    recorded_p99_s: float
    """Of recording meanwhile."""


async def measure(say: Say) -> Result:
    """Run the bench, in about a minute and a half."""
    rounds: list[dict[str, Stormed]] = []
    rejoined_s: list[float] = []
    async with running_postgres("max_wal_size = '4GB'") as postgres:
        bench = _Bench(postgres, await postgres.status_database())
        await bench.prepare()
        with as_client():
            for number in range(ROUNDS):
                rounds.append({})
                for name, kind in reversed(KINDS.items()) if number % 2 else KINDS.items():
                    say(f"round {number + 1} of {ROUNDS}: {name}")
                    rounds[-1][name] = await bench.storm(kind)
            if is_here(SUBJECTS["node"]):
                say("sockets of Node")
                rejoined_s.append(await bench.sockets())
    return Result(
        title="A replica dies, and all come back at once",
        tables=[_table(rounds, rejoined_s)],
        rounds=[{name: asdict(one) for name, one in each.items()} for each in rounds],
    )


class _Bench:
    def __init__(self, postgres: Postgres, database: ServiceDatabase) -> None:
        self._postgres = postgres
        self._database = database
        self._callers = Callers(postgres.directory)
        self._headers = [self._callers.headers(f"bff-{number}") for number in range(CONNECTIONS)]
        self._names = watched_payments(WATCHES)
        self._payments = len(set(self._names))
        self._transitions = Transitions(self._payments)

    async def prepare(self) -> None:
        """Store the payments."""
        await store_payments(self._database, beyond=self._payments, revisions=1, stands_at=1)

    async def storm(self, kind: Kind) -> Stormed:
        """Have everybody watch at a replica, kill it, and let everybody come back to the other."""
        async with AsyncExitStack() as stack:
            port, served = await self._replica(stack)
            dying_port, dying = await self._replica(stack)
            writers = await connected(port, headers=self._callers.headers(WRITER), connections=WRITING_CONNECTIONS)
            stack.callback(_close, writers)

            tally = Tally()
            begun = Arrivals(self._goals(), watches=WATCHES)
            count = CONNECTIONS if kind is ManyFollowing else connections_for(WATCHES)
            names = [self._names[number::count] for number in range(count)]
            watching = await self._watch(
                kind, tally, begun, dying_port, [dict.fromkeys(one, FROM_NOW) for one in names]
            )
            await _within_patience(begun.all(), tally)
            await self._record(writers, per_s=PER_S, seconds=BEFORE_S)
            await _within_patience(self._all_level(watching), tally)
            tally.is_closing = True
            await dying.kill()

            await self._record(writers, per_s=MISSED_PER_S, seconds=self._payments / MISSED_PER_S)
            places = [each.revisions for each in watching]
            goals = self._goals()
            tally = Tally()
            back = Arrivals(goals, watches=WATCHES)
            gc.collect()
            meanwhile = asyncio.create_task(self._record(writers, per_s=PER_S, seconds=MEANWHILE_S))
            cpu_s, began_ns = served.cpu_s(), now_ns()
            watching = await self._watch(kind, tally, back, port, places)
            stack.callback(_close, watching)
            await _within_patience(back.all(), tally)
            cpu_s = served.cpu_s() - cpu_s
            calls = await meanwhile
            await _within_patience(self._all_level(watching), tally)
            tally.is_closing = True
        took_s = [took_ns / 1e9 for took_ns in calls.took_ns]
        return Stormed(
            caught_up_s=(back.at_ns - began_ns) / 1e9,
            missed=sum(goals[name] - revision for place in places for name, revision in place.items()),
            lost=len(tally.broken) + calls.failed,
            cpu_s=cpu_s / WATCHES,
            recorded_p50_s=percentile(took_s, 0.5),
            recorded_p99_s=percentile(took_s, 0.99),
        )

    async def sockets(self) -> float:
        """Return how long Node's sockets take to join their rooms."""
        node = SUBJECTS["node"]
        assert node.command is not None
        port = next(iter(free_ports().values()))
        async with serving(node.command(port), environment=environment_of(node)):
            tally = Tally()
            began = time.perf_counter()
            connections = await node.watch(tally, port, self._names, lambda number: self._headers[number])
            took_s = time.perf_counter() - began
            tally.is_closing = True
            _close(connections)
            return took_s

    async def _replica(self, stack: AsyncExitStack) -> tuple[int, Served]:
        port = next(iter(free_ports().values()))
        log_file = self._postgres.directory / "status.log"
        environment = self._callers.environment(self._database, port=port)
        replica = serving(python("bench.servers.ours", log_file), environment=environment, log_file=log_file)
        return port, await stack.enter_async_context(replica)

    async def _watch(
        self, kind: Kind, tally: Tally, arrivals: Arrivals, port: int, places: Sequence[Mapping[str, int]]
    ) -> list[Following]:
        """Open a connection for each of the places, and begin all watches at once."""
        loop = asyncio.get_running_loop()
        watching: list[Following] = []
        for number, revisions in enumerate(places):
            make = partial(kind, tally, arrivals, revisions, metadata=self._headers[number % CONNECTIONS])
            watching.append((await loop.create_connection(make, HOST, port))[1])
        for each in watching:
            each.resume()
        return watching

    async def _record(self, writers: Sequence[Caller], *, per_s: float, seconds: float) -> Calls:
        return await at_a_rate(writers, RECORD, self._transitions.next, per_s=per_s, seconds=seconds)

    async def _all_level(self, watching: Sequence[Following]) -> None:
        """Wait until all watches were told of everything that was recorded."""
        goals = self._goals()
        while any(goals[name] != at for each in watching for name, at in each.revisions.items()):  # noqa: ASYNC110
            await asyncio.sleep(POLL_S)

    def _goals(self) -> dict[str, int]:
        return {payment_id(number): self._transitions.revision(number) for number in range(self._payments)}


async def _within_patience(coming: Awaitable[None], tally: Tally) -> None:
    """Wait for something; go on without it after a while, or once a watch was lost, without which it cannot come."""
    waiting = asyncio.ensure_future(coming)
    until = time.monotonic() + PATIENCE_S
    while not waiting.done() and not tally.broken and time.monotonic() < until:
        await asyncio.wait([waiting], timeout=POLL_S)
    waiting.cancel()


def _close(connections: Sequence[Any]) -> None:
    for connection in connections:
        connection.close()


def _table(rounds: Sequence[Mapping[str, Stormed]], rejoined_s: Sequence[float]) -> Figures:
    rows = []
    beside = f"{median(rejoined_s):.2f}" if rejoined_s else NO_NODE
    for name in KINDS:
        stormed = [one[name] for one in rounds]
        caught_up_s = median(one.caught_up_s for one in stormed)
        lost = sum(one.lost for one in stormed)
        latencies = (median(one.recorded_p50_s for one in stormed), median(one.recorded_p99_s for one in stormed))
        what = "until all are caught up, s; sockets of Node in their rooms again"
        goal = CAUGHT_UP_S if name == MANY else None
        ratios = [caught_up_s / median(rejoined_s)] if rejoined_s else []
        rows += [
            bounded(f"**{name}**: {what}", f"{caught_up_s:.2f}", caught_up_s, goal, beside=beside, ratios=ratios),
            bounded(f"**{name}**: streams, watches, calls and transitions lost", str(lost), lost, NONE_LOST),
            shown(f"{name}: missed and told", f"{median(one.missed for one in stormed):,.0f}"),
            shown(f"{name}: server's processor time a watch, µs", us(median(one.cpu_s for one in stormed))),
            shown(f"{name}: recording meanwhile, p50 / p99, ms", " / ".join(map(ms, latencies))),
        ]
    return Figures(
        title=f"{WATCHES:,} watches of {CONNECTIONS} callers",
        columns=COLUMNS,
        rows=rows,
        notes=(
            f"Meanwhile {PER_S} transitions a second are recorded at the same replica. Server and clients have a "
            "processor each; all clients are one process, which reads every message.",
        ),
    )
