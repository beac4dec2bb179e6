"""What of a payment at Stripe needs an operator, the most urgent first. Pure.

Each reason is named once. Where it has several causes, such as two disputes, its detail says all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.shared.payment import Attention, as_one
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


def by_reason(found: Iterable[Attention]) -> tuple[Attention, ...]:
    """Return what was found, each reason once, the most urgent first."""
    every = list(found)
    combined = (as_one([one for one in every if one.reason == reason]) for reason in BY_URGENCY)
    return tuple(one for one in combined if one is not None)
