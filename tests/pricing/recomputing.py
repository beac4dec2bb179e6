"""Computes stored quotes again from their stored inputs, and holds the result to what was stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.pricing.v1 import pricing_pb2
from services.pricing.domain.book import PriceBook
from services.pricing.domain.currency import Currency
from services.pricing.domain.pipeline import price_cart
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.storage.store import StoredQuote
from services.pricing.storage.tables import quotes
from services.pricing.wire.requests import read_create_quote
from services.pricing.wire.responses import write_quote
from services.runtime.database.connections import reading
from tests.pricing.samples import CURRENCIES


def compute_again(
    stored: StoredQuote, *, book: PriceBook, tenant_id: str = "", currencies: Mapping[str, Currency] = CURRENCIES
) -> pricing_pb2.Quote:
    """Return what comes of the stored request at its time, from its book, in the step that was stated to the caller."""
    inputs = pricing_pb2.CreateQuoteRequest.FromString(stored.request)
    order = read_create_quote(inputs, currencies=currencies, now=stored.create_time, platform_id=tenant_id)
    step_minor = pricing_pb2.Quote.FromString(stored.quote).rounding.step_minor
    cart = replace(order.cart, rounding=replace(order.cart.rounding, step_minor=step_minor))
    return write_quote(
        price_cart(cart, book=book.without(stored.excluded_discounts)),
        cart=cart,
        quote_id=stored.quote_id,
        create_time=stored.create_time,
        expire_time=stored.expire_time,
        formats=order.formats,
    )


async def compute_all_again(engine: AsyncEngine, *, books: PriceBookStore) -> int:
    """Compute every quote of the database again, of every tenant; return how many there are."""
    async with reading(engine) as connection:
        rows = (await connection.execute(sa.select(quotes))).mappings().all()
    for row in rows:
        stored = StoredQuote(**{field.name: row[field.name] for field in fields(StoredQuote)})
        loaded = await books.at(row["tenant_id"], revision=stored.book_revision)
        again = compute_again(stored, book=loaded.book, tenant_id=row["tenant_id"])
        assert again.SerializeToString(deterministic=True) == stored.quote, stored.quote_id
    return len(rows)
