"""Whether the mirror already says what an object of an event shows. Pure.

Most do: they follow an answer that we had. Such an event is done as soon as it is stored.
"""

from __future__ import annotations

from services.gateway.checkout.domain import shows_session
from services.gateway.intents import domain
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import ON_ITS_WAY
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.stripe_api.objects import REFUND_STATES, amount, refund_facts
from services.gateway.stripe_api.session_objects import session_facts
from services.shared.codec import Json
from services.shared.states import IntentState


def is_current(payment: MirroredPayment, shown: Json) -> bool:
    """Whether the mirror already says what an object of Stripe's shows; False wherever that is not certain."""
    try:
        match shown.get("object"):
            case "payment_intent" | "setup_intent":
                return _is_intent_current(payment, shown)
            case "refund":
                return _is_refund_current(payment, shown)
            case "checkout.session":
                return _is_session_current(payment, shown)
            case "charge":
                return _is_charge_current(payment, shown)
    except (LookupError, AttributeError, TypeError, ValueError):
        return False  # not as we know such objects: whoever works on the event finds out what is wrong
    return False


def _is_intent_current(payment: MirroredPayment, shown: Json) -> bool:
    facts = attempt_facts(shown)
    intent = payment.intent_of(facts.intent_id)
    return intent is not None and domain.is_current(intent, facts)


def _is_session_current(payment: MirroredPayment, shown: Json) -> bool:
    facts = session_facts(shown)
    page = payment.page_of(facts.session_id)
    return page is not None and shows_session(page, facts)


def _is_refund_current(payment: MirroredPayment, shown: Json) -> bool:
    facts = refund_facts(shown)
    return shown["status"] in REFUND_STATES and any(
        refund.stripe_refund_id == facts.stripe_refund_id
        and (refund.state, refund.failure_reason) == (facts.state, facts.failure_reason)
        for refund in payment.refunds.values()
    )


def _is_charge_current(payment: MirroredPayment, shown: Json) -> bool:
    intent = next((one for one in payment.intents.values() if one.charge_id == shown["id"]), None)
    if intent is None or intent.state != IntentState.SUCCEEDED or bool(shown.get("disputed")) != intent.disputed:
        return False
    is_same_taken = amount(shown, "amount_captured") == intent.captured_minor
    return is_same_taken and amount(shown, "amount_refunded") <= _given_back_minor(payment, intent)


def _given_back_minor(payment: MirroredPayment, intent: Intent) -> int:
    """Return what Stripe is known to have given back or to be giving back of an attempt."""
    return sum(
        refund.amount_minor
        for refund in payment.refunds.values()
        if refund.attempt == intent.attempt and refund.stripe_refund_id and refund.state in ON_ITS_WAY
    )
