"""What the calls on intents have in common: which attempt they are on, and what is unknown while one has no answer."""

from __future__ import annotations

from typing import Final

from services.gateway.errors import IntentNotFound, WrongIntentState
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.stripe_api.session_objects import intent_in, session_facts
from services.shared.codec import Json
from services.shared.states import IntentState

EXPANDED: Final = ["latest_charge", "payment_method"]
"""So that an answer shows what was paid with, and no second call is needed."""
EXPANDED_OF_SETUP: Final = ["payment_method"]


def current_attempt(payment: MirroredPayment, attempt: int) -> Intent:
    """Return the attempt that was asked for, which is the last that came to be.

    Raises IntentNotFound or WrongIntentState.
    """
    intent = payment.intents.get(attempt)
    if intent is None or not intent.is_made:
        raise IntentNotFound
    if not payment.is_current(attempt):
        raise WrongIntentState(intent_state=intent.state, attempt=attempt)
    return intent


def apply_settled(payment: MirroredPayment, attempt: int, intent: Json) -> IntentState:
    """Mirror an intent after a call on it, and return its state: nothing is unknown any more."""
    payment.unsettled = False
    payment.apply_intent(attempt, attempt_facts(intent))
    return payment.intents[attempt].state


def apply_page(payment: MirroredPayment, attempt: int, session: Json) -> Intent:
    """Mirror an attempt's hosted page, and its intent where that is shown with it; return the attempt."""
    payment.apply_session(attempt, session_facts(session))
    intent = intent_in(session)
    if intent:
        payment.apply_intent(attempt, attempt_facts(intent))
    return payment.intents[attempt]


def settle(payment: MirroredPayment, *, is_settled: bool) -> None:
    """Keep whether something is unknown."""
    payment.unsettled = not is_settled
    payment.conclude()
