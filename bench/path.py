"""The whole path: a call, its commit, and whoever watches, at the replica that was called and at another one.

Light callers record transitions, light clients watch with `WatchMany`; both take the instants. The replica that is
called has one processor, clients and the other replica share the second; PostgreSQL takes what it finds. A peak is
what closed loops come to. The limit of the way between replicas is a bare NOTIFY, from the call to its listener.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from typing import Any, Final

import asyncpg
import uvloop

from bench.database import Postgres, running_postgres, store_payments
from bench.echoes import running_peers
from bench.fanout_cell import DELIVERED_MIN, watched_payments
from bench.figures import Figures, Result, median, ms, percentile
from bench.goals import COLUMNS, Goal, at_least, at_most, bounded, judged, shown
from bench.light.calling import Calls, at_a_rate, in_closed_loops
from bench.light.tally import Tally, now_ns
from bench.peers import ECHO, sample
from bench.pinned import CLIENT_PROCESSOR, SERVER_PROCESSOR, as_client, pin_server, python, serving
from bench.recording import RECORD, WRITER, Transitions, connected
from bench.status import Callers
from bench.subjects import CONNECTIONS, SUBJECTS
from local.databases import ServiceDatabase
from local.ports import free_ports
from services.runtime.database.connections import plain_dsn

loop_factory = uvloop.new_event_loop
ROUNDS: Final = 5
WATCHES: Final = 5_000
IN_FLIGHT: Final = 64
PEAK_S: Final = 2.0
STEADY_S: Final = 2.0
WARM_UP_S: Final = 0.3
CALM_PER_S: Final = 200
NOTIFICATIONS: Final = 500

ELSEWHERE_MS: Final = at_most(1, 0.4)
KEPT: Final = at_least(0.8, 0.9)
P50_MS: Final = at_most(1)
P99_MS: Final = at_most(20)

Say = Callable[[str], None]
Row = tuple[str, ...]
Of = Callable[["Round"], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """As many transitions as closed loops make."""

    recorded_per_s: float
    delivered_per_s: float
    is_complete: bool
    """Every watcher was told of all, by the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """How late something came."""

    p50_s: float
    p99_s: float

    @classmethod
    def of(cls, late_ns: Sequence[int]) -> Late:
        return cls(p50_s=percentile(late_ns, 0.5) / 1e9, p99_s=percentile(late_ns, 0.99) / 1e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """How late watchers heard of transitions at a steady rate."""

    per_s: float
    after_request: Late
    """From when the request was made."""
    after_answer: Late
    """From when its caller had the answer; what is negative was heard of before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What was measured in turns."""

    unwatched: Peak
    watched: Peak
    half: Heard
    """At half of that."""
    echo: Late
    """Of an echo at the same rate."""
    watched_elsewhere: Peak
    """With as many watchers at another replica, too."""
    half_elsewhere: Heard
    """By those, at half of that."""
    calm_elsewhere: Heard
    notification: Late


async def measure(say: Say) -> Result:
    """Run the bench, in about two minutes."""
    rounds: list[Round] = []
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres("max_wal_size = '4GB'"))
        bench = _Bench(postgres, await postgres.status_database())
        await bench.prepare()
        peers = await stack.enter_async_context(running_peers(bench.callers.issuer, "factory", logs=postgres.directory))
        assert peers["factory"].child.pid is not None
        pin_server(peers["factory"].child.pid)
        stack.enter_context(as_client())
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append(await bench.round(echo_port=peers["factory"].port, backwards=bool(number % 2)))
    return Result(title="From a call to its watchers", tables=[_table(rounds)], rounds=[asdict(one) for one in rounds])


