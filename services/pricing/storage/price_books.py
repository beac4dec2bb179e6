"""The price books of the tenants: what came with the service, and every change since.

A book is kept in memory with the revision it was read at. Whoever prices from it says so when the quote is kept, which
fails if the book has moved on; so a copy may be old, and no quote is ever made from an old one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from services.pricing.domain.book import PriceBook
from services.pricing.domain.currency import Currency
from services.pricing.storage.tables import price_book_entries, price_books
from services.pricing.wire.entries import Entry, EntryKind, to_price_book
from services.runtime.database.connections import reading

BOOKS_MAX: Final = 200
"""Tenants whose books are in memory at once, the least used leaves; a book of 100 entries has about 100 KB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBook:
    """The book of one tenant at one revision."""

    revision: int
    """0 until the first change."""
    entries: tuple[Entry, ...]
    """Every revision of every entry, in no order."""
    book: PriceBook

    def current(self, kind: EntryKind, entry_id: str) -> Entry | None:
        """Return the newest revision of an entry."""
        revisions = [entry for entry in self.entries if entry.kind is kind and entry.entry_id == entry_id]
        return max(revisions, key=lambda entry: entry.revision, default=None)


class PriceBookStore:
    """The books in PostgreSQL, with copies in memory."""

    def __init__(self, engine: AsyncEngine, *, seed: Sequence[Entry], currencies: Mapping[str, Currency]) -> None:
        self._engine = engine
        self._seed = tuple(seed)
        self._currencies = currencies
        self._loaded: OrderedDict[str, LoadedBook] = OrderedDict()
        self._unchanged = to_price_book(self._seed, currencies=currencies)

    async def known(self, tenant_id: str) -> LoadedBook:
        """Return the book as it was read last, which may be old by now."""
        loaded = self._loaded.get(tenant_id)
        if loaded is None:
            return await self.fresh(tenant_id)
        self._loaded.move_to_end(tenant_id)
        return loaded

    async def fresh(self, tenant_id: str) -> LoadedBook:
        """Return the book as it is now."""
        async with reading(self._engine) as connection:
            revision = await _revision(connection, tenant_id)
            loaded = self._loaded.get(tenant_id)
            if loaded is None or loaded.revision != revision:
                # Another statement may see more than that revision; it takes only what belongs to it.
                loaded = await self._read(connection, tenant_id, revision=revision)
        self._loaded[tenant_id] = loaded
        self._loaded.move_to_end(tenant_id)
        while len(self._loaded) > BOOKS_MAX:
            self._loaded.popitem(last=False)
        return loaded

    async def at(self, tenant_id: str, *, revision: int) -> LoadedBook:
        """Return the book as it was at a revision."""
        async with reading(self._engine) as connection:
            return await self._read(connection, tenant_id, revision=revision)

    async def locked(self, connection: AsyncConnection, tenant_id: str) -> LoadedBook:
        """Lock the book until the transaction ends, and return it."""
        first = insert(price_books).values(tenant_id=tenant_id, revision=0)
        await connection.execute(first.on_conflict_do_nothing())
        await connection.execute(
            sa.select(price_books.c.revision).where(price_books.c.tenant_id == tenant_id).with_for_update()
        )
        revision = await _revision(connection, tenant_id)
        return await self._read(connection, tenant_id, revision=revision)

    async def add(self, connection: AsyncConnection, tenant_id: str, entry: Entry) -> None:
        """Add a revision to a book that is locked."""
        await connection.execute(
            sa.update(price_books).where(price_books.c.tenant_id == tenant_id).values(revision=entry.book_revision)
        )
        await connection.execute(
            sa.insert(price_book_entries).values(
                tenant_id=tenant_id,
                kind=entry.kind.value,
                entry_id=entry.entry_id,
                revision=entry.revision,
                book_revision=entry.book_revision,
                entry=entry.message,
                actor=entry.actor,
                change_reason=entry.change_reason,
                create_time=entry.create_time,
            )
        )

    async def _read(self, connection: AsyncConnection, tenant_id: str, *, revision: int) -> LoadedBook:
        if revision == 0:
            return LoadedBook(revision=0, entries=self._seed, book=self._unchanged)
        c = price_book_entries.c
        rows = await connection.execute(
            sa.select(
                c.kind, c.entry_id, c.revision, c.book_revision, c.entry, c.actor, c.change_reason, c.create_time
            ).where(c.tenant_id == tenant_id, c.book_revision <= revision)
        )
        entries = (
            *self._seed,
            *(
                Entry(
                    kind=EntryKind(kind),
                    entry_id=entry_id,
                    revision=entry_revision,
                    book_revision=book_revision,
                    message=message,
                    actor=actor,
                    change_reason=change_reason,
                    create_time=create_time,
                )
                for kind, entry_id, entry_revision, book_revision, message, actor, change_reason, create_time in rows
            ),
        )
        book = to_price_book(entries, currencies=self._currencies)
        return LoadedBook(revision=revision, entries=entries, book=book)


async def _revision(connection: AsyncConnection, tenant_id: str) -> int:
    found = sa.select(price_books.c.revision).where(price_books.c.tenant_id == tenant_id)
    return (await connection.execute(found)).scalar_one_or_none() or 0
