"""What operators moved without a second person, in the console's own database: so that a limit is not passed in parts.

It is written before the call, under one lock of the tenant, so that two forms at once see one another. It stays where
the call is refused or its outcome is not known: what was tried counts, too.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from batzen.type.v1.money_pb2 import Money
from services.console.actions.domain import Limits, MovedAlone
from services.runtime.database.connections import DirectConnections

WINDOW: Final = timedelta(hours=24)
"""In which what one operator moves is counted together."""
_LOCK: Final = "SELECT pg_advisory_xact_lock(hashtextextended('moved_alone ' || $1, 0))"
_SUMS: Final = """
SELECT
    coalesce(sum(amount_minor) FILTER (WHERE payment_id = $2), 0)::bigint AS of_payment,
    coalesce(sum(amount_minor) FILTER (WHERE subject = $3 AND act_time > $4), 0)::bigint AS of_day
FROM moved_alone
WHERE tenant_id = $1 AND currency_code = $5 AND NOT (request_id = $6 AND payment_id = $2)
AND (payment_id = $2 OR (subject = $3 AND act_time > $4))
"""
_SAME: Final = """
SELECT 1 FROM moved_alone
WHERE tenant_id = $1 AND request_id = $2 AND payment_id = $3 AND currency_code = $4 AND amount_minor >= $5
"""
_TAKE: Final = """
INSERT INTO moved_alone (tenant_id, request_id, payment_id, subject, currency_code, amount_minor, act_time)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (tenant_id, request_id) DO UPDATE SET amount_minor = greatest(moved_alone.amount_minor, $6)
WHERE moved_alone.payment_id = $3 RETURNING true
"""


class AloneStore:
    """Keeps it, for one front."""

    def __init__(self, held: DirectConnections, limits: Limits, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._limits = limits
        self._now = now

    async def needs_release(self, tenant_id: str, payment_id: str, moved: Money | None, *, by: str) -> bool:
        """Tell whether a second person has to release it, as things stand."""
        if moved is None:
            return False
        async with self._held.statement(None) as connection:
            before = await self._before(connection, tenant_id, "", payment_id, moved, by=by)
        return self._limits.needs_release(moved, before)

    async def take(self, tenant_id: str, request_id: str, payment_id: str, moved: Money | None, *, by: str) -> bool:
        """Count it as moved alone, and return True; or return False, where a second person has to release it.

        The same form sent twice is counted once. Its id is of one action on one payment. By one that was counted for
        another payment, by a front that does not look at that, nothing is moved alone.
        """
        if moved is None:
            return True
        minor, currency = moved.amount_minor, moved.currency_code
        async with self._held.transaction("console.alone.take") as connection:
            await connection.execute(_LOCK, tenant_id)
            if await connection.fetchval(_SAME, tenant_id, request_id, payment_id, currency, minor):
                return True
            before = await self._before(connection, tenant_id, request_id, payment_id, moved, by=by)
            if self._limits.needs_release(moved, before):
                return False
            row = (tenant_id, request_id, payment_id, by, currency, minor, self._now())
            return await connection.fetchval(_TAKE, *row) is not None

    async def _before(
        self,
        connection: asyncpg.Connection,
        tenant_id: str,
        request_id: str,
        payment_id: str,
        moved: Money,
        *,
        by: str,
    ) -> MovedAlone:
        since = self._now() - WINDOW
        row = await connection.fetchrow(_SUMS, tenant_id, payment_id, by, since, moved.currency_code, request_id)
        return MovedAlone(of_payment_minor=row["of_payment"], of_day_minor=row["of_day"])