class _Bench:
    def __init__(self, postgres: Postgres, database: ServiceDatabase) -> None:
        self.callers = Callers(postgres.directory)
        self._postgres = postgres
        self._database = database
        self._names = watched_payments(WATCHES)
        self._payments = len(set(self._names))
        self._transitions = Transitions(self._payments)

    async def prepare(self) -> None:
        """Store the payments."""
        await store_payments(self._database, beyond=self._payments, revisions=1, stands_at=1)

    async def round(self, *, echo_port: int, backwards: bool) -> Round:
        """Measure everything once."""
        found: dict[str, Any] = {"notification": await self._notification()}
        async with AsyncExitStack() as stack:
            port = await self._replica(stack, processor=SERVER_PROCESSOR)
            self._writers = await connected(port, headers=self.callers.headers(WRITER))
            echoed = await connected(echo_port, headers=self.callers.headers("bench"))
            stack.callback(_close, [*self._writers, *echoed])
            await self._loops(WARM_UP_S)
            found["unwatched"] = await self._peak(Tally(), watches=0)
            here = await self._watch(stack, port)
            steps = (self._alone, self._with_another)
            for step in reversed(steps) if backwards else steps:
                found |= await step(here)
            payment = sample().SerializeToString()
            rate = found["half"].per_s
            echoes = await at_a_rate(echoed, ECHO.encode(), lambda _: payment, per_s=rate, seconds=STEADY_S)
            found["echo"] = Late.of(echoes.took_ns)
        return Round(**found)

    async def _alone(self, here: Tally) -> dict[str, Any]:
        watched = await self._peak(here, watches=WATCHES)
        return {"watched": watched, "half": await self._heard(here, per_s=watched.recorded_per_s / 2)}

    async def _with_another(self, here: Tally) -> dict[str, Any]:
        async with AsyncExitStack() as stack:
            there = await self._watch(stack, await self._replica(stack, processor=CLIENT_PROCESSOR))
            watched = await self._peak(there, watches=WATCHES)
            return {
                "watched_elsewhere": watched,
                "half_elsewhere": await self._heard(there, per_s=watched.recorded_per_s / 2),
                "calm_elsewhere": await self._heard(there, per_s=CALM_PER_S),
            }

    async def _peak(self, tally: Tally, *, watches: int) -> Peak:
        """Record as fast as it goes, and look at those who watch."""
        await tally.settle()
        tally.forget_deliveries()
        calls = await self._loops(PEAK_S)
        in_time = len(tally.late_ns)
        await tally.settle()
        expected = len(calls.took_ns) * watches / self._payments
        return Peak(
            recorded_per_s=calls.per_s,
            delivered_per_s=in_time / calls.seconds,
            is_complete=len(tally.late_ns) >= expected * DELIVERED_MIN,
        )

    async def _heard(self, tally: Tally, *, per_s: float) -> Heard:
        await tally.settle()
        tally.forget_deliveries()
        calls = await at_a_rate(self._writers, RECORD, self._transitions.next, per_s=per_s, seconds=STEADY_S)
        assert not calls.failed, f"{calls.failed} calls failed"
        await tally.settle()
        heard = list(zip(tally.sent_ns, tally.late_ns, strict=True))
        return Heard(
            per_s=per_s,
            after_request=Late.of([late_ns for _, late_ns in heard]),
            after_answer=Late.of([sent_ns + late_ns - calls.answered_ns[sent_ns] for sent_ns, late_ns in heard]),
        )

    async def _loops(self, seconds: float) -> Calls:
        next_request = self._transitions.next
        calls = await in_closed_loops(self._writers, RECORD, next_request, loops=IN_FLIGHT, seconds=seconds)
        assert not calls.failed, f"{calls.failed} calls failed"
        return calls

    async def _replica(self, stack: AsyncExitStack, *, processor: int) -> int:
        port = next(iter(free_ports().values()))
        command = python("bench.servers.ours", self._postgres.directory / "status.log")
        environment = self.callers.environment(self._database, port=port)
        await stack.enter_async_context(serving(command, environment=environment, processor=processor))
        return port

    async def _watch(self, stack: AsyncExitStack, port: int) -> Tally:
        """Watch all payments at a replica while inside."""
        tally = Tally()
        headers = [self.callers.headers(f"bff-{number}") for number in range(CONNECTIONS)]
        connections = await SUBJECTS["many"].watch(tally, port, self._names, lambda number: headers[number])
        stack.callback(_close, connections)
        stack.callback(tally.close)
        return tally

    async def _notification(self) -> Late:
        """Say something to another connection, again and again, on an idle server."""
        took_ns = []
        heard = asyncio.Event()
        url = plain_dsn(self._database.runtime_url)
        speaking, listening = await asyncpg.connect(url), await asyncpg.connect(url)
        try:
            await listening.add_listener("bench", lambda *_: heard.set())
            for _ in range(NOTIFICATIONS):
                heard.clear()
                began_ns = now_ns()
                await speaking.execute("SELECT pg_notify('bench', '')")
                await heard.wait()
                took_ns.append(now_ns() - began_ns)
        finally:
            await speaking.close()
            await listening.close()
        return Late.of(took_ns)


