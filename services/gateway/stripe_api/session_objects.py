"""Stripe's Checkout Sessions, read into the facts of an attempt: whether their intent is expanded or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from services.gateway.checkout.domain import SessionFacts
from services.gateway.intents.domain import SessionState
from services.gateway.stripe_api.currencies import from_stripe
from services.gateway.stripe_api.objects import number, part, reference, text
from services.shared.codec import Json

INTENTS: Final = ("payment_intent", "setup_intent")
"""Fields of a session that name its intent, each in sessions of its own mode."""
STATES: Final = {state.value.lower(): state for state in SessionState}


def session_facts(session: Json) -> SessionFacts:
    """Read a session as Stripe shows it."""
    currency = text(session, "currency")
    return SessionFacts(
        session_id=str(session["id"]),
        # A state that Stripe invents later is one in which nothing is asked of us: it is looked at again.
        state=STATES.get(str(session["status"]), SessionState.OPEN),
        expire_time=datetime.fromtimestamp(number(session, "expires_at"), UTC),
        intent_id=intent_id_of(session),
        payment_status=text(session, "payment_status"),
        amount_minor=from_stripe(number(session, "amount_total"), currency) if currency else 0,
        currency_code=currency.upper(),
        url=text(session, "url"),
    )


def intent_id_of(session: Json) -> str:
    """Return the id of a session's intent; empty while there is none."""
    return next((found for name in INTENTS if (found := reference(session, name))), "")


def intent_in(session: Json) -> Json:
    """Return the intent that a session shows; empty where it shows none, or its id alone."""
    return next((found for name in INTENTS if (found := part(session, name))), {})
