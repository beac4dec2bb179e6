"""Notices in the contract."""

from __future__ import annotations

from typing import Final

from batzen.gateway.v1 import observation_pb2
from services.gateway.notices.domain import Notice, NoticeKind
from services.gateway.wire.responses import timestamp

KINDS: Final = {
    NoticeKind.DISPUTE_OPENED: observation_pb2.Notice.KIND_DISPUTE_OPENED,
    NoticeKind.DISPUTE_CLOSED: observation_pb2.Notice.KIND_DISPUTE_CLOSED,
    NoticeKind.TRANSFER_FAILED: observation_pb2.Notice.KIND_TRANSFER_FAILED,
    NoticeKind.PAYOUT_FAILED: observation_pb2.Notice.KIND_PAYOUT_FAILED,
    NoticeKind.ONBOARDING_REQUIRED: observation_pb2.Notice.KIND_ONBOARDING_REQUIRED,
}


def notice_to_proto(notice: Notice) -> observation_pb2.Notice:
    """Return the message of a notice."""
    return observation_pb2.Notice(
        notice_id=str(notice.notice_id),
        kind=KINDS[notice.kind],
        payment_id=notice.payment_id,
        seller_ids=notice.seller_ids,
        values=notice.values,
        occur_time=timestamp(notice.occur_time),
    )
