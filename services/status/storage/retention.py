"""Months of history: made before they are needed, taken out when all of it is old and settled. Run by the owner role.

A month that is taken out stays in the database as a table of its own, for the operator to archive and drop. Its
payments stay as they stand. A late move of one goes on with its revisions, in `transitions_other`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import asyncpg

from services.runtime.database.connections import connect_held
from services.status.domain.records import open_month

MONTHS_AHEAD: Final = 3
"""Months made beforehand, so that the job may fail to run for a quarter."""
HISTORY_MONTHS: Final = 24
"""Whole months of history kept after the one a payment was opened in; banks contest for up to 18 months."""
LOCK_WAIT_MS: Final = 2_000
"""For the history. Transitions queue behind a lock that waits, so this gives up and is run again."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What one run came to; months by their first day."""

    made: tuple[date, ...]
    taken_out: tuple[date, ...]
    kept_unsettled: tuple[date, ...]
    """Old enough, but something is still awaited of one of its payments."""


async def maintain(
    owner_url: str, *, runtime_role: str, now: datetime, history_months: int = HISTORY_MONTHS
) -> Maintained:
    """Make the months to come, and take out those that are old and settled. Safe to run again, also after a failure.

    Raises `asyncpg.LockNotAvailableError` when the history was in use for too long.
    """
    connection = await connect_held(owner_url, application_name="maintain", bare=True)
    try:
        await connection.execute(f"SET lock_timeout = {LOCK_WAIT_MS}")
        this_month = open_month(now)
        existing = await _months(connection)
        wanted = {_later(this_month, months) for months in range(MONTHS_AHEAD + 1)} | await _unsorted(connection)
        made = sorted(wanted - existing)
        for month in made:
            await _make(connection, month, runtime_role=runtime_role)
        old = sorted(month for month in existing | wanted if month < _later(this_month, -history_months))
        taken_out = [month for month in old if await _take_out(connection, month, now=now)]
    finally:
        await connection.close()
    return Maintained(
        made=tuple(made), taken_out=tuple(taken_out), kept_unsettled=tuple(sorted(set(old) - set(taken_out)))
    )


async def _months(connection: asyncpg.Connection) -> set[date]:
    """Return the months that have a partition."""
    rows = await connection.fetch(
        """
        SELECT substring(pg_get_expr(relpartbound, oid) FROM $$FROM \\('([0-9-]+)'\\)$$)::date AS month
        FROM pg_class JOIN pg_inherits ON inhrelid = oid
        WHERE inhparent = 'transitions'::regclass AND pg_get_expr(relpartbound, oid) <> 'DEFAULT'
        """
    )
    return {row["month"] for row in rows}


async def _unsorted(connection: asyncpg.Connection) -> set[date]:
    """Return the months that were not made in time, but not those that were taken out."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT open_month FROM transitions_other
        WHERE NOT EXISTS (SELECT FROM compactions c WHERE c.open_month = transitions_other.open_month)
        """
    )
    return {row["open_month"] for row in rows}


async def _make(connection: asyncpg.Connection, month: date, *, runtime_role: str) -> None:
    """Make the partition of a month, with what was written of it before it was there."""
    name = _name(month)
    async with connection.transaction():
        # The whole history: a statement that was planned before the month was there would look for its rows in
        # `transitions_other`, find none, and let a repeated request move the payment again.
        await connection.execute("LOCK TABLE transitions IN ACCESS EXCLUSIVE MODE")
        await connection.execute(
            f"""
            CREATE TABLE {name} (
              LIKE transitions INCLUDING DEFAULTS,
              CONSTRAINT {name}_pkey PRIMARY KEY (tenant_id, payment_id, open_month, revision)
            );
            CREATE INDEX {name}_by_xid ON {name} (tenant_id, xid);
            INSERT INTO {name} SELECT * FROM transitions_other WHERE open_month = '{month}';
            DELETE FROM transitions_other WHERE open_month = '{month}';
            ALTER TABLE transitions ATTACH PARTITION {name} FOR VALUES FROM ('{month}') TO ('{_later(month, 1)}');
            """  # noqa: S608 our own names and dates
        )
        # Defaults give the runtime role every table; what is in this one it reaches through `transitions` alone.
        role = await connection.fetchval("SELECT quote_ident($1)", runtime_role)
        await connection.execute(f"REVOKE ALL ON {name} FROM {role}")
    _logger.info("Made the history of %s", f"{month:%Y-%m}")


async def _take_out(connection: asyncpg.Connection, month: date, *, now: datetime) -> bool:
    """Take the partition of a month out of the history; False if something is still awaited of one of its payments."""
    if await _is_awaited(connection, month):
        return False
    name = _name(month)
    async with connection.transaction():
        await connection.execute("LOCK TABLE transitions IN ACCESS EXCLUSIVE MODE")
        if await _is_awaited(connection, month):  # now nobody moves any more
            return False
        await connection.execute(
            f"""
            WITH RECURSIVE tenants (tenant_id) AS (
              SELECT min(tenant_id) FROM {name}
              UNION ALL
              SELECT (SELECT min(m.tenant_id) FROM {name} m WHERE m.tenant_id > tenants.tenant_id)
              FROM tenants WHERE tenants.tenant_id IS NOT NULL
            )
            INSERT INTO compactions (tenant_id, open_month, last_xid, compact_time)
            SELECT tenant_id, $1, last.xid, $2
            FROM tenants, LATERAL (
              SELECT xid FROM {name} m WHERE m.tenant_id = tenants.tenant_id ORDER BY xid DESC LIMIT 1
            ) last
            """,  # noqa: S608 a name of our own
            month,
            now,
        )
        await connection.execute(f"ALTER TABLE transitions DETACH PARTITION {name}")
    _logger.info("Took out the history of %s, which is kept in %s", f"{month:%Y-%m}", name)
    return True


async def _is_awaited(connection: asyncpg.Connection, month: date) -> bool:
    return bool(
        await connection.fetchval("SELECT EXISTS (SELECT FROM payments WHERE NOT settled AND open_month = $1)", month)
    )


def _name(month: date) -> str:
    return f"transitions_{month:%Y_%m}"


def _later(month: date, months: int) -> date:
    """Return the first day of the month that many months later."""
    year, index = divmod(month.year * 12 + month.month - 1 + months, 12)
    return date(year, index + 1, 1)
