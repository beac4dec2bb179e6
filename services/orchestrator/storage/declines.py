"""Declines of the last hour, one row for each of payer, address and card that it counts for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.runtime.database.connections import DirectConnections

FORGOTTEN_AT_ONCE: Final = 20
"""Rows that count no more and go with each decline: more than it adds."""


class DeclineStore:
    """Reads and writes them, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def add(
        self,
        tenant_id: str,
        counted: Sequence[bytes],
        *,
        card: bytes,
        payment_id: str,
        decline: int,
        now: datetime,
        window: timedelta,
    ) -> None:
        """Keep a decline, the payment's so many-th; once, however often it is said. Empty `card`: it is not known."""
        rows = [*((one, card) for one in counted), *([(card, b"")] if card else [])]
        async with self._held.statement("decline.add") as connection:
            await connection.execute(
                ADD,
                tenant_id,
                [one for one, _ in rows],
                [of_card for _, of_card in rows],
                payment_id,
                decline,
                now,
                now - window,
                FORGOTTEN_AT_ONCE,
            )

    async def blocking(
        self, tenant_id: str, counted: Sequence[bytes], *, at_most: int, since: datetime
    ) -> datetime | None:
        """Return the decline that has to age until one may be added; None while there are fewer than `at_most`.

        The cards that were tried by who is counted count for them, whoever else tried those.
        """
        async with self._held.statement(None) as connection:
            found: datetime | None = await connection.fetchval(BLOCKING, tenant_id, list(counted), since, at_most)
        return found


ADD: Final = """
WITH old AS (
    DELETE FROM declines WHERE (tenant_id, counted, payment_id, decline) IN (
        SELECT tenant_id, counted, payment_id, decline FROM declines
        WHERE tenant_id = $1 AND decline_time < $7 ORDER BY decline_time LIMIT $8 FOR UPDATE SKIP LOCKED
    )
)
INSERT INTO declines (tenant_id, counted, card, payment_id, decline, decline_time)
SELECT $1, one.counted, one.card, $4, $5, $6 FROM unnest($2::bytea[], $3::bytea[]) AS one (counted, card)
ON CONFLICT ON CONSTRAINT declines_pkey DO NOTHING"""

BLOCKING: Final = """
WITH concerned AS (
    SELECT unnest($2::bytea[]) AS counted
    UNION SELECT card FROM declines
    WHERE tenant_id = $1 AND counted = ANY($2::bytea[]) AND decline_time > $3 AND card <> ''
), full_ones AS (
    SELECT (array_agg(decline_time ORDER BY decline_time DESC))[$4::integer] AS ages
    FROM declines JOIN concerned USING (counted)
    WHERE tenant_id = $1 AND decline_time > $3 GROUP BY counted HAVING count(*) >= $4
)
SELECT max(ages) FROM full_ones"""
