"""What is counted of the tables for people who watch: each look reads what it counts, and no more."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from services.orchestrator.domain.agenda import WATCHED, Planned
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.storage import statements
from services.runtime.database.connections import DirectConnections


class FigureStore:
    """Counts. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def outbox_waiting(self, *, at_most: int) -> tuple[int, datetime | None]:
        """Return how many transitions status has not recorded yet, and when the oldest of them was made."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(statements.OUTBOX_WAITING, at_most)
        return row["pending"], row["oldest_time"]

    async def attention(self, *, at_most: int) -> dict[str, int]:
        """Return how many payments need an operator, by why; of the oldest ones, so many."""
        async with self._held.statement(None) as connection:
            found = await connection.fetch(statements.ATTENTION, at_most)
        return {row["reason"]: row["payments"] for row in found}

    async def planned(self, *, at_most: int) -> dict[NextStep, Planned]:
        """Return what plans do next by themselves, by step; of each, so many are counted."""
        async with self._held.statement(None) as connection:
            found = await connection.fetch(PLANNED, list(WATCHED), at_most)
        return {
            NextStep(row["next_step"]): Planned(payments=row["payments"], first_time=row["first_time"]) for row in found
        }

    async def open_bookings(self, *, at_most: int) -> int:
        """Return how many payments of bookings are not over; so many are counted."""
        async with self._held.statement(None) as connection:
            return int(await connection.fetchval(OPEN_BOOKINGS, at_most))


PLANNED: Final = """
SELECT step AS next_step, count(*) AS payments, min(next_time) AS first_time
FROM unnest($1::text[]) AS step,
    LATERAL (SELECT next_time FROM payments
        WHERE next_step = step AND next_step IN ('CHARGE', 'CAPTURE', 'RELEASE', 'WARN_HOLD') AND next_time IS NOT NULL
        ORDER BY next_time LIMIT $2) AS p
GROUP BY 1"""

OPEN_BOOKINGS: Final = """
SELECT count(*) FROM (SELECT FROM payments
    WHERE stage IN ('STARTING', 'COLLECTING') AND booking_ids <> '{}' LIMIT $1) AS p"""
