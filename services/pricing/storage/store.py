"""Keeps quotes: one row each, written by one statement, never changed.

What is asked and what is answered are kept as the bytes of the contract, so that a quote reads back exactly and can be
computed again from its inputs; beside them stand only the columns that rows are found by.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.pricing.domain.errors import QuoteNotFound
from services.pricing.storage.idempotency import Request
from services.pricing.storage.tables import quotes
from services.runtime.database.connections import DirectConnections, reading, transaction

# -- keep -- Adds a quote unless its request_id has one or its price book is not the current one any more. A copy of the
# request that runs at the same time waits here for the first.
KEEP: Final = """
INSERT INTO quotes
    (tenant_id, quote_id, caller, request_id, request, quote, create_time, expire_time, book_revision,
     excluded_discounts)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10
WHERE coalesce((SELECT revision FROM price_books WHERE tenant_id = $1), 0) = $9
ON CONFLICT ON CONSTRAINT quotes_request_key DO NOTHING
RETURNING true
"""

# -- redeem -- Redeems a quote that took no use of anything, whatever has become of it before, and keeps the answer to
# the request. No row: the quote is not there, took uses, or the request was answered before.
REDEEM: Final = """
WITH found AS (
    SELECT quote FROM quotes WHERE tenant_id = $1 AND quote_id = $2),
claim AS (
    INSERT INTO requests (tenant_id, caller, method, request_id, request_hash, answer, create_time)
    SELECT $1, $3, $4, $5, $6, $7, $8 FROM found
    WHERE NOT EXISTS (SELECT FROM discount_uses u WHERE u.tenant_id = $1 AND u.quote_id = $2)
    ON CONFLICT ON CONSTRAINT requests_pkey DO NOTHING
    RETURNING 1),
outcome AS (
    INSERT INTO quote_outcomes (tenant_id, quote_id, state, over_limit) SELECT $1, $2, 'REDEEMED', false FROM claim
    ON CONFLICT ON CONSTRAINT quote_outcomes_pkey DO UPDATE SET state = 'REDEEMED')
SELECT found.quote FROM found, claim
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """What makes a CreateQuote the same one when it comes again."""

    tenant_id: str
    caller: str
    request_id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuote:
    """A quote as it was asked for and answered, both as bytes of the contract, and what it was made from."""

    quote_id: str
    request: bytes
    quote: bytes
    create_time: datetime
    expire_time: datetime
    book_revision: int
    """Of the tenant's price book."""
    excluded_discounts: tuple[str, ...]
    """Discounts of that book that would have applied by themselves and had no use left."""


class QuoteStore:
    """The quotes in PostgreSQL."""

    def __init__(self, engine: AsyncEngine, *, held: DirectConnections) -> None:
        self._engine = engine
        self._held = held

    async def keep(self, quote: StoredQuote, *, key: RequestKey) -> StoredQuote | None:
        """Keep the quote in one round trip and return it, or the one that `key` has already.

        Returns None, and keeps nothing, when the price book has changed since the quote was made.
        """
        async with self._held.statement("create_quote.keep") as connection:
            kept = await connection.fetchval(KEEP, *_values(quote, key=key))
        return quote if kept else await self.find_by_request(key)

    async def keep_holding(
        self, quote: StoredQuote, *, key: RequestKey, hold: Callable[[AsyncConnection], Awaitable[None]]
    ) -> StoredQuote | None:
        """Do what `keep` does, and `hold` in the same transaction if the quote was kept; what it raises undoes both."""
        async with transaction(self._engine, "create_quote.hold") as connection:
            statement = await connection.exec_driver_sql(KEEP, _values(quote, key=key))
            kept = statement.scalar_one_or_none()
            if kept:
                await hold(connection)
        return quote if kept else await self.find_by_request(key)

    async def redeem_unlimited(self, quote_id: str, *, request: Request, answer: bytes, now: datetime) -> bytes | None:
        """Redeem a quote that took no use of a limited discount, in one round trip, and return it.

        None, and nothing done, when it took one, is not there, or the request was answered before.
        """
        async with self._held.statement("redeem_quote.keep") as connection:
            quote: bytes | None = await connection.fetchval(
                REDEEM, request.tenant_id, quote_id, request.caller, request.method, request.request_id,
                request.request_hash, answer, now,
            )  # fmt: skip
        return quote

    async def find_by_request(self, key: RequestKey) -> StoredQuote | None:
        """Return the quote that was made for `key`, if there is one."""
        return await self._find(
            quotes.c.tenant_id == key.tenant_id,
            quotes.c.caller == key.caller,
            quotes.c.request_id == key.request_id,
        )

    async def get(self, quote_id: str, *, tenant_id: str) -> StoredQuote:
        """Return a quote of the tenant; raises `QuoteNotFound`."""
        quote = await self._find(quotes.c.tenant_id == tenant_id, quotes.c.quote_id == quote_id)
        if quote is None:
            raise QuoteNotFound
        return quote

    async def _find(self, *where: sa.ColumnElement[bool]) -> StoredQuote | None:
        c = quotes.c
        columns = (c.quote_id, c.request, c.quote, c.create_time, c.expire_time, c.book_revision, c.excluded_discounts)
        async with reading(self._engine) as connection:
            row = (await connection.execute(sa.select(*columns).where(*where))).one_or_none()
        if row is None:
            return None
        quote_id, request, quote, create_time, expire_time, book_revision, excluded_discounts = row
        return StoredQuote(
            quote_id=quote_id,
            request=request,
            quote=quote,
            create_time=create_time,
            expire_time=expire_time,
            book_revision=book_revision,
            excluded_discounts=tuple(excluded_discounts),
        )


def _values(quote: StoredQuote, *, key: RequestKey) -> tuple[Any, ...]:
    return (
        key.tenant_id,
        quote.quote_id,
        key.caller,
        key.request_id,
        quote.request,
        quote.quote,
        quote.create_time,
        quote.expire_time,
        quote.book_revision,
        list(quote.excluded_discounts),
    )