def _close(connections: Sequence[Any]) -> None:
    for connection in connections:
        connection.close()


def _table(rounds: Sequence[Round]) -> Figures:
    def per_s(of: Of) -> str:
        return f"{median(map(of, rounds)):,.0f}"

    def beside(what: str, ours: Of, peer: Of, goal: Goal | None = None) -> Row:
        return judged(what, per_s(ours), per_s(peer), [ours(one) / peer(one) for one in rounds], goal)

    def late(what: str, ours: Of, goal: Goal | None = None, *, peer: Of | None = None) -> Row:
        value = median(map(ours, rounds))
        if peer is None:
            return bounded(what, ms(value), value * 1e3, goal)
        ratios = [ours(one) / peer(one) for one in rounds]
        return bounded(what, ms(value), value * 1e3, goal, beside=ms(median(map(peer, rounds))), ratios=ratios)

    elsewhere = "answer to watcher at another replica"
    return Figures(
        title=f"{WATCHES:,} watches with `WatchMany`, two of a payment in the mean",
        columns=COLUMNS,
        rows=[
            beside(
                f"transitions/s at the peak, {IN_FLIGHT} in flight; nobody watches",
                lambda one: one.watched.recorded_per_s,
                lambda one: one.unwatched.recorded_per_s,
            ),
            shown("deliveries/s meanwhile", per_s(lambda one: one.watched.delivered_per_s)),
            late(
                "**at half the peak**: request to watcher, p50, ms; an echo of our server",
                lambda one: one.half.after_request.p50_s,
                peer=lambda one: one.echo.p50_s,
            ),
            late(
                "**at half the peak**: request to watcher, p99, ms; an echo of our server",
                lambda one: one.half.after_request.p99_s,
                peer=lambda one: one.echo.p99_s,
            ),
            late("at half the peak: answer to watcher, p50, ms", lambda one: one.half.after_answer.p50_s, P50_MS),
            late("at half the peak: answer to watcher, p99, ms", lambda one: one.half.after_answer.p99_s, P99_MS),
            late(
                f"**{elsewhere}, {CALM_PER_S}/s**, p50, ms; a bare NOTIFY",
                lambda one: one.calm_elsewhere.after_answer.p50_s,
                ELSEWHERE_MS,
                peer=lambda one: one.notification.p50_s,
            ),
            late(
                f"{elsewhere}, {CALM_PER_S}/s, p99, ms; a bare NOTIFY",
                lambda one: one.calm_elsewhere.after_answer.p99_s,
                peer=lambda one: one.notification.p99_s,
            ),
            late(
                f"**{elsewhere}, half the peak**, p50, ms; a bare NOTIFY",
                lambda one: one.half_elsewhere.after_answer.p50_s,
                ELSEWHERE_MS,
                peer=lambda one: one.notification.p50_s,
            ),
            late(
                f"{elsewhere}, half the peak, p99, ms; a bare NOTIFY",
                lambda one: one.half_elsewhere.after_answer.p99_s,
                peer=lambda one: one.notification.p99_s,
            ),
            beside(
                "**transitions/s at the peak, with as many watchers at another replica**; without it",
                lambda one: one.watched_elsewhere.recorded_per_s,
                lambda one: one.watched.recorded_per_s,
                KEPT,
            ),
        ],
        notes=_notes(rounds),
    )


def _notes(rounds: Sequence[Round]) -> tuple[str, ...]:
    notes = [
        "Both replicas, PostgreSQL, callers and watchers share two processors, so that another replica also costs what "
        "it takes away from the first."
    ]
    if not all(one.watched.is_complete and one.watched_elsewhere.is_complete for one in rounds):
        notes.append("**At the peak some watchers were not told of everything.**")
    return tuple(notes)
