"""Which hosted page an intent says it is of, before the page says so itself. Pure.

A page's intent is made when the payer pays, and its events may come before the page shows it. What they say of
themselves is metadata that we gave the page for its intent. It is believed of objects of the platform's own account
alone, and only after the intent was read there and says the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.gateway.stripe_api.metadata import ATTEMPT, PAYMENT_ID
from services.gateway.stripe_api.objects import metadata, reference, text
from services.gateway.stripe_api.session_objects import INTENTS
from services.shared.codec import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An intent that claims to be of an attempt."""

    payment_id: str
    attempt: int
    intent_id: str

    def is_borne_out_by(self, intent: Json) -> bool:
        """Whether the intent says at Stripe what it said in its event."""
        return claim_of(intent) == self


def claim_of(shown: Json) -> Claim | None:
    """Return what an intent claims, or a charge of one; None where it claims nothing."""
    intent_id = text(shown, "id") if shown.get("object") in INTENTS else reference(shown, "payment_intent")
    payment_id, attempt = metadata(shown, PAYMENT_ID), metadata(shown, ATTEMPT)
    if not intent_id or not payment_id or not attempt.isdecimal():
        return None
    return Claim(payment_id=payment_id, attempt=int(attempt), intent_id=intent_id)
