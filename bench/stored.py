"""What a call costs with 10,000 payments stored, and with a hundred times as many.

Each call goes through the service's own stores on a connection of its own. How many pages it touches is PostgreSQL's
own count, and its processor time that of the process which serves the connection. Both databases have the same shape,
and payments are taken evenly from all of either. What they are called for lies in memory in both, as it does where
memory is bought for it.
"""

from __future__ import annotations

import asyncio
import gc
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from datetime import date
from typing import Final

import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.database import TENANT, running_postgres
from bench.figures import Figures, Result, median, us
from bench.filling import PER_PAYER, TRANSITIONS, fill
from bench.goals import COLUMNS, Goal, at_most, judged
from bench.machine import PROC
from bench.sample import SNAPSHOT
from local.databases import ServiceDatabase
from services.runtime.database.connections import DirectConnections, make_engine, plain_dsn, reading
from services.runtime.process.lifecycle import utc_now
from services.status.changes.cursors import XID_END, Position
from services.status.changes.log import ChangeLog
from services.status.domain.filters import Filter
from services.status.listing.listing import PaymentList
from services.status.storage.store import Place, StatusStore
from services.status.transitions.recorder import Move, Recorder

ROUNDS: Final = 7
"""After one that brings into memory what is needed."""
FEW: Final = 10_000
MANY: Final = 100 * FEW
SAMPLED: Final = 2_000
"""Payments that are called for, and as many that are moved."""
BATCH: Final = 64
FOLLOWED: Final = 100
"""Watches that are caught up with by one statement."""
BEHIND: Final = 2
"""Revisions that each of them lacks."""
PAGE: Final = 50
FEED_PAGE: Final = 200
RECENT: Final = 100
"""Transitions since the last look for what moved."""
SETTINGS: Final = (
    "shared_buffers = '1GB'",
    "max_wal_size = '16GB'",
    "wal_buffers = '64MB'",
    "wal_level = minimal",
    "max_wal_senders = 0",
    "fsync = off",  # neither pages nor processor time of a call depend on it, and millions are to be stored before
    "autovacuum = off",
)

PAGES: Final = at_most(1.1)
PROCESSOR: Final = at_most(1.2)

_TOUCHED: Final = """
SELECT sum(heap_blks_read + heap_blks_hit)::bigint AS tables,
       sum(coalesce(idx_blks_read + idx_blks_hit, 0))::bigint AS indexes
FROM pg_statio_user_tables
"""
_FLUSH: Final = "SELECT pg_stat_force_next_flush()"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one call of a kind came to in one round."""

    table_pages: float
    index_pages: float
    cpu_s: float
    """PostgreSQL's."""

    @property
    def pages(self) -> float:
        return self.table_pages + self.index_pages


@dataclass(slots=True, kw_only=True)
class _Known:
    """A payment that is stored."""

    payment_id: str
    open_month: date
    payer_id: str
    seller_id: str
    revision: int
    newest_xid: int


class _Backend:
    """A process of PostgreSQL that serves one connection of ours."""

    def __init__(self, pid: int, *, flush: Callable[[], Awaitable[object]]) -> None:
        self.flush = flush
        """Has it say what it has counted."""
        self._schedule = PROC / str(pid) / "schedstat"

    def cpu_s(self) -> float:
        """Return for how long it has run."""
        return int(self._schedule.read_text().split()[0]) / 1e9


