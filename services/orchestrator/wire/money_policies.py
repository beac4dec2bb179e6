"""Policies of money as messages and as values; what is wrong is refused with its field's name."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from batzen.orchestrator.v1 import ops_pb2 as pb
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain.money_policy import (
    HOURS_MAX,
    DisputeRecovery,
    FraudWarning,
    MoneyPolicy,
    PolicyRecord,
    RefundPolicy,
)
from services.orchestrator.wire.requests import TYPE_CHARACTERS_MAX, WHY_CHARACTERS_MAX
from services.shared import fields
from services.wire import timestamp

_RECOVERIES: Final = {
    pb.MoneyPolicy.DISPUTE_RECOVERY_UNSPECIFIED: DisputeRecovery.NONE,
    pb.MoneyPolicy.DISPUTE_RECOVERY_NONE: DisputeRecovery.NONE,
    pb.MoneyPolicy.DISPUTE_RECOVERY_AT_WITHDRAWAL: DisputeRecovery.AT_WITHDRAWAL,
    pb.MoneyPolicy.DISPUTE_RECOVERY_AT_LOSS: DisputeRecovery.AT_LOSS,
}
_WARNINGS: Final = {
    pb.MoneyPolicy.FRAUD_WARNING_UNSPECIFIED: FraudWarning.ATTEND,
    pb.MoneyPolicy.FRAUD_WARNING_ATTEND: FraudWarning.ATTEND,
    pb.MoneyPolicy.FRAUD_WARNING_REFUND: FraudWarning.REFUND,
}


def put_policy(request: pb.PutPolicyRequest, *, now: datetime) -> PolicyRecord:
    """Return what an operator puts; refuse what is wrong."""
    asked = request.policy
    if not request.HasField("policy"):
        raise FieldMissing(field="policy")
    if asked.dispute_recovery not in _RECOVERIES:
        offered = fields.one_of(pb.MoneyPolicy.DisputeRecovery.items(), _RECOVERIES)
        raise FieldInvalid(field="policy.dispute_recovery", detail=offered)
    if asked.fraud_warning not in _WARNINGS:
        offered = fields.one_of(pb.MoneyPolicy.FraudWarning.items(), _WARNINGS)
        raise FieldInvalid(field="policy.fraud_warning", detail=offered)
    if not request.reason:
        raise FieldMissing(field="reason")
    policy = MoneyPolicy(
        pay_after_service_h=_hours(asked.pay_after_service_hours, field="policy.pay_after_service_hours")
        if asked.HasField("pay_after_service_hours")
        else None,
        dispute_recovery=_RECOVERIES[asked.dispute_recovery],
        nets_receivables=asked.nets_receivables,
        fraud_warning=_WARNINGS[asked.fraud_warning],
        refund=_refund(asked.refund) if asked.HasField("refund") else RefundPolicy(),
    )
    return PolicyRecord(
        session_type=fields.text(request.session_type, field="session_type", characters_max=TYPE_CHARACTERS_MAX),
        policy=policy,
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        reason=fields.text(request.reason, field="reason", characters_max=WHY_CHARACTERS_MAX),
        create_time=now,
    )


def record_to_proto(record: PolicyRecord) -> pb.PolicyRecord:
    """Return the message of a policy that was put."""
    policy = record.policy
    message = pb.MoneyPolicy(
        pay_after_service_hours=policy.pay_after_service_h,
        dispute_recovery=f"DISPUTE_RECOVERY_{policy.dispute_recovery}",
        nets_receivables=policy.nets_receivables,
        fraud_warning=f"FRAUD_WARNING_{policy.fraud_warning}",
    )
    if policy.refund.full_until_h is not None:
        message.refund.full_until_hours = policy.refund.full_until_h
        message.refund.percent = policy.refund.percent
        message.refund.percent_until_hours = policy.refund.percent_until_h
    return pb.PolicyRecord(
        session_type=record.session_type,
        policy=message,
        actor_id=record.actor_id,
        reason=record.reason,
        create_time=timestamp(record.create_time),
    )


def _refund(asked: pb.RefundPolicy) -> RefundPolicy:
    full_until_h = _hours(asked.full_until_hours, field="policy.refund.full_until_hours")
    percent_until_h = _hours(asked.percent_until_hours, field="policy.refund.percent_until_hours")
    if not 0 <= asked.percent <= 100:
        raise FieldInvalid(field="policy.refund.percent", detail="must be 0 to 100")
    if percent_until_h > full_until_h:
        raise FieldInvalid(field="policy.refund.percent_until_hours", detail="must be at most `full_until_hours`")
    return RefundPolicy(full_until_h=full_until_h, percent=asked.percent, percent_until_h=percent_until_h)


def _hours(asked: int, *, field: str) -> int:
    if not 0 <= asked <= HOURS_MAX:
        raise FieldInvalid(field=field, detail=f"must be 0 to {HOURS_MAX}")
    return asked
