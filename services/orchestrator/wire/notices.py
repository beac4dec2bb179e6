"""The gateway's notices, read into facts."""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import Final

from batzen.gateway.v1 import observation_pb2
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.facts.domain import Fact, FactKind, fact_id

KINDS: Final = {
    observation_pb2.Notice.KIND_DISPUTE_OPENED: FactKind.DISPUTE_OPENED,
    observation_pb2.Notice.KIND_DISPUTE_CLOSED: FactKind.DISPUTE_CLOSED,
    observation_pb2.Notice.KIND_TRANSFER_FAILED: FactKind.TRANSFER_FAILED,
    observation_pb2.Notice.KIND_PAYOUT_FAILED: FactKind.PAYOUT_FAILED,
    observation_pb2.Notice.KIND_ONBOARDING_REQUIRED: FactKind.ONBOARDING_REQUIRED,
}


def fact_of(notice: observation_pb2.Notice, *, tenant_id: str, payer_id: str) -> Fact:
    """Return the fact that a notice says; its id is derived from the notice's, so it is the same at each try."""
    if not notice.HasField("occur_time"):
        raise FieldMissing(field="notice.occur_time")
    kind = KINDS.get(notice.kind)
    if kind is None:
        # Kept, nobody would be told of it; refused, the gateway keeps it for the version that knows it.
        raise FieldInvalid(field="notice.kind", detail="must be a value that this version knows")
    return Fact(
        tenant_id=tenant_id,
        fact_id=fact_id(kind, str(_notice_id(notice))),
        kind=kind,
        occur_time=notice.occur_time.ToDatetime(UTC),
        payment_id=notice.payment_id,
        payer_id=payer_id,
        seller_ids=tuple(notice.seller_ids),
        values=dict(notice.values),
    )


def _notice_id(notice: observation_pb2.Notice) -> uuid.UUID:
    try:
        return uuid.UUID(notice.notice_id)
    except ValueError:
        raise FieldInvalid(field="notice.notice_id", detail="must be a UUID") from None
