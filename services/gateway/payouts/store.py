"""The rows of payouts: each is added once, and moved on from what was read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import RequestInProgress
from services.gateway.notices import notice_rows
from services.gateway.notices.domain import Notice
from services.gateway.payouts.domain import Payout, later
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.shared import codec

TRIES_MAX: Final = 5
"""Of one sight of a payout, each after another came in between: event and reading, so there are two at once at most."""

_COLUMNS: Final = (
    "seller_id, payout_id, stripe_account_id, amount_minor, currency_code, state, arrival_time, failure_code,"
    " automatic, reconciliation_status, shown_time, create_time"
)


class PayoutStore:
    """Reads and writes payouts."""

    def __init__(self, connections: DirectConnections, *, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self._now: Callable[[], datetime] = clock.now

    async def record(self, tenant_id: str, shown: Sequence[Payout], notices: Sequence[Notice] = ()) -> None:
        """Keep what was seen of payouts of one seller, or of the platform, each at most once in it; and what people are
        told of that, whatever was known.
        """
        rows = json.dumps([codec.to_json(one) for one in shown])
        async with self._connections.statement("payout.add") as connection:
            added = await connection.fetch(
                ADD,
                tenant_id,
                rows,
                self._now(),
                notice_rows.as_json(notices),
                self._clock.shift,
                call_context.origin(),
            )
        new = {row["payout_id"] for row in added}
        for one in shown:
            if one.payout_id not in new:
                await self._move_on(tenant_id, one)

    async def _move_on(self, tenant_id: str, shown: Payout) -> None:
        for _ in range(TRIES_MAX):
            async with self._connections.statement(None) as connection:
                known = _payout(await connection.fetchrow(FIND, tenant_id, shown.seller_id, shown.payout_id))
            moved = later(known, shown)
            if moved == known:
                return
            async with self._connections.statement("payout.move") as connection:
                is_moved = await connection.fetchval(
                    MOVE,
                    tenant_id,
                    shown.seller_id,
                    shown.payout_id,
                    moved.state,
                    moved.arrival_time,
                    moved.failure_code,
                    moved.reconciliation_status,
                    moved.shown_time,
                    self._now(),
                    known.state,
                    known.reconciliation_status,
                    known.shown_time,
                )
            if is_moved:
                return
        raise RequestInProgress

    async def page(
        self, tenant_id: str, seller_id: str, *, after: tuple[datetime, str] | None, limit: int
    ) -> list[Payout]:
        """Return payouts, the newest first."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(PAGE, tenant_id, seller_id, *(after or (None, None)), limit)
        return [_payout(row) for row in rows]

    async def failed(self, tenant_id: str, *, since: datetime) -> tuple[int, int]:
        """Return how many payouts were seen to fail since then, of the platform and of sellers.

        One that was made long before is no news: it was read with what there was before Stripe reported any.
        """
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(FAILED_SINCE, tenant_id, since)
        return row["of_platform"], row["of_sellers"]

    async def was_read(self, tenant_id: str, seller_id: str, stripe_account_id: str) -> bool:
        """Whether the payouts from before Stripe reported any were read of an account."""
        async with self._connections.statement(None) as connection:
            return await connection.fetchval(WAS_READ, tenant_id, seller_id, stripe_account_id) is not None

    async def note_reading(self, tenant_id: str, seller_id: str, stripe_account_id: str) -> None:
        """Keep that they were read, and are here."""
        async with self._connections.statement("payout.read") as connection:
            await connection.execute(NOTE_READING, tenant_id, seller_id, stripe_account_id, self._now())


def _payout(row: asyncpg.Record) -> Payout:
    return Payout(**row)


_NOTICES: Final = notice_rows.inserting(tenant="$1", notices="$4::jsonb", shift="$5::interval", origin="$6::text")

ADD: Final = f"""
    WITH notice AS ({_NOTICES})
    INSERT INTO payouts (tenant_id, observe_time, {_COLUMNS})
    SELECT $1, $3, {_COLUMNS} FROM jsonb_to_recordset($2::jsonb) AS seen(
        seller_id text, payout_id text, stripe_account_id text, amount_minor bigint, currency_code text, state text,
        arrival_time timestamptz, failure_code text, automatic boolean, reconciliation_status text,
        shown_time timestamptz, create_time timestamptz)
    ON CONFLICT ON CONSTRAINT payouts_pkey DO NOTHING
    RETURNING payout_id
"""  # noqa: S608 our own column names

FIND: Final = f"""
    SELECT {_COLUMNS} FROM payouts WHERE tenant_id = $1 AND seller_id = $2 AND payout_id = $3
"""  # noqa: S608 our own column names

# Only from what was read: whoever came in between is looked at first.
MOVE: Final = """
    UPDATE payouts SET state = $4, arrival_time = $5, failure_code = $6, reconciliation_status = $7, shown_time = $8,
        observe_time = $9
    WHERE tenant_id = $1 AND seller_id = $2 AND payout_id = $3
        AND state = $10 AND reconciliation_status = $11 AND shown_time = $12
    RETURNING true
"""

PAGE: Final = f"""
    SELECT {_COLUMNS} FROM payouts
    WHERE tenant_id = $1 AND seller_id = $2
        AND ($3::timestamptz IS NULL OR (create_time, payout_id) < ($3, $4::text))
    ORDER BY create_time DESC, payout_id DESC
    LIMIT $5
"""  # noqa: S608 our own column names

FAILED_SINCE: Final = """
    SELECT count(*) FILTER (WHERE seller_id = '') AS of_platform, count(*) FILTER (WHERE seller_id <> '') AS of_sellers
    FROM payouts WHERE tenant_id = $1 AND state = 'failed' AND observe_time >= $2
        AND create_time >= $2::timestamptz - interval '30 days'
"""

WAS_READ: Final = """
    SELECT true FROM payout_readings WHERE tenant_id = $1 AND seller_id = $2 AND stripe_account_id = $3
"""

NOTE_READING: Final = """
    INSERT INTO payout_readings (tenant_id, seller_id, stripe_account_id, read_time) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING
"""
