"""Holds refunds to the policy of their payment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from services.orchestrator.domain import money_policy
from services.orchestrator.domain.errors import RefundBeyondPolicy
from services.orchestrator.domain.money_policy import Allowed
from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.refund import LineStanding
from services.orchestrator.wire import services
from services.orchestrator.wire.refunds import OfLines


def allowed_of(plan: Plan, lines: Mapping[str, LineStanding], now: datetime) -> Allowed:
    """Return what the policy of a payment gives back now of some of its lines."""
    begins = services.begins(plan.quote_request)
    return money_policy.allowed(plan.terms.policy.refund, lines, begins, now, step_minor=plan.split.step_minor)


def refuse_beyond(
    plan: Plan, asked: OfLines, amount_minor: int, lines: Mapping[str, LineStanding], now: datetime
) -> None:
    """Raise `RefundBeyondPolicy` where more is to go back than the policy gives, of the lines or of one of them.

    What is not said of a line falls to each in proportion to what is left of it. So one of which nothing goes back any
    more would give for another, again and again until all went back.
    """
    said = allowed_of(plan, {line_id: lines[line_id] for line_id in asked.line_ids if line_id in lines}, now)
    left = {line_id: lines[line_id].refundable_minor for line_id in asked.line_ids if line_id in lines}
    if not asked.amounts and amount_minor > (
        fitting_minor := money_policy.fitting_minor(said, left, step_minor=plan.split.step_minor)
    ):
        raise RefundBeyondPolicy(field="amount", allowed_minor=fitting_minor)
    for one in asked.amounts:
        allowed_minor = said.of_lines.get(one.line_id, 0)
        if one.amount_minor > allowed_minor:
            raise RefundBeyondPolicy(field="line_amounts", allowed_minor=allowed_minor)
    if amount_minor > said.amount_minor:
        raise RefundBeyondPolicy(field="amount", allowed_minor=said.amount_minor)
