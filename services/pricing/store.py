"""Keeps quotes: one row each, written by one statement, never changed.

What is asked and what is answered are kept as the bytes of the contract, so that a quote reads back exactly and can be
computed again from its inputs; beside them stand only the columns that rows are found by.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from services.runtime.database import HeldConnections, reading

from .domain.errors import QuoteNotFound

metadata = sa.MetaData()


class _Quotes(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    quote_id = sa.Column(sa.Text, primary_key=True)
    caller = sa.Column(sa.Text, nullable=False)
    request_id = sa.Column(sa.Uuid, nullable=False)
    request = sa.Column(sa.LargeBinary, nullable=False)
    quote = sa.Column(sa.LargeBinary, nullable=False)
    create_time = sa.Column(sa.DateTime(timezone=True), nullable=False)
    expire_time = sa.Column(sa.DateTime(timezone=True), nullable=False)


quotes = sa.Table(
    "quotes",
    metadata,
    _Quotes,
    sa.UniqueConstraint("tenant_id", "caller", "request_id", name="quotes_request_key"),
    sa.CheckConstraint("expire_time > create_time", name="quotes_expire_after_create"),
)

# -- keep -- Adds a quote unless its request_id has one; a copy that runs at the same time waits here for the first.
KEEP: Final = """
INSERT INTO quotes (tenant_id, quote_id, caller, request_id, request, quote, create_time, expire_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT ON CONSTRAINT quotes_request_key DO NOTHING
RETURNING true
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestKey:
    """What makes a CreateQuote the same one when it comes again."""

    tenant_id: str
    caller: str
    request_id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuote:
    """A quote as it was asked for and answered, both as bytes of the contract."""

    quote_id: str
    request: bytes
    quote: bytes
    create_time: datetime
    expire_time: datetime


class QuoteStore:
    """The quotes in PostgreSQL."""

    def __init__(self, engine: AsyncEngine, *, held: HeldConnections) -> None:
        self._engine = engine
        self._held = held

    async def keep(self, quote: StoredQuote, *, key: RequestKey) -> StoredQuote:
        """Keep the quote in one round trip and return it, or the one that `key` has already."""
        async with self._held.statement("create_quote.keep") as connection:
            kept = await connection.fetchval(
                KEEP,
                key.tenant_id,
                quote.quote_id,
                key.caller,
                key.request_id,
                quote.request,
                quote.quote,
                quote.create_time,
                quote.expire_time,
            )
        if kept:
            return quote
        earlier = await self.find_by_request(key)
        if earlier is None:
            raise LookupError("a quote that stood in the way cannot be gone: quotes are never deleted")
        return earlier

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
        columns = (quotes.c.quote_id, quotes.c.request, quotes.c.quote, quotes.c.create_time, quotes.c.expire_time)
        async with reading(self._engine) as connection:
            row = (await connection.execute(sa.select(*columns).where(*where))).one_or_none()
        if row is None:
            return None
        quote_id, request, quote, create_time, expire_time = row
        return StoredQuote(
            quote_id=quote_id, request=request, quote=quote, create_time=create_time, expire_time=expire_time
        )
