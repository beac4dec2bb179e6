"""Posting to the ledger from many connections, beside a bare insert of the same rows into a table with a key alone.

Rounds of each take turns. Whether anybody waits for a lock is sampled all the while from pg_locks, where a waiter shows
until it has what it waits for. That the samples would show one is shown by a third way: the same rows, and with them
one row that keeps a balance, as ledgers do that lock it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Final

import asyncpg

from bench.database import TENANT, executed, running_postgres
from bench.figures import Figures, Result, median, ms, percentile
from bench.goals import COLUMNS, at_least, at_most, bounded, judged, shown
from local.databases import ServiceDatabase
from local.storage import Storage
from services.gateway.ledger.domain import Account, Entry, Fact, Place
from services.gateway.ledger.entry_rows import APPEND, rows
from services.gateway.wiring import MIGRATIONS
from services.runtime.database.connections import plain_dsn, role_of
from services.runtime.database.migrations import migrate

ROUNDS: Final = 3
CONNECTIONS: Final = 32
SECONDS: Final = 3.0
SAMPLE_S: Final = 0.005
SELLERS: Final = 50

POSTED: Final = at_least(0.3, 0.5)
WAITS: Final = at_most(0)

_TABLES: Final = (
    "CREATE TABLE bare_entries (LIKE ledger_entries, PRIMARY KEY (tenant_id, fact, place))",
    "CREATE TABLE bare_balance (balance_minor bigint NOT NULL)",
    "INSERT INTO bare_balance VALUES (0)",
)
_BARE: Final = APPEND.replace("INSERT INTO ledger_entries", "INSERT INTO bare_entries").replace(
    "ledger_entries_pkey", "bare_entries_pkey"
)
_HOT: Final = f"""
WITH booked AS ({_BARE}), kept AS (UPDATE bare_balance SET balance_minor = balance_minor + 10000)
SELECT fact FROM booked"""
WAYS: Final = {"bare": _BARE, "ledger": APPEND, "one balance row": _HOT}

_WAITING: Final = """
SELECT locktype, count(*) AS waiting FROM pg_locks WHERE NOT granted AND pid <> pg_backend_pid() GROUP BY locktype"""
_EXTENSION: Final = "extend"
"""The file of a table grows: PostgreSQL's own matter, which any insert has."""


@dataclass(slots=True, kw_only=True)
class Posted:
    """What one way did in one round."""

    per_s: float = 0.0
    p50_s: float = 0.0
    p99_s: float = 0.0
    samples: int = 0
    waits: int = 0
    """Waiters seen in all samples together, but for the growth of files."""
    extensions: int = 0
    """Waiters for the growth of a file."""
    took_s: list[float] = field(default_factory=list)


