"""Whether the mirror already says what an object of an event shows. Pure.

Most do: they follow an answer that we had. Such an event is done as soon as it is stored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from services.gateway.checkout.domain import shows_session
from services.gateway.intents import domain
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import ON_ITS_WAY
from services.gateway.settlement.seen import MovedFacts, unseen
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.stripe_api.movement_objects import charge_facts, moved_facts
from services.gateway.stripe_api.objects import REFUND_STATES, amount, refund_facts
from services.gateway.stripe_api.session_objects import session_facts
from services.shared.codec import Json
from services.shared.states import IntentState


def is_current(payment: MirroredPayment, shown: Json, *, is_booked: bool = False) -> bool:
    """Whether the mirror already says what an object of Stripe's shows; False wherever that is not certain.

    `is_booked`: of a charge only what Stripe booked and moved with it is news.
    """
    shows = _is_booking_current if is_booked else _SHOWN.get(str(shown.get("object")))
    try:
        return shows is not None and shows(payment, shown)
    except (LookupError, AttributeError, TypeError, ValueError):
        return False  # not as we know such objects: whoever works on the event finds out what is wrong


def comes_with_charge(payment: MirroredPayment, shown: Json) -> bool:
    """Whether a transfer or a fee came with a destination charge (`is_of_charge`); False where that is not certain."""
    try:
        return is_of_charge(payment, moved_facts(shown))
    except (LookupError, AttributeError, TypeError, ValueError):
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


def _is_booking_current(payment: MirroredPayment, shown: Json) -> bool:
    facts = charge_facts(shown)
    intent = next((one for one in payment.intents.values() if one.charge_id == shown["id"]), None)
    if intent is None or facts is None:
        return facts is None
    moved = {one.stripe_id for one in payment.movements.values()} if intent.is_destination else {facts.transfer_id}
    return (
        facts.balance_transaction_id in ("", intent.balance_transaction_id)
        and facts.transfer_id in ("", *moved)
        and facts.fee_id in ("", *moved, "" if intent.is_destination else facts.fee_id)
    )


def _is_moved_current(payment: MirroredPayment, shown: Json) -> bool:
    facts = moved_facts(shown)
    return is_of_charge(payment, facts) or not unseen(payment.movements, facts)


def is_of_charge(payment: MirroredPayment, moved: MovedFacts) -> bool:
    """Whether a transfer came with a destination charge, which says so itself, and nothing went back on it yet."""
    source = next((one for one in payment.intents.values() if one.charge_id == moved.charge_id), None)
    return source is not None and source.is_destination and not moved.back_minor


def _given_back_minor(payment: MirroredPayment, intent: Intent) -> int:
    """Return what Stripe is known to have given back or to be giving back of an attempt."""
    return sum(
        refund.amount_minor
        for refund in payment.refunds.values()
        if refund.attempt == intent.attempt and refund.stripe_refund_id and refund.state in ON_ITS_WAY
    )


_SHOWN: Final[Mapping[str, Callable[[MirroredPayment, Json], bool]]] = {
    "payment_intent": _is_intent_current,
    "setup_intent": _is_intent_current,
    "refund": _is_refund_current,
    "checkout.session": _is_session_current,
    "charge": _is_charge_current,
    "transfer": _is_moved_current,
    "application_fee": _is_moved_current,
}
