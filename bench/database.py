"""A PostgreSQL of a bench's own, databases of status on it, and payments stored by set, not one by one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import asyncpg

from bench.machine import postgres_pid
from bench.sample import SNAPSHOT
from local.databases import ServiceDatabase
from local.postgres import EmbeddedPostgres
from local.storage import Storage
from services.runtime.database.connections import plain_dsn, role_of
from services.runtime.database.migrations import migrate
from services.status.__main__ import MIGRATIONS
from services.status.storage.retention import MONTHS_AHEAD, maintain
from services.status.storage.rows import snapshot_json

TENANT: Final = "main"
ID_DIGITS: Final = 26
MADE_AHEAD_DAYS: Final = 28 * MONTHS_AHEAD
KEPT_MONTHS: Final = 1_200

_PAYMENTS: Final = """
INSERT INTO payments (
  tenant_id, payment_id, open_month, revision, collection, state, settled, snapshot, payer_id, seller_ids, booking_ids,
  client_reference, quote_id, total_amount_minor, currency_code, labels, open_digest, open_time, update_time
)
SELECT $1, payment_id, date_trunc('month', open_time AT TIME ZONE 'UTC')::date, $4::bigint,
       'REQUIRES_PAYMENT_METHOD', 'REQUIRES_PAYMENT_METHOD', false, $5::text::jsonb, 'payer_' || number / 10,
       ARRAY['seller_' || number % 1000], ARRAY['booking_' || number], 'order ' || number, 'quote_' || number, 12000,
       'CHF', '{"channel": "web"}', decode(md5(payment_id) || md5(payment_id), 'hex'), open_time, open_time
FROM generate_series($2::int, $3::int - 1) AS number,
LATERAL (SELECT 'pay_' || lpad(number::text, 26, '0') AS payment_id,
                now() - $6::float8 * interval '1 day' * ($3::int - number) / $3::int AS open_time)
"""
_TRANSITIONS: Final = """
INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
SELECT p.tenant_id, p.payment_id, p.open_month, r.revision, gen_random_uuid(), p.state, p.snapshot, p.open_time
FROM payments p, generate_series(1, $4::int) AS r (revision)
WHERE p.tenant_id = $1 AND p.payment_id >= 'pay_' || lpad($2::int::text, 26, '0')
  AND p.payment_id < 'pay_' || lpad($3::int::text, 26, '0')
ORDER BY p.payment_id, r.revision
"""
_LINKS: Final = (
    """INSERT INTO payment_sellers (tenant_id, seller_id, open_time, payment_id)
       SELECT tenant_id, unnest(seller_ids), open_time, payment_id FROM payments ON CONFLICT DO NOTHING""",
    """INSERT INTO payment_bookings (tenant_id, booking_id, open_time, payment_id)
       SELECT tenant_id, unnest(booking_ids), open_time, payment_id FROM payments ON CONFLICT DO NOTHING""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """A running server."""

    directory: Path
    server: EmbeddedPostgres
    pid: int

    @property
    def binaries(self) -> Path:
        """The folder of `psql` and `pgbench`."""
        return self.server.binaries

    async def status_database(self, name: str = "") -> ServiceDatabase:
        """Make an empty database of status at its newest schema."""

        async def migrated(database: ServiceDatabase) -> None:
            await migrate(database.owner_url, MIGRATIONS, runtime_role=role_of(database.runtime_url))

        storage = Storage(
            admin_url=self.server.admin_url,
            passwords=self.directory / "passwords.json",
            prefix=f"bench_{name}_" if name else "bench_",
        )
        return await storage.database("status", fresh=True, migrations=MIGRATIONS, migrate=migrated)


@asynccontextmanager
async def running_postgres(*settings: str) -> AsyncIterator[Postgres]:
    """Run a server of its own while inside; `settings` such as `max_wal_size = '8GB'` count from a restart on."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="batzen-bench-")))
        directory.chmod(0o711)  # noqa: ASYNC240 once; PostgreSQL's unprivileged user has to enter it
        server = EmbeddedPostgres(directory / "postgres")
        stack.push_async_callback(asyncio.to_thread, server.stop)
        await asyncio.to_thread(server.start)
        if settings:
            await executed(server.admin_url, *(f"ALTER SYSTEM SET {setting}" for setting in settings))
            await asyncio.to_thread(server.stop)
            await asyncio.to_thread(server.start)
        yield Postgres(directory=directory, server=server, pid=await postgres_pid(server.admin_url))


async def executed(url: str, *statements: str) -> None:
    """Carry statements out, each by itself."""
    connection = await asyncpg.connect(plain_dsn(url))
    try:
        for statement in statements:
            await connection.execute(statement, timeout=None)
    finally:
        await connection.close()


def payment_id(number: int) -> str:
    return f"pay_{number:0{ID_DIGITS}d}"


async def store_payments(
    database: ServiceDatabase, *, first: int = 0, beyond: int, revisions: int, stands_at: int, over_days: float = 0.0
) -> None:
    """Store payments with so many transitions each, opened evenly over the last days; sellers and bookings find them.

    A payment may stand at an earlier revision than its history goes: then the rest is committed and nobody knows yet.
    """
    for days in range(0, round(over_days) + MADE_AHEAD_DAYS, MADE_AHEAD_DAYS):
        month = datetime.now(UTC) - timedelta(days=days)
        runtime_role = role_of(database.runtime_url)
        await maintain(database.owner_url, runtime_role=runtime_role, now=month, history_months=KEPT_MONTHS)
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        range_of = (TENANT, first, beyond)
        await connection.execute(_PAYMENTS, *range_of, stands_at, snapshot_json(SNAPSHOT), over_days, timeout=None)
        await connection.execute(_TRANSITIONS, *range_of, revisions, timeout=None)
        for links in _LINKS:
            await connection.execute(links, timeout=None)
        await connection.execute("VACUUM ANALYZE", timeout=None)
    finally:
        await connection.close()
