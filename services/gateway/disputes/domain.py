"""Rules of disputes: what one takes from a payment, what it forbids, and what an operator has to know of it. Pure.

A dispute takes its amount back at once; that is decided later, or never comes back. An inquiry only asks: it takes
nothing, and may become a dispute. What Stripe calls its state is kept as it is; what it means is its `standing`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from services.shared.payment import Attention
from services.shared.split import LineAmount
from services.shared.states import AttentionReason


class Standing(StrEnum):
    """What a dispute means for the money."""

    OPEN = "OPEN"
    """The money is withdrawn, and the outcome is open."""
    LOST = "LOST"
    """The money is gone."""
    INQUIRY = "INQUIRY"
    """The payer's bank asks; no money was moved."""
    CLOSED = "CLOSED"
    """It took nothing in the end."""


TAKEN: Final = frozenset({Standing.OPEN, Standing.LOST})
"""The money is not ours, for now or for good."""

_STANDINGS: Final = {
    "needs_response": Standing.OPEN,
    "under_review": Standing.OPEN,
    "appeal_needs_response": Standing.OPEN,
    "appeal_under_review": Standing.OPEN,
    "lost": Standing.LOST,
    "won": Standing.CLOSED,
    "warning_needs_response": Standing.INQUIRY,
    "warning_under_review": Standing.INQUIRY,
    "warning_closed": Standing.CLOSED,
}
"""By the states that say by themselves where the money is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One dispute or inquiry of a charge, as last seen."""

    dispute_id: str
    status: str
    standing: Standing
    amount_minor: int
    """Contested, in the payment's currency; it may be more or less than the charge."""
    reason: str
    is_charge_refundable: bool
    evidence_due_time: datetime | None = None
    """None where no evidence is taken."""
    parts: tuple[LineAmount, ...] = ()
    """What of it falls to each line, as it was when it took the money; what is more than was left falls to none."""

    def attention(self) -> Attention | None:
        """Return what an operator has to know of it."""
        what = f"{self.dispute_id} over {self.amount_minor} minor units ({self.reason})"
        due = f"; evidence is due by {self.evidence_due_time:%Y-%m-%d %H:%M} UTC" if self.evidence_due_time else ""
        match self.standing:
            case Standing.OPEN:
                return Attention(reason=AttentionReason.DISPUTE_OPEN, detail=f"Dispute {what} is open{due}.")
            case Standing.INQUIRY:
                return Attention(reason=AttentionReason.INQUIRY_OPEN, detail=f"The payer's bank inquires: {what}{due}.")
            case Standing.LOST:
                return Attention(reason=AttentionReason.DISPUTE_LOST, detail=f"Dispute {what} was lost.")
        return None


UNREAD: Final = Attention(reason=AttentionReason.DISPUTE_OPEN, detail="The charge is disputed; how, was not read yet.")
"""While Stripe says so of a charge and its disputes were not shown."""


def standing_of(status: str, *, is_withdrawn: bool) -> Standing:
    """Return what a dispute's state means for the money.

    `is_withdrawn` says whether more was taken than given back because of it. That decides for a state that does not say
    it: a dispute that was `prevented` by giving in has cost the money, and so has, for now, one in a state to come.
    """
    known = _STANDINGS.get(status)
    if known is not None:
        return known
    if status == "prevented":
        return Standing.LOST if is_withdrawn else Standing.CLOSED
    return Standing.OPEN if is_withdrawn else Standing.INQUIRY


def total_minor(disputes: tuple[Dispute, ...], standing: Standing) -> int:
    """Return what disputes of one standing come to."""
    return sum(dispute.amount_minor for dispute in disputes if dispute.standing == standing)
