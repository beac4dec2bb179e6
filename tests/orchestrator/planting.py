"""Changes rows past every rule, as a superuser can, and puts them back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import asyncpg

from local.postgres import EmbeddedPostgres
from services.runtime.database.connections import plain_dsn

OF_PAYMENT: Final[Mapping[str, Mapping[str, str]]] = {
    "orchestrator": dict.fromkeys(("payments", "transitions", "requests", "booking_claims"), "payment_id"),
    "status": dict.fromkeys(("payments", "transitions"), "payment_id"),
    "pricing": {"quotes": "quote_id"},
    "gateway": {
        **dict.fromkeys(
            ("payments", "intents", "refunds", "movements", "disputes", "ledger_entries", "settlements"), "payment_id"
        ),
        **dict.fromkeys(("deliveries", "receivables", "balance_transactions"), "payment_id"),
        "calls": "subject_id",
    },
}
"""Tables of each service's database that say something of a payment, and the column by which they do."""


WRITTEN = """
SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
"""The columns of a table that are written: what is generated follows from them."""


class Gardener:
    """A superuser of every database, for one payment."""

    def __init__(self, connections: Mapping[str, asyncpg.Connection], ids: Mapping[str, str]) -> None:
        self._connections = connections
        self._ids = ids

    @asynccontextmanager
    async def planted(self, service: str, sql: str) -> AsyncIterator[None]:
        """Change rows of the payment in one database while inside: `:payment` and `:quote` stand for its ids."""
        connection = self._connections[service]
        for table, column in OF_PAYMENT[service].items():
            await connection.execute(
                f"CREATE TEMP TABLE saved_{table} AS SELECT * FROM {table} WHERE {column} = '{self._ids[column]}'"
            )
        try:
            done = await connection.execute(self._about(sql))
            assert not done.endswith(" 0"), f"nothing was planted: {done}"
            yield
        finally:
            for table, column in OF_PAYMENT[service].items():
                kept = await connection.fetchval(WRITTEN, table)
                await connection.execute(
                    f"DELETE FROM {table} WHERE {column} = '{self._ids[column]}';"
                    f"INSERT INTO {table} ({kept}) OVERRIDING SYSTEM VALUE SELECT {kept} FROM saved_{table};"
                    f"DROP TABLE saved_{table}"
                )

    async def execute(self, service: str, sql: str) -> None:
        """Change rows for good."""
        await self._connections[service].execute(self._about(sql))

    def _about(self, sql: str) -> str:
        payment = self._ids["payment_id"]
        return sql.replace(":payment", f"'{payment}'").replace(":quote", f"'{self._ids['quote_id']}'")


@asynccontextmanager
async def gardener(
    postgres: EmbeddedPostgres, databases: Mapping[str, str], *, payment_id: str, quote_id: str
) -> AsyncIterator[Gardener]:
    """Give a superuser of the databases of all services, for whom no trigger fires."""
    async with AsyncExitStack() as stack:
        connections: dict[str, Any] = {}
        for service, name in databases.items():
            connection = await asyncpg.connect(plain_dsn(postgres.admin_url), database=name)
            stack.push_async_callback(connection.close)
            await connection.execute("SET session_replication_role = replica")
            connections[service] = connection
        ids = {"payment_id": payment_id, "subject_id": payment_id, "quote_id": quote_id}
        yield Gardener(connections, ids)
