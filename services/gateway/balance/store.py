"""Tables of the balance: each balance transaction once, with what is booked of it, and how far reading has come."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from services.gateway.balance.domain import BalanceTransaction, facts_of
from services.gateway.errors import StripeUnavailable
from services.gateway.ledger.entry_rows import inserting, rows
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.statements import demand


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far reading has come by one page."""

    newest_id: str = ""
    """The newest that is kept with all before it; empty while the first reading is not at its end."""
    first_id: str = ""
    """The newest of the first reading."""
    after_id: str = ""
    """The oldest that it has come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position(Mark):
    """How far reading has come."""

    since: datetime
    """From when on there is something to read: since the account is this tenant's."""
    swept_time: datetime | None
    """Until when everything was looked for that came late; None before the first time."""


class BalanceStore:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, *, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    async def begin(self, tenant_id: str, *, within: timedelta) -> None:
        """Make reading due by itself, unless it is."""
        async with self._connections.statement("balance.begin") as connection:
            await connection.execute(_BEGIN, tenant_id, self._clock.shift, within)

    async def demand(self, tenant_id: str) -> None:
        """Make reading due at once."""
        async with self._connections.statement("balance.demand") as connection:
            await connection.execute(_DEMAND, self._clock.shift, tenant_id)

    async def position(self, tenant_id: str) -> Position:
        """Return how far reading has come. Raises StripeUnavailable while the tenant's account was not seen once."""
        async with self._connections.statement("balance.position") as connection:
            row = await connection.fetchrow(_POSITION, tenant_id)
        if row is None:  # nobody has seen yet which account the key opens
            raise StripeUnavailable
        return Position(
            newest_id=row["newest_id"],
            first_id=row["first_id"],
            after_id=row["after_id"],
            since=row["pin_time"] - LATE_FOR,
            swept_time=row["swept_time"],
        )

    async def read_time(self, tenant_id: str) -> datetime | None:
        """Return when all there was had been read last, or since when there is something; None without an account."""
        async with self._connections.statement(None) as connection:
            since: datetime | None = await connection.fetchval(_READ_TIME, tenant_id)
        return since

    async def missing(self, tenant_id: str, ids: Sequence[str]) -> set[str]:
        """Return which of some balance transactions are not kept here."""
        async with self._connections.statement("balance.missing") as connection:
            found = await connection.fetch(_MISSING, tenant_id, list(ids))
        return {str(row["id"]) for row in found}

    async def keep(self, tenant_id: str, shown: Sequence[BalanceTransaction], *, mark: Mark | None = None) -> int:
        """Keep and book those that are not here yet, and how far reading has come; return how many they were.

        It is one statement: of what a process that dies has kept, all is booked.
        """
        owners = await self._owners(tenant_id, shown)
        facts = [fact for one in shown for fact in facts_of(one, payment_id=owners.get(one.balance_transaction_id, ""))]
        async with self._connections.statement("balance.keep") as connection:
            kept: int = await connection.fetchval(
                _KEEP,
                tenant_id,
                json.dumps([_row(one, owners) for one in shown]),
                json.dumps(rows(facts)),
                self._clock.shift,
                *((mark.newest_id, mark.first_id, mark.after_id) if mark is not None else (None, None, None)),
            )
        return kept

    async def swept(self, tenant_id: str, until: datetime) -> None:
        """Keep until when everything was looked for."""
        async with self._connections.statement("balance.swept") as connection:
            await connection.execute(_SWEPT, tenant_id, until)

    async def _owners(self, tenant_id: str, shown: Iterable[BalanceTransaction]) -> dict[str, str]:
        """Return the payment of each that has one."""
        pairs = [(one.balance_transaction_id, of) for one in shown for of in (one.source_id, *one.related_ids) if of]
        async with self._connections.statement("balance.owners") as connection:
            found = await connection.fetch(_OWNERS, tenant_id, [pair[0] for pair in pairs], [pair[1] for pair in pairs])
        return {str(row["id"]): str(row["payment_id"]) for row in found}


def _row(shown: BalanceTransaction, owners: dict[str, str]) -> dict[str, object]:
    return {
        "balance_transaction_id": shown.balance_transaction_id,
        "payment_id": owners.get(shown.balance_transaction_id, ""),
        "type": shown.type,
        "reporting_category": shown.reporting_category,
        "amount_minor": shown.amount_minor,
        "fee_minor": shown.fee_minor,
        "net_minor": shown.net_minor,
        "currency_code": shown.currency_code,
        "source_id": shown.source_id,
        "exchange_rate": shown.exchange_rate,
        "fees": [asdict(fee) for fee in shown.fees],
        "create_time": shown.create_time.isoformat(),
        "available_time": shown.available_time.isoformat(),
    }


