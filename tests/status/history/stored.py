"""What was stored: the history of each payment, read by SQL, in the form in which the contract would have it sent.

Written from the contract alone (protos/batzen/status/v1, the tables of ARCHITECTURE.md): nothing here asks the service
how it reads its rows.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from google.protobuf import json_format, timestamp_pb2
from google.protobuf.message import Message

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import money_pb2, payment_pb2

PaymentSnapshot = payment_pb2.PaymentSnapshot

ENDS: Final = frozenset({"SUCCEEDED", "FAILED", "CANCELED", "EXPIRED"})
PHASES: Final = {
    state: phase
    for phase, states in {
        "COLLECTING": ("INITIALIZED", "REQUIRES_PAYMENT_METHOD", "SCHEDULED", "REQUIRES_ACTION"),
        "PROCESSING": ("PROCESSING",),
        "COLLECTED": ("AUTHORIZED", "SUCCEEDED"),
        "ENDED": ("FAILED", "CANCELED", "EXPIRED"),
        "REVERSED": ("PARTIALLY_REFUNDED", "REFUNDED", "DISPUTED", "DISPUTE_LOST"),
    }.items()
    for state in states
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Revision:
    """One row of a history."""

    revision: int
    request_id: str
    state: str
    """By the contract, from the snapshot."""
    kept_state: str
    """What its row says."""
    settled: bool
    snapshot: bytes
    transition: bytes
    """As a watch carries it."""
    payment: bytes
    """As a header or a feed carries it, without labels: those are of the moment."""
    committed_us: int
    """No earlier is it visible; microseconds of the machine's clock."""
    xid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredPayment:
    """A payment with its whole history."""

    payment_id: str
    payer_id: str
    seller_ids: tuple[str, ...]
    booking_ids: tuple[str, ...]
    client_reference: str
    standing: int
    """The revision of the payment's own row."""
    revisions: tuple[Revision, ...]
    """Oldest first."""

    @property
    def last(self) -> int:
        return self.revisions[-1].revision

    def at(self, revision: int) -> Revision | None:
        """Return what was stored as `revision`; None if nothing was."""
        return self.revisions[revision - 1] if 1 <= revision <= len(self.revisions) else None


Stored = Mapping[str, StoredPayment]
"""By payment id."""


def content(message: Message) -> bytes:
    """Return what tells two messages apart."""
    return message.SerializeToString(deterministic=True)


def payment_content(payment: pb.Payment) -> bytes:
    """Return what tells two payments apart; labels may differ."""
    bare = pb.Payment()
    bare.CopyFrom(payment)
    bare.labels.clear()
    return content(bare)


def state_of(snapshot: PaymentSnapshot) -> str:
    """Return the name of what a payment has come to."""
    amounts = snapshot.amounts
    if amounts.disputed_open_minor > 0:
        return "DISPUTED"
    if amounts.disputed_lost_minor > 0:
        return "DISPUTE_LOST"
    if amounts.refunded_minor > 0:
        is_all = amounts.refunded_minor == amounts.captured_minor and not amounts.capturable_minor
        return "REFUNDED" if is_all else "PARTIALLY_REFUNDED"
    return collection_of(snapshot)


def collection_of(snapshot: PaymentSnapshot) -> str:
    return payment_pb2.PaymentState.Name(snapshot.collection).removeprefix("PAYMENT_STATE_")


def is_settled(snapshot: PaymentSnapshot) -> bool:
    amounts = snapshot.amounts
    return collection_of(snapshot) in ENDS and not amounts.refund_pending_minor and not amounts.disputed_open_minor


def stored_payment(opened: pb.Payment, rows: Sequence[Mapping[str, Any]], *, standing: int) -> StoredPayment:
    """Return a payment from what it was opened with and its rows, oldest first.

    A row has `revision`, `request_id`, `state`, `snapshot` (a message), `record_time`, `committed_us` and `xid`.
    """
    revisions = []
    complete_time: datetime | None = None
    for row in rows:
        snapshot = row["snapshot"]
        if complete_time is None and collection_of(snapshot) in ENDS:
            complete_time = row["record_time"]
        revisions.append(_revision(opened, row, opened_at=rows[0]["record_time"], complete_time=complete_time))
    return StoredPayment(
        payment_id=opened.payment_id,
        payer_id=opened.payer_id,
        seller_ids=tuple(opened.seller_ids),
        booking_ids=tuple(opened.booking_ids),
        client_reference=opened.client_reference,
        standing=standing,
        revisions=tuple(revisions),
    )


