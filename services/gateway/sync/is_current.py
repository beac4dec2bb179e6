"""Whether an event says anything that the mirror does not show. Pure.

Most events do not: they follow an answer that we had. Such an event is done as soon as it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.errors import InvalidRequest
from services.gateway import domain
from services.gateway.domain import Intent
from services.gateway.mirror.store import MirroredPayment
from services.gateway.refunds import operations
from services.gateway.stripe_api.client import facts_of
from services.gateway.stripe_api.currencies import from_stripe

Json = Mapping[str, Any]


def is_current(held: MirroredPayment, shown: Json) -> bool:
    """Whether the mirror already says what an object of Stripe's shows; False wherever that is not certain."""
    try:
        match shown.get("object"):
            case "payment_intent":
                return _is_intent_current(held, shown)
            case "refund":
                return _is_refund_current(held, shown)
            case "charge":
                return _is_charge_current(held, shown)
    except (LookupError, AttributeError, TypeError, ValueError, InvalidRequest):
        return False  # not as we know such objects: whoever works on the event finds out what is wrong
    return False


def _is_intent_current(held: MirroredPayment, shown: Json) -> bool:
    facts = facts_of(shown)
    intent = next((one for one in held.intents.values() if one.intent_id == facts.intent_id), None)
    return intent is not None and domain.is_current(intent, facts)


def _is_refund_current(held: MirroredPayment, shown: Json) -> bool:
    state, failure_reason = operations.STATES[shown["status"]], str(shown.get("failure_reason") or "")
    return any(
        refund.stripe_refund_id == shown["id"] and (refund.state, refund.failure_reason) == (state, failure_reason)
        for refund in held.refunds.values()
    )


def _is_charge_current(held: MirroredPayment, shown: Json) -> bool:
    intent = next((one for one in held.intents.values() if one.charge_id == shown["id"]), None)
    if intent is None or intent.state != domain.SUCCEEDED or bool(shown.get("disputed")) != intent.disputed:
        return False
    captured_minor = from_stripe(int(shown["amount_captured"]), str(shown["currency"]))
    refunded_minor = from_stripe(int(shown["amount_refunded"]), str(shown["currency"]))
    return captured_minor == intent.captured_minor and refunded_minor <= _given_back_minor(held, intent)


def _given_back_minor(held: MirroredPayment, intent: Intent) -> int:
    """Return what Stripe was seen to give back or to be giving back of an attempt."""
    return sum(
        refund.amount_minor
        for refund in held.refunds.values()
        if refund.attempt == intent.attempt
        and refund.stripe_refund_id
        and refund.state in (domain.REFUND_PENDING, domain.REFUND_SUCCEEDED)
    )
