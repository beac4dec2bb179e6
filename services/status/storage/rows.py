"""The tables as code, and how a snapshot, a payment and a transition lie in them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql as pg
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

from services.errors import DependencyUnavailable
from services.status.domain.records import Opening, Payment, Transition
from services.status.domain.snapshot import AMOUNTS, Amounts, Attention, Cause, Method, PaymentError, Snapshot, State

metadata = sa.MetaData()

_logger = logging.getLogger(__name__)


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
    sa.UniqueConstraint("tenant_id", "payment_id", "open_month", "request_id", name="transitions_request_key"),
    postgresql_partition_by="RANGE (open_month)",
)
sa.Index("transitions_by_xid", transitions.c.tenant_id, transitions.c.xid)


class _Compactions(sa.TypedColumns):
    tenant_id = sa.Column(sa.Text, primary_key=True)
    open_month = sa.Column(sa.Date, primary_key=True)
    last_xid = sa.Column(Xid8, nullable=False)
    compact_time = sa.Column(sa.DateTime(timezone=True), nullable=False)


compactions = sa.Table("compactions", metadata, _Compactions)

PAYMENT_COLUMNS: Final = (
    "payment_id",
    "revision",
    "snapshot",
    "payer_id",
    "seller_ids",
    "booking_ids",
    "client_reference",
    "quote_id",
    "total_amount_minor",
    "currency_code",
    "labels",
    "open_time",
    "update_time",
    "complete_time",
)
"""What `payment_from` reads."""
TRANSITION_COLUMNS: Final = ("payment_id", "revision", "snapshot", "record_time", "request_id")
"""What `transition_from` reads."""

_dumps = json.JSONEncoder(separators=(",", ":")).encode


def labels_json(labels: Mapping[str, str]) -> str:
    return _dumps(dict(labels))


def snapshot_json(snapshot: Snapshot) -> str:
    """Return a snapshot as it is stored: what has its default is left out."""
    stored: dict[str, Any] = {"collection": snapshot.collection, "cause": snapshot.cause}
    if amounts := {name: amount for name in AMOUNTS if (amount := getattr(snapshot.amounts, name))}:
        stored["amounts"] = amounts
    if snapshot.last_error is not None:
        stored["last_error"] = _fields(snapshot.last_error, _ERROR)
    if snapshot.attention is not None:
        stored["attention"] = _fields(snapshot.attention, _ATTENTION)
    if snapshot.reason:
        stored["reason"] = snapshot.reason
    if snapshot.method is not None:
        stored["method"] = _fields(snapshot.method, _METHOD)
    if snapshot.attempt:
        stored["attempt"] = snapshot.attempt
    if snapshot.decline_count:
        stored["decline_count"] = snapshot.decline_count
    return _dumps(stored)


class Unreadable(DependencyUnavailable):
    """This server cannot read what a newer one wrote; send the same call again."""

    def __init__(self) -> None:
        super().__init__(dependency="history")


def snapshot_from(stored: Any) -> Snapshot:
    """Return the snapshot; as asyncpg gives it, which is text, or as SQLAlchemy does, which is read already.

    Raises Unreadable, which a caller may send again: to a server that is newer.
    """
    fields: dict[str, Any] = json.loads(stored) if isinstance(stored, str) else stored
    try:
        return _snapshot(fields)
    except (KeyError, TypeError, ValueError) as error:
        _logger.error("A snapshot cannot be read: %s", error)
        raise Unreadable from error


def _snapshot(fields: dict[str, Any]) -> Snapshot:
    last_error, attention, method = fields.get("last_error"), fields.get("attention"), fields.get("method")
    return Snapshot(
        collection=State(fields["collection"]),
        cause=Cause(fields["cause"]),
        amounts=Amounts(**fields.get("amounts", {})),
        last_error=None if last_error is None else PaymentError(**last_error),
        attention=None if attention is None else Attention(**attention),
        reason=fields.get("reason", ""),
        method=None if method is None else Method(**method),
        attempt=fields.get("attempt", 0),
        decline_count=fields.get("decline_count", 0),
    )


def payment_from(row: Mapping[Any, Any], *, snapshot: Snapshot | None = None) -> Payment:
    """Return the payment of a row with `PAYMENT_COLUMNS`; `snapshot` spares reading what is known already."""
    labels = row["labels"]
    return Payment(
        opening=Opening(
            payment_id=row["payment_id"],
            payer_id=row["payer_id"],
            total_amount_minor=row["total_amount_minor"],
            currency_code=row["currency_code"],
            seller_ids=tuple(row["seller_ids"]),
            booking_ids=tuple(row["booking_ids"]),
            client_reference=row["client_reference"],
            quote_id=row["quote_id"],
            labels=json.loads(labels) if isinstance(labels, str) else labels,
        ),
        revision=row["revision"],
        snapshot=snapshot_from(row["snapshot"]) if snapshot is None else snapshot,
        open_time=row["open_time"],
        update_time=row["update_time"],
        complete_time=row["complete_time"],
    )


def transition_from(row: Mapping[Any, Any]) -> Transition:
    """Return the transition of a row with `TRANSITION_COLUMNS`."""
    return Transition(
        payment_id=row["payment_id"],
        revision=row["revision"],
        snapshot=snapshot_from(row["snapshot"]),
        record_time=row["record_time"],
        request_id=str(row["request_id"]),
    )


_ERROR: Final = PaymentError.__slots__
_ATTENTION: Final = Attention.__slots__
_METHOD: Final = Method.__slots__


def _fields(part: object, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(part, name))}