class _Stored:
    """A database, the service's stores on it, and payments to call for."""

    def __init__(self, *, held: DirectConnections, engine: AsyncEngine, sampled: list[_Known], newest_xid: int) -> None:
        self._store = StatusStore(held)
        self._recorder = Recorder(held, concurrency_max=1)
        self._payments = PaymentList(engine)
        self._log = ChangeLog(engine)
        self._read, self._moved = sampled[:SAMPLED], sampled[SAMPLED:]
        self._newest_xid = newest_xid
        self._recorded: deque[Move] = deque(maxlen=SAMPLED)

    async def record(self, number: int) -> None:
        """Record a transition."""
        move = self._move(number)
        await self._recorder.record(move)
        self._recorded.append(move)

    async def repeat(self, number: int) -> None:
        """Record a transition that was recorded already."""
        await self._recorder.record(self._recorded[number % len(self._recorded)])

    async def record_many(self, number: int) -> None:
        """Record one transition, and meanwhile as many as one statement takes."""
        moves = [self._move(number * (BATCH + 1) + place) for place in range(BATCH + 1)]
        await asyncio.gather(*(self._recorder.record(move) for move in moves))

    async def read(self, number: int) -> None:
        """Read a payment."""
        await self._store.read(self._known(number).payment_id, tenant_id=TENANT)

    async def history(self, number: int) -> None:
        """Read all of a payment's history."""
        known = self._known(number)
        transitions = await self._store.history(_place(known, 0), current_revision=known.revision, limit=PAGE + 1)
        assert len(transitions) == TRANSITIONS

    async def follow(self, number: int) -> None:
        """Read what many watches lack."""
        followed = [self._known(number * FOLLOWED + place) for place in range(FOLLOWED)]
        places = [_place(known, known.revision - BEHIND) for known in followed]
        transitions = await self._store.follow(places, each=BATCH, limit=FOLLOWED * BATCH)
        assert len(transitions) == FOLLOWED * BEHIND

    async def moved_since(self, number: int) -> None:
        """Look for what moved lately."""
        await self._store.moved_since(self._newest_xid - RECENT, [TENANT])

    async def list_all(self, number: int) -> None:
        """List the newest payments."""
        await self._list(Filter(tenant_id=TENANT), PAGE)

    async def list_of_payer(self, number: int) -> None:
        """List a payer's payments."""
        await self._list(Filter(tenant_id=TENANT, payer_id=self._known(number).payer_id), PER_PAYER)

    async def list_of_seller(self, number: int) -> None:
        """List a seller's newest payments."""
        await self._list(Filter(tenant_id=TENANT, seller_id=self._known(number).seller_id), PAGE)

    async def feed(self, number: int) -> None:
        """Read a page of the feed."""
        after = Position(self._known(number).newest_xid)
        changes = await self._log.page(Filter(tenant_id=TENANT), after=after, horizon=XID_END, limit=FEED_PAGE)
        assert len(changes) == FEED_PAGE

    async def _list(self, wanted: Filter, expected: int) -> None:
        page, _ = await self._payments.page(wanted, size=PAGE, token="")
        assert len(page) == expected

    def _known(self, number: int) -> _Known:
        return self._read[number % SAMPLED]

    def _move(self, number: int) -> Move:
        known = self._moved[number % SAMPLED]
        known.revision += 1
        return Move(
            tenant_id=TENANT,
            payment_id=known.payment_id,
            request_id=str(uuid.uuid4()),
            expected_revision=known.revision - 1,
            snapshot=SNAPSHOT,
            now=utc_now(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A kind of call."""

    what: str
    make: Callable[[_Stored, int], Awaitable[None]]
    turns: int
    """In one round."""
    size: int = 1
    """What one turn counts for."""
    by_list: bool = False
    """Whether it goes over the pool's connection."""


CALLS: Final = (
    _Call(what="**`RecordTransition`**", make=_Stored.record, turns=400),
    _Call(what="`RecordTransition`, the same again", make=_Stored.repeat, turns=400),
    _Call(what=f"`RecordTransition`, {BATCH} together, each", make=_Stored.record_many, turns=8, size=BATCH + 1),
    _Call(what="**`GetPayment`**", make=_Stored.read, turns=1_000),
    _Call(what=f"**a payment's history**, {TRANSITIONS} transitions", make=_Stored.history, turns=400),
    _Call(what=f"**{FOLLOWED} watches catch up**, each", make=_Stored.follow, turns=10, size=FOLLOWED),
    _Call(what="looking for lost hints", make=_Stored.moved_since, turns=200),
    _Call(what=f"`ListPayments`, the newest {PAGE}", make=_Stored.list_all, turns=50, by_list=True),
    _Call(what=f"**`ListPayments`**, a payer's {PER_PAYER}", make=_Stored.list_of_payer, turns=100, by_list=True),
    _Call(what=f"`ListPayments`, a seller's newest {PAGE}", make=_Stored.list_of_seller, turns=50, by_list=True),
    _Call(what=f"**`WatchPayments`**, {FEED_PAGE} changes", make=_Stored.feed, turns=20, by_list=True),
)
_SAMPLE: Final = """
SELECT p.payment_id, p.open_month, p.payer_id, p.seller_ids[1] AS seller_id, p.revision,
       t.xid::text::bigint AS newest_xid
FROM (SELECT * FROM payments WHERE open_time < $1 ORDER BY md5(payment_id) LIMIT $2) p
JOIN transitions t USING (tenant_id, payment_id, open_month, revision)
"""


async def measure(say: Say) -> Result:
    """Run the bench, in about three minutes, most of which go into storing a million payments."""
    rounds: list[dict[str, dict[str, Cost]]] = []
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres(*SETTINGS))
        stored: dict[int, _Measured] = {}
        for payments in (FEW, MANY):
            say(f"storing {payments:,} payments")
            database = await postgres.status_database(f"{payments}")
            await fill(database, payments=payments)
            stored[payments] = await _opened(stack, database)
        for number in range(1 + ROUNDS):
            say(f"round {number} of {ROUNDS}")
            gc.collect()
            rounds.append({})
            for call in CALLS:
                order = (FEW, MANY) if number % 2 else (MANY, FEW)
                rounds[-1][call.what] = {f"{size}": await stored[size].cost(call, number) for size in order}
    return Result(
        title=f"A call with {FEW:,} payments stored and with {MANY:,}",
        tables=_tables(rounds[1:]),
        rounds=[
            {what: {size: asdict(cost) for size, cost in costs.items()} for what, costs in one.items()}
            for one in rounds
        ],
    )


class _Measured:
    """A database, the processes that serve it, and a look from outside."""

    def __init__(self, stored: _Stored, *, straight: _Backend, pooled: _Backend, watching: asyncpg.Connection) -> None:
        self._stored = stored
        self._watching = watching
        self._straight = straight
        self._pooled = pooled

    async def cost(self, call: _Call, number: int) -> Cost:
        """Make a round of calls."""
        backend = self._pooled if call.by_list else self._straight
        before, cpu_s = await self._touched(backend), backend.cpu_s()
        for turn in range(call.turns):
            await call.make(self._stored, number * call.turns + turn)
        cpu_s, count = backend.cpu_s() - cpu_s, call.turns * call.size
        after = await self._touched(backend)
        return Cost(
            table_pages=(after["tables"] - before["tables"]) / count,
            index_pages=(after["indexes"] - before["indexes"]) / count,
            cpu_s=cpu_s / count,
        )

    async def _touched(self, backend: _Backend) -> Mapping[str, int]:
        """Return how many pages were touched so far, by whomever."""
        await backend.flush()
        touched: Mapping[str, int] = await self._watching.fetchrow(_TOUCHED)
        return touched


async def _opened(stack: AsyncExitStack, database: ServiceDatabase) -> _Measured:
    watching = await asyncpg.connect(plain_dsn(database.owner_url))
    stack.push_async_callback(watching.close)
    held = DirectConnections(database.runtime_url, application_name="bench", size=1)
    await stack.enter_async_context(held)
    engine = make_engine(database.runtime_url, application_name="bench", pool_size=1)
    stack.push_async_callback(engine.dispose)

    async def flush_straight() -> None:
        async with held.statement(None) as connection:
            await connection.execute(_FLUSH)

    async def flush_pooled() -> None:
        async with reading(engine) as connection:
            await connection.execute(sa.text(_FLUSH))

    # Not by the service's connections, which give up soon: these go through all there is.
    newest_xid = await watching.fetchval("SELECT max(xid)::text::bigint FROM transitions")
    until = await watching.fetchval(
        "SELECT open_time FROM payments ORDER BY open_time DESC OFFSET $1 LIMIT 1", FEED_PAGE
    )
    sampled = [_Known(**row) for row in await watching.fetch(_SAMPLE, until, 2 * SAMPLED)]
    async with held.statement(None) as connection:
        straight = connection.get_server_pid()
    async with reading(engine) as pooled_connection:
        pooled = (await pooled_connection.execute(sa.select(sa.func.pg_backend_pid()))).scalar_one()
    return _Measured(
        _Stored(held=held, engine=engine, sampled=sampled, newest_xid=newest_xid),
        straight=_Backend(straight, flush=flush_straight),
        pooled=_Backend(pooled, flush=flush_pooled),
        watching=watching,
    )


def _place(known: _Known, revision: int) -> Place:
    return Place(tenant_id=TENANT, payment_id=known.payment_id, open_month=known.open_month, revision=revision)


def _tables(rounds: Sequence[dict[str, dict[str, Cost]]]) -> list[Figures]:
    def rows(of: Callable[[Cost], float], write: Callable[[float], str], goal: Goal) -> list[tuple[str, ...]]:
        def row(what: str) -> tuple[str, ...]:
            few, many = ([of(one[what][f"{size}"]) for one in rounds] for size in (FEW, MANY))
            ratios = [more / less for less, more in zip(few, many, strict=True)]
            return judged(what, write(median(many)), write(median(few)), ratios, goal)

        return [row(call.what) for call in CALLS]

    return [
        Figures(
            title="Pages touched",
            columns=COLUMNS,
            rows=rows(lambda cost: cost.pages, _count, PAGES),
            notes=(
                "An index of a hundred times the entries is a page higher, so that going down one touches a page more. "
                "What calls touch in tables, below, says what else there is.",
            ),
        ),
        Figures(
            title="Of these, pages of tables",
            columns=COLUMNS,
            rows=rows(lambda cost: cost.table_pages, _count, PAGES),
            is_for_summary=False,
        ),
        Figures(
            title="PostgreSQL's processor time, µs",
            columns=COLUMNS,
            rows=rows(lambda cost: cost.cpu_s, us, PROCESSOR),
        ),
    ]


def _count(pages: float) -> str:
    return f"{pages:.1f}"
