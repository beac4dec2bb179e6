"""Which attempt a payment makes next: what the payer pays it with, and what Stripe does with that. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.terms import Collection, Timing
from services.shared.states import AttemptKind


@dataclass(frozen=True, slots=True, kw_only=True)
class NextAttempt:
    """An attempt as it is asked of the gateway."""

    kind: AttemptKind
    setup_only: bool = False
    """It keeps a method that is charged by a later attempt."""
    capture_manually: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeIds:
    """Stripe's ids of one attempt that takes money; empty where there is none, or none yet."""

    session_id: str = ""
    intent_id: str = ""


def next_attempt(plan: Plan) -> NextAttempt:
    """Return the attempt that the payer is offered next."""
    is_page = plan.collection is Collection.CHECKOUT
    if plan.terms.timing is Timing.SCHEDULED and plan.course.kept_method_id:
        is_turn = plan.course.turn_time is not None
        return NextAttempt(kind=AttemptKind.CHECKOUT_SESSION if is_page and is_turn else AttemptKind.INTENT)
    if plan.terms.timing is Timing.SCHEDULED:
        return NextAttempt(kind=AttemptKind.CHECKOUT_SESSION if is_page else AttemptKind.SETUP_INTENT, setup_only=True)
    return NextAttempt(
        kind=AttemptKind.CHECKOUT_SESSION if is_page else AttemptKind.INTENT,
        capture_manually=plan.terms.timing is Timing.MANUAL_CAPTURE,
    )