def _revision(
    opened: pb.Payment, row: Mapping[str, Any], *, opened_at: datetime, complete_time: datetime | None
) -> Revision:
    snapshot = row["snapshot"]
    state, settled = state_of(snapshot), is_settled(snapshot)
    shared: dict[str, Any] = {
        "payment_id": opened.payment_id,
        "revision": row["revision"],
        "state": f"PAYMENT_STATE_{state}",
        "settled": settled,
        "phase": f"PHASE_{PHASES[state]}",
        "snapshot": snapshot,
    }
    transition = pb.Transition(**shared, record_time=_timestamp(row["record_time"]), request_id=row["request_id"])
    payment = pb.Payment(
        **shared,
        total=opened.total,
        payer_id=opened.payer_id,
        seller_ids=opened.seller_ids,
        booking_ids=opened.booking_ids,
        client_reference=opened.client_reference,
        quote_id=opened.quote_id,
        open_time=_timestamp(opened_at),
        update_time=_timestamp(row["record_time"]),
        complete_time=None if complete_time is None else _timestamp(complete_time),
    )
    return Revision(
        revision=row["revision"],
        request_id=row["request_id"],
        state=state,
        kept_state=row["state"],
        settled=settled,
        snapshot=content(snapshot),
        transition=content(transition),
        payment=content(payment),
        committed_us=row["committed_us"],
        xid=row["xid"],
    )


async def read_stored(connection: asyncpg.Connection, *, payment_ids: Sequence[str]) -> dict[str, StoredPayment]:
    """Read payments and histories in one snapshot of the database, which must keep the times of its commits."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        payments = await connection.fetch(_PAYMENTS, list(payment_ids))
        rows = await connection.fetch(_TRANSITIONS, list(payment_ids))
    histories: dict[str, list[dict[str, Any]]] = {row["payment_id"]: [] for row in payments}
    for row in rows:
        histories[row["payment_id"]].append({**row, "snapshot": snapshot_message(row["snapshot"])})
    return {row["payment_id"]: _payment_of(row, histories[row["payment_id"]]) for row in payments}


def _payment_of(row: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> StoredPayment:
    opened = pb.Payment(
        payment_id=row["payment_id"],
        total=money_pb2.Money(amount_minor=row["total_amount_minor"], currency_code=row["currency_code"]),
        payer_id=row["payer_id"],
        seller_ids=row["seller_ids"],
        booking_ids=row["booking_ids"],
        client_reference=row["client_reference"],
        quote_id=row["quote_id"],
    )
    return stored_payment(opened, history, standing=row["revision"])


def snapshot_message(stored: str) -> PaymentSnapshot:
    """Return a stored snapshot as the message it was told in: names are the contract's, enums without their prefix."""
    fields = json.loads(stored)
    fields["collection"] = f"PAYMENT_STATE_{fields['collection']}"
    fields["cause"] = f"CAUSE_{fields['cause']}"
    message = json_format.ParseDict(fields, PaymentSnapshot())
    message.amounts.SetInParent()  # those of nothing are told too
    return message


def _timestamp(at: datetime) -> timestamp_pb2.Timestamp:
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(at.astimezone(UTC))
    return timestamp


_PAYMENTS: Final = """
SELECT payment_id, revision, payer_id, seller_ids, booking_ids, client_reference, quote_id, total_amount_minor,
       currency_code
FROM payments WHERE payment_id = ANY ($1)
"""
_TRANSITIONS: Final = """
SELECT payment_id, revision, request_id::text, state, snapshot, record_time, xmin::text::bigint AS xid,
       (extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000000)::bigint AS committed_us
FROM transitions WHERE payment_id = ANY ($1) ORDER BY payment_id, revision
"""
