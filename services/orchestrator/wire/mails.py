"""Mails as messages, for operators."""

from __future__ import annotations

from batzen.orchestrator.v1 import mails_pb2 as pb
from services.errors import FieldInvalid
from services.orchestrator.mail.store import MailRow
from services.shared import fields
from services.wire import fill_instant

PREFIX = "MAIL_STATE_"


def state_of(request: pb.ListMailsRequest) -> str:
    """Return how the mails stand that are wanted; empty where that is all the same."""
    if not request.state:
        return ""
    if request.state not in pb.MailState.values():
        raise FieldInvalid(field="state", detail=fields.one_of(pb.MailState.items(), pb.MailState.values()))
    return pb.MailState.Name(request.state).removeprefix(PREFIX)


def mail_to_proto(row: MailRow) -> pb.Mail:
    """Return a mail as it stands."""
    message = pb.Mail(
        fact_id=str(row.fact_id),
        kind=row.kind,
        recipient=f"NOTIFICATION_RECIPIENT_{row.recipient_kind}",
        recipient_id=row.recipient_id,
        payment_id=row.payment_id,
        state=f"{PREFIX}{row.state}",
        end_reason=row.end_reason,
        failure_count=row.failures,
        problem=row.problem,
    )
    fill_instant(message.create_time, row.create_time)
    if row.end_time is not None:
        fill_instant(message.end_time, row.end_time)
    if row.next_time is not None:
        fill_instant(message.next_time, row.next_time)
    return message