LATE_FOR: Final = timedelta(minutes=30)
"""How far back what came late is looked for; what is later still, the daily reconciliation finds."""

_BEGIN: Final = """
INSERT INTO balance_reads (tenant_id, name, due_time) VALUES ($1, 'platform', now() + $2::interval + $3::interval)
ON CONFLICT ON CONSTRAINT balance_reads_pkey
DO UPDATE SET due_time = coalesce(balance_reads.due_time, excluded.due_time)"""

_DEMAND: Final = f"""
UPDATE balance_reads SET {demand("$1::interval", "balance_reads")}
WHERE tenant_id = $2 AND name = 'platform' AND due_time > now() + $1::interval"""  # noqa: S608 our own names

_POSITION: Final = """
SELECT coalesce(r.newest_id, '') AS newest_id, coalesce(r.first_id, '') AS first_id,
    coalesce(r.after_id, '') AS after_id, r.swept_time, a.pin_time
FROM stripe_accounts a LEFT JOIN balance_reads r ON r.tenant_id = a.tenant_id AND r.name = 'platform'
WHERE a.tenant_id = $1"""

_READ_TIME: Final = """
SELECT coalesce(r.swept_time, a.pin_time)
FROM stripe_accounts a LEFT JOIN balance_reads r ON r.tenant_id = a.tenant_id AND r.name = 'platform'
WHERE a.tenant_id = $1"""

_SWEPT: Final = """
UPDATE balance_reads SET swept_time = $2 WHERE tenant_id = $1 AND name = 'platform'"""

_MISSING: Final = """
SELECT id FROM unnest($2::text[]) AS id
WHERE NOT EXISTS (SELECT FROM balance_transactions b WHERE b.tenant_id = $1 AND b.balance_transaction_id = id)"""

_OWNERS: Final = """
SELECT DISTINCT ON (asked.id) asked.id, found.payment_id
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS asked (id, stripe_id, place)
CROSS JOIN LATERAL (
    SELECT payment_id FROM intents i WHERE i.tenant_id = $1 AND i.charge_id = asked.stripe_id
    UNION ALL
    SELECT payment_id FROM intents i WHERE i.tenant_id = $1 AND i.intent_id = asked.stripe_id
    UNION ALL
    SELECT payment_id FROM refunds r WHERE r.tenant_id = $1 AND r.stripe_refund_id = asked.stripe_id
    UNION ALL
    SELECT payment_id FROM movements m WHERE m.tenant_id = $1 AND m.stripe_id = asked.stripe_id
    LIMIT 1) AS found
ORDER BY asked.id, asked.place"""

_KEEP: Final = f"""
WITH kept AS (
    INSERT INTO balance_transactions (tenant_id, balance_transaction_id, payment_id, type, reporting_category,
        amount_minor, fee_minor, net_minor, currency_code, source_id, exchange_rate, fees, create_time, available_time,
        record_time)
    SELECT $1, b.balance_transaction_id, b.payment_id, b.type, b.reporting_category, b.amount_minor, b.fee_minor,
        b.net_minor, b.currency_code, b.source_id, b.exchange_rate, b.fees, b.create_time, b.available_time,
        now() + $4::interval
    FROM jsonb_to_recordset($2::jsonb) AS b (balance_transaction_id text, payment_id text, type text,
        reporting_category text, amount_minor bigint, fee_minor bigint, net_minor bigint, currency_code text,
        source_id text, exchange_rate text, fees jsonb, create_time timestamptz, available_time timestamptz)
    ON CONFLICT ON CONSTRAINT balance_transactions_pkey DO NOTHING
    RETURNING balance_transaction_id),
read AS (
    INSERT INTO balance_reads (tenant_id, name, newest_id, first_id, after_id)
    SELECT $1, 'platform', $5, $6, $7 WHERE $5::text IS NOT NULL
    ON CONFLICT ON CONSTRAINT balance_reads_pkey
    DO UPDATE SET newest_id = excluded.newest_id, first_id = excluded.first_id, after_id = excluded.after_id),
booked AS (
    {inserting(tenant="$1", entries="$3::jsonb", shift="$4::interval")}
    ON CONFLICT ON CONSTRAINT ledger_entries_pkey DO NOTHING)
SELECT count(*) FROM kept"""  # noqa: S608 our own names
