"""Databases of status as months of business leave them: ids as the orchestrator makes them, many payments at once.

Whatever the number of payments, a database has the same shape: as many months, as many payments per payer and seller,
as many under way at the same time. Everything is written by set.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from bench.database import TENANT
from bench.sample import SNAPSHOT
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn, role_of
from services.status.storage.retention import MONTHS_AHEAD, maintain
from services.status.storage.rows import snapshot_json

DAYS: Final = 365
"""Over which the payments were opened, evenly; retention keeps twice as much."""
TRANSITIONS: Final = 10
"""Of a payment."""
UNDER_WAY: Final = 8
"""Payments whose transitions lie between each other's."""
PER_PAYER: Final = 10
PER_SELLER: Final = 100
FIRST_XID: Final = 1_000_000
"""Beyond those of a fresh server, so that what is written later lies apart."""
KEPT_MONTHS: Final = 1_200
WRITERS: Final = 2

_DIGITS: Final = "'0123456789abcdefghjkmnpqrstvwxyz'"
_MILLISECOND: Final = " || ".join(f"substr({_DIGITS}, (ms >> {shift} & 31)::int + 1, 1)" for shift in range(45, -1, -5))
"""How an id begins, so that ids sort by time; what follows is random."""

# Every payment with its number in the order of time. It is dropped once all is written.
_NUMBERED: Final = f"""
CREATE UNLOGGED TABLE numbered AS
SELECT number, 'pay_' || {_MILLISECOND} || substr(md5(number::text), 1, 16) AS payment_id, open_time,
       date_trunc('month', open_time AT TIME ZONE 'UTC')::date AS open_month
FROM generate_series(0, $1::int - 1) AS number,
LATERAL (SELECT now() - interval '1 day' * $2::int * ($1::int - number) / $1::int AS open_time OFFSET 0) AS opened,
LATERAL (SELECT (extract(epoch FROM open_time) * 1000)::bigint AS ms OFFSET 0) AS counted
"""
_PAYMENTS: Final = """
INSERT INTO payments (
  tenant_id, payment_id, open_month, revision, collection, state, settled, snapshot, payer_id, seller_ids, booking_ids,
  client_reference, quote_id, total_amount_minor, currency_code, labels, open_digest, open_time, update_time
)
SELECT $1, payment_id, open_month, $5, 'REQUIRES_PAYMENT_METHOD', 'REQUIRES_PAYMENT_METHOD', false, $6::jsonb,
       'payer_' || number % ($4::int / $7::int), ARRAY['seller_' || number % ($4::int / $8::int)],
       ARRAY['booking_' || number], 'order ' || number, 'quote_' || substr(payment_id, 5), 12000, 'CHF',
       '{"channel": "web"}', sha256(payment_id::bytea), open_time, open_time
FROM numbered WHERE number >= $2 AND number < $3 ORDER BY number
"""
# In the order of time: the first revision of some payments, the second of the same, and so on; each by itself.
_TRANSITIONS: Final = f"""
INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time, xid)
SELECT $1, payment_id, open_month, revision, md5(payment_id || revision)::uuid, 'REQUIRES_PAYMENT_METHOD', $5::jsonb,
       open_time, (first * $4::int + (revision - 1) * {UNDER_WAY} + number - first + {FIRST_XID})::text::xid8
FROM generate_series($2::int, $3::int - 1, {UNDER_WAY}) AS first, LATERAL (
  SELECT number, payment_id, open_month, revision, open_time
  FROM numbered, generate_series(1, $4::int) AS revision
  WHERE number >= first AND number < first + {UNDER_WAY}
  ORDER BY revision, number
) AS under_way
"""
_SELLERS: Final = """
INSERT INTO payment_sellers (tenant_id, seller_id, open_time, payment_id)
SELECT $1, 'seller_' || number % ($4::int / $5::int), open_time, payment_id
FROM numbered WHERE number >= $2 AND number < $3 ORDER BY number
"""
_BOOKINGS: Final = """
INSERT INTO payment_bookings (tenant_id, booking_id, open_time, payment_id)
SELECT $1, 'booking_' || number, open_time, payment_id FROM numbered WHERE number >= $2 AND number < $3 ORDER BY number
"""


async def fill(database: ServiceDatabase, *, payments: int) -> None:
    """Store so many payments, a multiple of 400, each with its transitions, in a database that has none yet."""
    now = datetime.now(UTC)
    for days in range(0, DAYS + 28 * MONTHS_AHEAD, 28 * MONTHS_AHEAD):
        await maintain(
            database.owner_url,
            runtime_role=role_of(database.runtime_url),
            now=now - timedelta(days=days),
            history_months=KEPT_MONTHS,
        )
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        await owner.execute(_NUMBERED, payments, DAYS, timeout=None)
        await owner.execute("ALTER TABLE numbered ADD PRIMARY KEY (number)", timeout=None)
        await owner.execute("ANALYZE numbered", timeout=None)
        share = payments // WRITERS
        assert not share % UNDER_WAY and not payments % PER_SELLER, "or the shape would differ"  # noqa: PT018 one rule
        await asyncio.gather(
            *(_write(database, payments, first=first, beyond=first + share) for first in range(0, payments, share))
        )
        await owner.execute("DROP TABLE numbered", timeout=None)
        # As autovacuum leaves it: what links payments to sellers and bookings is then read from indexes alone.
        await owner.execute("VACUUM payment_sellers, payment_bookings", timeout=None)
        await owner.execute("ANALYZE", timeout=None)
    finally:
        await owner.close()


async def _write(database: ServiceDatabase, payments: int, *, first: int, beyond: int) -> None:
    part = (TENANT, first, beyond)
    snapshot = snapshot_json(SNAPSHOT)
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        for statement, *arguments in (
            (_PAYMENTS, payments, TRANSITIONS, snapshot, PER_PAYER, PER_SELLER),
            (_TRANSITIONS, TRANSITIONS, snapshot),
            (_SELLERS, payments, PER_SELLER),
            (_BOOKINGS,),
        ):
            await connection.execute(statement, *part, *arguments, timeout=None)
    finally:
        await connection.close()
