"""Receivables as messages and as values."""

from __future__ import annotations

from typing import Final

from batzen.gateway.v1 import ops_pb2
from services.errors import FieldInvalid, FieldMissing
from services.gateway.receivables.domain import Seen
from services.gateway.receivables.store import Listed
from services.gateway.wire.responses import money, timestamp
from services.shared import fields

NOTE_CHARACTERS_MAX: Final = 500
"""Of why something is written off."""
ATTEMPTS_MAX: Final = 100


def receivable_to_proto(listed: Listed) -> ops_pb2.Receivable:
    """Return the message of a receivable."""
    return ops_pb2.Receivable(
        payment_id=listed.payment_id,
        attempt=listed.owed.attempt,
        seller_id=listed.owed.seller_id,
        amount=money(listed.owed.amount_minor, listed.currency_code),
        since_time=timestamp(listed.owed.since),
    )


def receivable_of(request: ops_pb2.WriteOffReceivableRequest) -> Seen:
    """Read what a caller saw as owed."""
    payment_id = fields.identifier(request.payment_id, field="payment_id")
    if not 1 <= request.attempt <= ATTEMPTS_MAX:
        raise FieldInvalid(field="attempt", detail=f"must be 1 to {ATTEMPTS_MAX}")
    seller_id = fields.identifier(request.seller_id, field="seller_id")
    amount = fields.money(request.expected, is_set=request.HasField("expected"), field="expected", least_minor=1)
    return Seen(
        payment_id=payment_id,
        attempt=request.attempt,
        seller_id=seller_id,
        amount_minor=amount.amount_minor,
        currency_code=amount.currency_code,
    )


def note_of(request: ops_pb2.WriteOffReceivableRequest) -> str:
    """Read why something is written off."""
    if not request.reason.strip():
        raise FieldMissing(field="reason")
    return fields.text(request.reason, field="reason", characters_max=NOTE_CHARACTERS_MAX)
