"""Reads figures: of each page the rows that it adds up, and no payment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final

import asyncpg

from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.facts.feed_rows import PAYMENTS
from services.orchestrator.figures.domain import Dimension, Row
from services.runtime.database.connections import DirectConnections
from services.shared.paging import position_in, token_for

SUBJECTS_AT_ONCE: Final = 50
"""Sellers or methods that a page adds up: each has up to some ten numbers a day, 200,000 in a year."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which figures."""

    by: Dimension
    """ALL: by day. Else a row for each of these, over the whole span."""
    dimension: Dimension
    """What is counted: all, what concerns a seller, what was paid by a method."""
    subject: str
    """The seller or the method, where one is meant."""
    start: date
    end: date
    """The last day."""
    currency_code: str


class PaymentFigureStore:
    """Reads them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def page(self, tenant_id: str, wanted: Wanted, *, size: int, page_token: str) -> tuple[Sequence[Row], str]:
        """Return the rows of a page, and the token of the next; a page by seller or method may be short."""
        walk = f"figures {tenant_id} {wanted}"
        if wanted.by is Dimension.ALL:
            return await self._by_day(tenant_id, wanted, size=size, page_token=page_token, walk=walk)
        size = min(size, SUBJECTS_AT_ONCE)
        return await self._by_subject(tenant_id, wanted, size=size, page_token=page_token, walk=walk)

    async def heard_time(self, tenant_id: str) -> datetime | None:
        """Return until when what status recorded was heard; None while nothing was."""
        async with self._held.statement(None) as connection:
            heard: datetime | None = await connection.fetchval(HEARD, tenant_id, PAYMENTS)
        return heard

    async def _by_day(
        self, tenant_id: str, wanted: Wanted, *, size: int, page_token: str, walk: str
    ) -> tuple[Sequence[Row], str]:
        after = (wanted.start, "")
        if page_token:
            after = position_in(page_token, walk=walk, parse=_day_and_currency, invalid=PageTokenInvalid)
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(
                BY_DAY,
                tenant_id,
                wanted.dimension,
                wanted.subject,
                wanted.start,
                wanted.end,
                wanted.currency_code,
                *after,
                size + 1,
            )
        page = [_row(row, day=row["day"]) for row in rows[:size]]
        if len(rows) <= size:
            return page, ""
        return page, token_for(f"{page[-1].day} {page[-1].currency_code}", walk=walk)

    async def _by_subject(
        self, tenant_id: str, wanted: Wanted, *, size: int, page_token: str, walk: str
    ) -> tuple[Sequence[Row], str]:
        after = ""
        if page_token:
            after = position_in(page_token, walk=walk, parse=str, invalid=PageTokenInvalid)
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(
                BY_SUBJECT,
                tenant_id,
                wanted.dimension,
                wanted.start,
                wanted.end,
                wanted.currency_code,
                after,
                size,
            )
        page = [_row(row, subject=row["subject"]) for row in rows if row["currency_code"] is not None]
        is_full = len({row["subject"] for row in rows}) == size
        return page, token_for(rows[-1]["subject"], walk=walk) if is_full else ""


def _row(row: asyncpg.Record, *, subject: str = "", day: date | None = None) -> Row:
    return Row(subject=subject, day=day, currency_code=row["currency_code"], numbers=json.loads(row["numbers"]))


def _day_and_currency(position: str) -> tuple[date, str]:
    day, _, currency_code = position.partition(" ")
    return date.fromisoformat(day), currency_code


HEARD: Final = "SELECT heard_time FROM feeds WHERE tenant_id = $1 AND name = $2"

BY_DAY: Final = """
SELECT day, currency_code, jsonb_object_agg(figure, amount) AS numbers FROM payment_figures
WHERE tenant_id = $1 AND dimension = $2 AND subject = $3 AND day BETWEEN $4 AND $5
    AND ($6 = '' OR currency_code = $6) AND (day, currency_code) > ($7, $8)
GROUP BY day, currency_code ORDER BY day, currency_code LIMIT $9"""

# From one to the next by the key; one of whom the span has nothing is passed over, and is one of those looked at.
BY_SUBJECT: Final = """
WITH RECURSIVE subjects (subject, place) AS (
    (SELECT subject, 1 FROM payment_figures WHERE tenant_id = $1 AND dimension = $2 AND subject > $6
     ORDER BY subject LIMIT 1)
    UNION ALL
    SELECT (SELECT f.subject FROM payment_figures f
            WHERE f.tenant_id = $1 AND f.dimension = $2 AND f.subject > subjects.subject
            ORDER BY f.subject LIMIT 1), place + 1
    FROM subjects WHERE subjects.subject IS NOT NULL AND place < $7)
SELECT subjects.subject, summed.currency_code, summed.numbers FROM subjects
LEFT JOIN LATERAL (
    SELECT n.currency_code, jsonb_object_agg(n.figure, n.amount) AS numbers FROM (
        SELECT f.currency_code, f.figure, sum(f.amount)::bigint AS amount FROM payment_figures f
        WHERE f.tenant_id = $1 AND f.dimension = $2 AND f.subject = subjects.subject AND f.day BETWEEN $3 AND $4
            AND ($5 = '' OR f.currency_code = $5)
        GROUP BY f.currency_code, f.figure) AS n
    GROUP BY n.currency_code) AS summed ON true
WHERE subjects.subject IS NOT NULL
ORDER BY subjects.subject, summed.currency_code"""
