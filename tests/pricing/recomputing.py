"""Computes stored quotes again from their stored inputs, and holds the result to what was stored."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.pricing.v1 import pricing_pb2
from services.pricing.books import Books
from services.pricing.domain.pipeline import price_cart
from services.pricing.reading import read_create_quote
from services.pricing.tables import quotes
from services.pricing.writing import write_quote
from services.runtime.database import reading
from tests.pricing.samples import CURRENCIES


async def compute_all_again(engine: AsyncEngine, *, books: Books) -> int:
    """Compute every quote of the database again, of every tenant; return how many there are."""
    async with reading(engine) as connection:
        rows = (await connection.execute(sa.select(quotes))).mappings().all()
    for row in rows:
        book = await books.at(row["tenant_id"], revision=row["book_revision"])
        inputs = pricing_pb2.CreateQuoteRequest.FromString(row["request"])
        order = read_create_quote(inputs, currencies=CURRENCIES, now=row["create_time"])
        again = write_quote(
            price_cart(order.cart, book=book.book.without(row["left_out"])),
            cart=order.cart,
            quote_id=row["quote_id"],
            create_time=row["create_time"],
            expire_time=row["expire_time"],
            formats=order.formats,
        )
        assert again.SerializeToString(deterministic=True) == row["quote"], row["quote_id"]
    return len(rows)
