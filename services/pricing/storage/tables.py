"""The tables of pricing, as the migrations make them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

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
    book_revision = sa.Column(sa.BigInteger, nullable=False, server_default="0")
    excluded_discounts: sa.Column[Sequence[str]] = sa.Column(ARRAY(sa.Text), nullable=False, server_default="{}")


quotes = sa.Table(
    "quotes",
    metadata,
    _Quotes,
    sa.UniqueConstraint("tenant_id", "caller", "request_id", name="quotes_request_key"),
    sa.CheckConstraint("expire_time > create_time", name="quotes_expire_after_create"),
)


class _PriceBooks(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    revision = sa.Column(sa.BigInteger, nullable=False)


price_books = sa.Table("price_books", metadata, _PriceBooks)


class _PriceBookEntries(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    kind = sa.Column(sa.Text, primary_key=True)
    entry_id = sa.Column(sa.Text, primary_key=True)
    revision = sa.Column(sa.BigInteger, primary_key=True)
    book_revision = sa.Column(sa.BigInteger, nullable=False)
    entry = sa.Column(sa.LargeBinary, nullable=False)
    actor = sa.Column(sa.Text, nullable=False)
    change_reason = sa.Column(sa.Text, nullable=False)
    create_time = sa.Column(sa.DateTime(timezone=True), nullable=False)


price_book_entries = sa.Table(
    "price_book_entries",
    metadata,
    _PriceBookEntries,
    sa.UniqueConstraint("tenant_id", "book_revision", name="price_book_entries_book_key"),
    sa.CheckConstraint("kind IN ('TAX_RATE', 'FEE_PLAN', 'DISCOUNT')", name="price_book_entries_kind"),
)


class _Requests(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    caller = sa.Column(sa.Text, primary_key=True)
    method = sa.Column(sa.Text, primary_key=True)
    request_id = sa.Column(sa.Uuid, primary_key=True)
    request_hash = sa.Column(sa.LargeBinary, nullable=False)
    answer = sa.Column(sa.LargeBinary, nullable=False)
    create_time = sa.Column(sa.DateTime(timezone=True), nullable=False)


requests = sa.Table("requests", metadata, _Requests)


class _DiscountCounters(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    discount_id = sa.Column(sa.Text, primary_key=True)
    held_count = sa.Column(sa.BigInteger, nullable=False)
    redeemed_count = sa.Column(sa.BigInteger, nullable=False)


discount_counters = sa.Table(
    "discount_counters",
    metadata,
    _DiscountCounters,
    sa.CheckConstraint("held_count >= 0", name="discount_counters_held"),
    sa.CheckConstraint("redeemed_count >= 0", name="discount_counters_redeemed"),
)


class _DiscountUses(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    discount_id = sa.Column(sa.Text, primary_key=True)
    quote_id = sa.Column(sa.Text, primary_key=True)
    payer_id = sa.Column(sa.Text, nullable=False)
    uses_max = sa.Column(sa.BigInteger, nullable=True)
    uses_per_payer_max = sa.Column(sa.BigInteger, nullable=True)
    state = sa.Column(sa.Text, nullable=False)
    expire_time = sa.Column(sa.DateTime(timezone=True), nullable=False)


discount_uses = sa.Table(
    "discount_uses",
    metadata,
    _DiscountUses,
    sa.CheckConstraint("state IN ('HELD', 'REDEEMED', 'RELEASED', 'EXPIRED')", name="discount_uses_state"),
)


class _QuoteOutcomes(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    quote_id = sa.Column(sa.Text, primary_key=True)
    state = sa.Column(sa.Text, nullable=False)
    over_limit = sa.Column(sa.Boolean, nullable=False)


quote_outcomes = sa.Table(
    "quote_outcomes",
    metadata,
    _QuoteOutcomes,
    sa.CheckConstraint("state IN ('OPEN', 'REDEEMED', 'RELEASED')", name="quote_outcomes_state"),
)
