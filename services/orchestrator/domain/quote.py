"""What becomes of a payment's quote: it was paid, or it will not be."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from services.orchestrator.domain.payment import ENDED_WITHOUT_MONEY, Snapshot
from services.shared.states import State


class QuoteState(StrEnum):
    """What was decided of a quote, and pricing has to hear."""

    REDEEMED = "REDEEMED"
    """It was paid."""
    RELEASED = "RELEASED"
    """It will not be paid."""


OVER_LIMIT: Final = "OVER_LIMIT"
"""Redeeming a quote took a coupon over its limit."""


def next_state(before: QuoteState | None, latest: Snapshot) -> QuoteState | None:
    """Return what becomes of a payment's quote; None while that is open.

    What was redeemed stays so. What was released is redeemed all the same when money comes late. A hold redeems with
    its first capture, not before: what ends without one gives back what the quote holds, and pricing never has to take
    back what it redeemed. Until then the quote stands, since it lives as long as any hold (`policies.quote_ttl`).
    """
    if before is QuoteState.REDEEMED or latest.collection is State.SUCCEEDED or latest.amounts.captured_minor:
        return QuoteState.REDEEMED
    return QuoteState.RELEASED if latest.collection in ENDED_WITHOUT_MONEY else before