async def measure(say: Callable[[str], None]) -> Result:
    """Run the bench, in about a minute."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres("max_wal_size = '4GB'"))

        async def migrated(database: ServiceDatabase) -> None:
            await migrate(database.owner_url, MIGRATIONS, runtime_role=role_of(database.runtime_url))

        storage = Storage(
            admin_url=postgres.server.admin_url, passwords=postgres.directory / "passwords.json", prefix="bench_"
        )
        database = await storage.database("gateway", fresh=True, migrations=MIGRATIONS, migrate=migrated)
        await executed(database.owner_url, *_TABLES)
        connections = [await asyncpg.connect(plain_dsn(database.owner_url)) for _ in range(CONNECTIONS)]
        watching = await asyncpg.connect(plain_dsn(database.owner_url))
        for one in (*connections, watching):
            stack.push_async_callback(one.close)
        names = itertools.count()
        rounds: list[dict[str, Posted]] = []
        for number in range(ROUNDS):
            rounds.append({})
            for way in reversed(WAYS) if number % 2 else WAYS:
                say(f"round {number + 1} of {ROUNDS}: {way}")
                await executed(postgres.server.admin_url, "CHECKPOINT")
                rounds[-1][way] = await _posted(connections, watching, WAYS[way], names)
    return Result(title="Posting to the ledger", tables=[_table(rounds)], rounds=[_figures(each) for each in rounds])


async def _posted(
    connections: list[asyncpg.Connection], watching: asyncpg.Connection, statement: str, names: Iterator[int]
) -> Posted:
    """Keep all connections posting for a while, and see who waits."""
    done = Posted()
    sampling = asyncio.ensure_future(_sampled(watching, done))
    began = time.perf_counter()

    async def post(connection: asyncpg.Connection) -> None:
        while (start := time.perf_counter()) < began + SECONDS:
            entries = json.dumps(rows([_fact(next(names))]))
            await connection.fetch(statement, TENANT, entries, timedelta())
            done.took_s.append(time.perf_counter() - start)

    await asyncio.gather(*(post(one) for one in connections))
    passed_s = time.perf_counter() - began
    sampling.cancel()
    with suppress(asyncio.CancelledError):
        await sampling
    done.per_s = len(done.took_s) / passed_s
    done.p50_s, done.p99_s = percentile(done.took_s, 0.5), percentile(done.took_s, 0.99)
    return done


async def _sampled(watching: asyncpg.Connection, done: Posted) -> None:
    while True:
        waiting = Counter({row["locktype"]: row["waiting"] for row in await watching.fetch(_WAITING)})
        done.samples += 1
        done.extensions += waiting.pop(_EXTENSION, 0)
        done.waits += waiting.total()
        await asyncio.sleep(SAMPLE_S)


def _fact(number: int) -> Fact:
    """Return what a capture of 100.00 books, with VAT on the fee."""
    seller_id = f"seller_{number % SELLERS}"
    amounts = {
        Place(account=Account.STRIPE_CLEARING, currency_code="CHF"): 10_000,
        Place(account=Account.SELLER, currency_code="CHF", seller_id=seller_id): -8_378,
        Place(account=Account.PLATFORM_FEE, currency_code="CHF", seller_id=seller_id): -1_500,
        Place(account=Account.VAT_PAYABLE, currency_code="CHF", seller_id=seller_id, country="CH"): -122,
    }
    entries = tuple(Entry(place=place, amount_minor=minor) for place, minor in amounts.items())
    return Fact(
        fact=f"captured:ch_{number}:10000", payment_id=f"pay_{number}", stripe_id=f"ch_{number}", entries=entries
    )


def _figures(each: dict[str, Posted]) -> dict[str, object]:
    return {way: {name: held for name, held in asdict(one).items() if name != "took_s"} for way, one in each.items()}


def _table(rounds: list[dict[str, Posted]]) -> Figures:
    def per_s(way: str) -> str:
        return f"{median(one[way].per_s for one in rounds):,.0f}"

    def total(way: str, what: str) -> int:
        return sum(getattr(one[way], what) for one in rounds)

    def latency(way: str) -> str:
        return " / ".join(ms(median(getattr(one[way], name) for one in rounds)) for name in ("p50_s", "p99_s"))

    ratios = [one["ledger"].per_s / one["bare"].per_s for one in rounds]
    waits = total("ledger", "waits")
    return Figures(
        title=f"{CONNECTIONS} connections, facts of four entries",
        columns=COLUMNS,
        rows=[
            judged(
                "**facts/s**, beside a bare insert of the same rows", per_s("ledger"), per_s("bare"), ratios, POSTED
            ),
            shown("p50 / p99, ms", latency("ledger"), latency("bare")),
            bounded(
                "**waiters for locks**, seen in all samples",
                f"{waits} in {total('ledger', 'samples')} samples",
                waits,
                WAITS,
                beside=f"{total('bare', 'waits')} in {total('bare', 'samples')}",
            ),
            shown(
                "waiters for the growth of a file", str(total("ledger", "extensions")), str(total("bare", "extensions"))
            ),
            shown(
                "the same rows and one balance row: facts/s; waiters seen",
                per_s("one balance row"),
                f"{total('one balance row', 'waits')} in {total('one balance row', 'samples')}",
            ),
        ],
        notes=(
            "The ledger's rows have six indexes more than the bare ones, checks, and a trigger at the commit that adds"
            " up each fact.",
        ),
    )
