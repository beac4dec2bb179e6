"""Rules of a hosted page: what Stripe's session changes of its attempt, and whether that shows anything new. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.gateway.intents.domain import Intent, SessionState, page_state
from services.shared.amounts import written
from services.shared.states import IntentState

PAID: Final = "paid"
UNPAID: Final = "unpaid"

SETTLED_UNPAID: Final = frozenset({IntentState.REQUIRES_CAPTURE, IntentState.SUCCEEDED, IntentState.CANCELED})
"""States of an intent by which a complete, unpaid session says nothing new: in any other its money may have come, or
failed, since."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionFacts:
    """A session as Stripe showed it, in ISO minor units."""

    session_id: str
    state: SessionState
    expire_time: datetime
    intent_id: str
    """Of the intent that takes the money or keeps the method; empty until there is one."""
    payment_status: str
    amount_minor: int
    currency_code: str
    url: str
    """Where the payer goes; empty once it is not open. Never stored."""


def with_session(before: Intent, facts: SessionFacts, *, currency_code: str) -> Intent:
    """Return the attempt after its session was seen. How its intent stands is shown by that alone."""
    intent_id = facts.intent_id or before.intent_id
    known = before.state if before.intent_id and before.intent_id == intent_id else None
    state = IntentState.CANCELED if before.is_released else page_state(facts.state, known)
    return replace(
        before,
        session_id=facts.session_id,
        session_state=facts.state,
        session_expire_time=facts.expire_time,
        intent_id=intent_id,
        state=state,
        mismatch=before.mismatch or _mismatch(before, facts, currency_code=currency_code),
    )


def shows_session(before: Intent, facts: SessionFacts) -> bool:
    """Whether the attempt already says what its session shows; False wherever that is not certain."""
    if (before.session_state, before.intent_id) != (facts.state, facts.intent_id):
        return False
    if facts.state is not SessionState.COMPLETE:
        return True
    if facts.payment_status == UNPAID:
        return before.state in SETTLED_UNPAID
    return before.is_released or before.state == IntentState.SUCCEEDED


def _mismatch(before: Intent, facts: SessionFacts, *, currency_code: str) -> str:
    """Return what Stripe's page has otherwise than it was asked for."""
    if before.is_setup or (facts.amount_minor, facts.currency_code) == (before.amount_minor, currency_code):
        return ""
    asked, has = written(before.amount_minor, currency_code), written(facts.amount_minor, facts.currency_code)
    return f"Asked for {asked}, its page has {has}."
