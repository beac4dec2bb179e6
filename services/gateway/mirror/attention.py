"""What of a payment at Stripe needs an operator, and which of several reasons is named. Pure.

A payment has one attention. The most urgent reason is named; the detail says all of them, so that none is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

DISPUTE_OPEN: Final = "DISPUTE_OPEN"
INQUIRY_OPEN: Final = "INQUIRY_OPEN"
REFUND_FAILED: Final = "REFUND_FAILED"
SURPLUS: Final = "SURPLUS"
AMOUNT_MISMATCH: Final = "AMOUNT_MISMATCH"
EVENT_NOT_HANDLED: Final = "EVENT_NOT_HANDLED"
DISPUTE_LOST: Final = "DISPUTE_LOST"

BY_URGENCY: Final = (
    DISPUTE_OPEN,  # evidence has to be handed in by a date
    INQUIRY_OPEN,
    REFUND_FAILED,  # a payer waits for their money
    SURPLUS,
    AMOUNT_MISMATCH,
    EVENT_NOT_HANDLED,
    DISPUTE_LOST,  # nothing can be done about it at Stripe any more
)
DETAIL_CHARACTERS_MAX: Final = 500
"""Of all that is said at once. What does not fit is found at Stripe, where an operator has to go anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Why an operator is needed."""

    reason: str
    detail: str = ""


def combined(found: Iterable[Attention]) -> Attention | None:
    """Return one attention that says all that was found; None when nothing was."""
    by_urgency = sorted(found, key=lambda one: BY_URGENCY.index(one.reason))
    if not by_urgency:
        return None
    detail = " ".join(one.detail for one in by_urgency)
    if len(detail) > DETAIL_CHARACTERS_MAX:
        detail = f"{detail[: DETAIL_CHARACTERS_MAX - 1]}…"
    return Attention(reason=by_urgency[0].reason, detail=detail)
