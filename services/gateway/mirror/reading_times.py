"""When a payment is read again at Stripe without anybody asking for it. Pure.

A webhook that never comes must not leave a refund pending, or a payer at their bank, for ever. So whatever waits for
Stripe is read again from time to time: soon after something changed, then ever more seldom, and at least once a day.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from services.gateway.intents.domain import Intent
from services.gateway.mirror.observation import Observation
from services.gateway.refunds.domain import UNDECIDED, Refund
from services.shared.states import IntentState

RESTS: Final = (
    timedelta(minutes=5),
    timedelta(minutes=15),
    timedelta(hours=1),
    timedelta(hours=4),
    timedelta(hours=12),
    timedelta(days=1),
)
"""Before the first look after a change, the second, …; the last before all that follow."""


def rest_after(looks: int) -> timedelta:
    """Return how long to wait before the next look, after so many since something changed."""
    return RESTS[min(looks, len(RESTS) - 1)]


def next_look(
    observation: Observation, intents: Iterable[Intent], refunds: Iterable[Refund], *, looks: int
) -> timedelta | None:
    """Return how long to wait before a payment is read again; None when nothing of it waits for Stripe."""
    waits = (
        any(intent.is_made and _waits(intent) for intent in intents)
        or any(refund.state in UNDECIDED for refund in refunds)
        or observation.amounts.surplus_minor > 0
    )
    return rest_after(looks) if waits else None


def _waits(intent: Intent) -> bool:
    if intent.state not in (IntentState.SUCCEEDED, IntentState.CANCELED) and not intent.is_page_spent:
        return True
    undecided = any(one.is_open or not one.is_settled for one in intent.disputes)
    return undecided or (intent.disputed and not intent.disputes) or bool(intent.notices)
