"""Disputes on the wire: requests as domain values, and disputes as messages."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from batzen.gateway.v1 import disputes_pb2
from services.errors import FieldInvalid, FieldMissing
from services.gateway.disputes import evidence
from services.gateway.disputes.domain import Dispute, DisputeState, Withdrawal
from services.gateway.disputes.operations import DisputeParams, SubmitEvidenceParams
from services.gateway.disputes.store import DisputeFilter
from services.gateway.stripe_api import stripe_ids
from services.gateway.wire.responses import money, timestamp
from services.shared import fields

STATES = {disputes_pb2.Dispute.State.Value(f"STATE_{state}"): state for state in DisputeState}
"""Number in the contract → our name."""


def dispute_id(value: str) -> str:
    """Read which dispute."""
    return stripe_ids.read(value, stripe_ids.DISPUTE, field="dispute_id")


def list_filter(request: disputes_pb2.ListDisputesRequest) -> DisputeFilter:
    """Read which disputes are listed."""
    for place, state in enumerate(request.states):
        if state not in STATES:
            detail = fields.one_of(disputes_pb2.Dispute.State.items(), STATES)
            raise FieldInvalid(field=f"states[{place}]", detail=detail)
    payment_id = request.payment_id and fields.identifier(request.payment_id, field="payment_id")
    return DisputeFilter(
        payment_id=payment_id,
        open_only=request.open_only,
        states=tuple(dict.fromkeys(STATES[state] for state in request.states)),
        due_before_time=_due_before(request),
    )


def evidence_params(request: disputes_pb2.SubmitDisputeEvidenceRequest) -> SubmitEvidenceParams:
    """Read what is handed in."""
    given = evidence.checked(request.evidence)
    if not given and not request.submit:
        raise FieldMissing(field="evidence")
    return SubmitEvidenceParams(
        dispute_id=dispute_id(request.dispute_id),
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        evidence=given,
        submit=request.submit,
    )


def accept_params(request: disputes_pb2.AcceptDisputeRequest) -> DisputeParams:
    """Read what is given up."""
    return DisputeParams(
        dispute_id=dispute_id(request.dispute_id),
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
    )


def to_proto(
    dispute: Dispute, *, payment_id: str, attempt: int, evidence: Mapping[str, str] | None = None
) -> disputes_pb2.Dispute:
    """Return the message of a dispute."""
    due_time = dispute.evidence_due_time
    return disputes_pb2.Dispute(
        dispute_id=dispute.dispute_id,
        payment_id=payment_id,
        amount=money(dispute.amount_minor, dispute.currency_code),
        reason=dispute.reason,
        state=f"STATE_{dispute.state}",
        inquiry=dispute.is_inquiry,
        evidence_due_time=None if due_time is None else timestamp(due_time),
        create_time=timestamp(dispute.create_time),
        stripe_status=dispute.status,
        network_reason_code=dispute.network_reason_code,
        charge_id=dispute.charge_id,
        attempt=attempt,
        has_evidence=dispute.has_evidence,
        submission_count=dispute.submission_count,
        past_due=dispute.is_past_due,
        is_charge_refundable=dispute.is_charge_refundable,
        movements=[_movement(one) for one in dispute.withdrawals],
        outstanding=money(dispute.withdrawn_minor, dispute.currency_code),
        evidence=evidence or {},
        evidence_actor_id=dispute.evidence_actor_id,
        accept_actor_id=dispute.accept_actor_id,
    )


def _movement(moved: Withdrawal) -> disputes_pb2.Dispute.Movement:
    return disputes_pb2.Dispute.Movement(
        balance_transaction_id=moved.balance_transaction_id,
        amount=money(moved.amount_minor, moved.currency_code),
        fee=money(moved.fee_minor, moved.currency_code),
        create_time=timestamp(moved.create_time),
        available_time=timestamp(moved.available_time),
        exchange_rate=moved.exchange_rate,
        reporting_category=moved.reporting_category,
    )


def _due_before(request: disputes_pb2.ListDisputesRequest) -> datetime | None:
    if not request.HasField("due_before_time"):
        return None
    try:
        return request.due_before_time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(field="due_before_time", detail="must be an instant of the years 1 to 9999") from None
