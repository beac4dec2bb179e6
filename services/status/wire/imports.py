"""Payments that are taken over, as messages say them."""

from __future__ import annotations

from batzen.status.v1 import status_pb2
from services import wire
from services.errors import FieldInvalid, FieldMissing
from services.status.imports.domain import REVISIONS_MAX, History, Revision
from services.status.wire.requests import opening_of, request_id_of, snapshot_of, within


def history_of(message: status_pb2.ImportedPayment) -> History:
    """Return a payment with its history; what is wrong is named by its field of the payment."""
    with within("opening"):
        opening, request_id = opening_of(message.opening), request_id_of(message.opening)
    open_time = wire.instant(message, "open_time")
    if open_time is None:
        raise FieldMissing(field="open_time")
    if not 1 <= len(message.revisions) <= REVISIONS_MAX:
        raise FieldInvalid(field="revisions", detail=f"must be 1 to {REVISIONS_MAX}")
    return History(
        opening=opening,
        open_request_id=request_id,
        open_time=open_time,
        revisions=tuple(_revision(one, at=f"revisions[{index}]") for index, one in enumerate(message.revisions)),
    )


def _revision(message: status_pb2.ImportedPayment.Revision, *, at: str) -> Revision:
    with within(at):
        record_time = wire.instant(message, "record_time")
        if record_time is None:
            raise FieldMissing(field="record_time")
        return Revision(request_id=request_id_of(message), snapshot=snapshot_of(message), record_time=record_time)
