"""Which kept method a payment cannot do without. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from services.gateway.intents.domain import Intent
from services.shared.states import IntentState


def with_needs(attempts: Mapping[int, Intent]) -> dict[int, Intent]:
    """Return the attempts of a payment, each with the kept method that is needed of it.

    A setup that is being confirmed with a kept method needs that until it has failed, or has kept it.
    A setup that succeeded kept a method for a later attempt. It is needed until that took or holds money, or kept
    another; and no more once the payment was cancelled, as far as that is seen: its latest attempt is cancelled.
    """
    made = [attempts[number] for number in sorted(attempts) if attempts[number].is_made]
    needed = None
    for one in made:
        if one.is_setup and one.state == IntentState.SUCCEEDED:
            needed = one
        elif one.state in (IntentState.SUCCEEDED, IntentState.REQUIRES_CAPTURE):
            needed = None
    if needed is not None and made[-1].state == IntentState.CANCELED:
        needed = None
    return {number: replace(one, needs_method_id=_needs(one, needed)) for number, one in attempts.items()}


def _needs(attempt: Intent, needed: Intent | None) -> str:
    if needed is None or attempt.attempt != needed.attempt or attempt.method is None:
        return attempt.claims_method_id
    return attempt.method.payment_method_id
