"""What is done by itself about a warning of fraud. Pure."""

from __future__ import annotations

from services.orchestrator.domain.money_policy import FraudWarning
from services.orchestrator.domain.plan import Plan


def is_due(plan: Plan) -> bool:
    """Whether all that is refundable is to go back: once, by the policy of the payment, of what was captured."""
    is_policy = plan.terms.policy.fraud_warning is FraudWarning.REFUND
    is_new = plan.course.fraud_warned and not plan.course.fraud_refunded
    return is_policy and is_new and plan.latest_snapshot.amounts.captured_minor > 0
