"""What of a payment at Stripe needs an operator, and which of several reasons is named. Pure.

A payment has one attention. The most urgent reason is named; the detail says all of them, so that none is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.shared.payment import Attention
from services.shared.states import AttentionReason

BY_URGENCY: Final = (
    AttentionReason.DISPUTE_DUE,  # evidence has to be handed in within days
    AttentionReason.DISPUTE_OPEN,
    AttentionReason.INQUIRY_OPEN,
    AttentionReason.REFUND_FAILED,  # a payer waits for their money
    AttentionReason.EARLY_FRAUD_WARNING,  # a refund now may avert a dispute
    AttentionReason.REVIEW_OPEN,
    AttentionReason.SURPLUS,
    AttentionReason.SELLER_OWES,
    AttentionReason.SETTLEMENT_WAITS,  # a seller waits for its money
    AttentionReason.AMOUNT_MISMATCH,
    AttentionReason.EVENT_NOT_HANDLED,
    AttentionReason.DISPUTE_LOST,  # nothing can be done about it at Stripe any more
)
DETAIL_CHARACTERS_MAX: Final = 500
"""Of all that is said at once. What does not fit is found at Stripe, where an operator has to go anyway."""


def combined(found: Iterable[Attention]) -> Attention | None:
    """Return one attention that says all that was found; None when nothing was."""
    by_urgency = sorted(found, key=lambda one: BY_URGENCY.index(AttentionReason(one.reason)))
    if not by_urgency:
        return None
    detail = " ".join(one.detail for one in by_urgency)
    if len(detail) > DETAIL_CHARACTERS_MAX:
        detail = f"{detail[: DETAIL_CHARACTERS_MAX - 1]}…"
    return Attention(reason=by_urgency[0].reason, detail=detail)
