"""The tables of status, as the migrations make them."""

from __future__ import annotations

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = sa.MetaData()


class Xid8(UserDefinedType[int]):
    """PostgreSQL's number of a transaction, 64 bits, never used twice."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "XID8"


ischema_names["xid8"] = Xid8  # SQLAlchemy does not know the type, and warns where it meets one in a database


class _Payments(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    payment_id = sa.Column(sa.Text, primary_key=True)
    open_month = sa.Column(sa.Date, nullable=False)
    revision = sa.Column(
        sa.BigInteger, sa.CheckConstraint("revision >= 1", name="payments_revision_check"), nullable=False
    )
    collection = sa.Column(sa.Text, nullable=False)
    state = sa.Column(sa.Text, nullable=False)
    settled = sa.Column(sa.Boolean, nullable=False)
    snapshot = sa.Column(pg.JSONB, nullable=False)
    payer_id = sa.Column(sa.Text, nullable=False)
    seller_ids: sa.Column[Sequence[str]] = sa.Column(pg.ARRAY(sa.Text), nullable=False)
    booking_ids: sa.Column[Sequence[str]] = sa.Column(pg.ARRAY(sa.Text), nullable=False)
    client_reference = sa.Column(sa.Text, nullable=False)
    quote_id = sa.Column(sa.Text, nullable=False)
    total_amount_minor = sa.Column(
        sa.BigInteger, sa.CheckConstraint("total_amount_minor >= 0", name="payments_total_check"), nullable=False
    )
    currency_code = sa.Column(sa.Text, nullable=False)
    labels = sa.Column(pg.JSONB, nullable=False)
    open_digest = sa.Column(sa.LargeBinary, nullable=False)
    open_time = sa.Column(sa.DateTime(timezone=True), nullable=False)
    update_time = sa.Column(sa.DateTime(timezone=True), nullable=False)
    complete_time = sa.Column(sa.DateTime(timezone=True))
    needs_attention = sa.Column(sa.Boolean, sa.Computed("snapshot ? 'attentions'", persisted=True), nullable=False)


payments = sa.Table("payments", metadata, _Payments)
sa.Index("payments_by_time", payments.c.tenant_id, payments.c.open_time, payments.c.payment_id)
sa.Index("payments_by_payer", payments.c.tenant_id, payments.c.payer_id, payments.c.open_time, payments.c.payment_id)
sa.Index(
    "payments_by_reference",
    payments.c.tenant_id,
    payments.c.client_reference,
    payments.c.open_time,
    payments.c.payment_id,
    postgresql_where=payments.c.client_reference != "",
)
sa.Index(
    "payments_unsettled",
    payments.c.tenant_id,
    payments.c.open_time,
    payments.c.payment_id,
    postgresql_where=sa.not_(payments.c.settled),
)


sa.Index(
    "payments_needing_attention",
    payments.c.tenant_id,
    payments.c.open_time,
    payments.c.payment_id,
    postgresql_where=payments.c.needs_attention,
)


class _PaymentSellers(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    seller_id = sa.Column(sa.Text, primary_key=True)
    open_time = sa.Column(sa.DateTime(timezone=True), primary_key=True)
    payment_id = sa.Column(sa.Text, primary_key=True)


payment_sellers = sa.Table("payment_sellers", metadata, _PaymentSellers)


class _PaymentBookings(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    booking_id = sa.Column(sa.Text, primary_key=True)
    open_time = sa.Column(sa.DateTime(timezone=True), primary_key=True)
    payment_id = sa.Column(sa.Text, primary_key=True)


payment_bookings = sa.Table("payment_bookings", metadata, _PaymentBookings)


class _Transitions(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    payment_id = sa.Column(sa.Text, primary_key=True)
    open_month = sa.Column(sa.Date, primary_key=True)
    revision = sa.Column(sa.BigInteger, primary_key=True)
    request_id = sa.Column(sa.Uuid, nullable=False)
    state = sa.Column(sa.Text, nullable=False)
    snapshot = sa.Column(pg.JSONB, nullable=False)
    record_time = sa.Column(sa.DateTime(timezone=True), nullable=False)
    xid = sa.Column(Xid8, server_default=sa.text("pg_current_xact_id()"), nullable=False)


transitions = sa.Table(
    "transitions",
    metadata,
    _Transitions,
    postgresql_partition_by="RANGE (open_month)",
)
sa.Index("transitions_by_xid", transitions.c.tenant_id, transitions.c.xid)


class _Compactions(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    open_month = sa.Column(sa.Date, primary_key=True)
    last_xid = sa.Column(Xid8, nullable=False)
    compact_time = sa.Column(sa.DateTime(timezone=True), nullable=False)


compactions = sa.Table("compactions", metadata, _Compactions)
