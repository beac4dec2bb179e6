"""Rules of disputes: what one takes from a payment, what it forbids, and what an operator has to know of it. Pure.

A dispute takes its amount back at once; that is decided later, or never comes back. An inquiry only asks: it takes
nothing, and may become a dispute. What Stripe calls its state is kept as it is; what it means is its `standing`. What
it has taken is said by its balance transactions alone, which may come later than the state that they follow from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from enum import StrEnum
from typing import Final

from services.shared.amounts import written
from services.shared.payment import Attention
from services.shared.split import LineAmount
from services.shared.states import AttentionReason


class Standing(StrEnum):
    """What a dispute means for the money."""

    OPEN = "OPEN"
    """The money is withdrawn, or about to be, and the outcome is open."""
    LOST = "LOST"
    """The money is gone."""
    INQUIRY = "INQUIRY"
    """The payer's bank asks; no money was moved."""
    CLOSED = "CLOSED"
    """It took nothing in the end."""


class DisputeState(StrEnum):
    """A dispute's life, as the contract names it."""

    NEEDS_RESPONSE = "NEEDS_RESPONSE"
    UNDER_REVIEW = "UNDER_REVIEW"
    WON = "WON"
    LOST = "LOST"
    CLOSED = "CLOSED"
    """An inquiry that ended without a dispute."""
    PREVENTED = "PREVENTED"
    APPEAL_NEEDS_RESPONSE = "APPEAL_NEEDS_RESPONSE"
    APPEAL_UNDER_REVIEW = "APPEAL_UNDER_REVIEW"
    OTHER = "OTHER"
    """One that Stripe has added since."""


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
_STATES: Final = {
    "needs_response": DisputeState.NEEDS_RESPONSE,
    "under_review": DisputeState.UNDER_REVIEW,
    "won": DisputeState.WON,
    "lost": DisputeState.LOST,
    "prevented": DisputeState.PREVENTED,
    "appeal_needs_response": DisputeState.APPEAL_NEEDS_RESPONSE,
    "appeal_under_review": DisputeState.APPEAL_UNDER_REVIEW,
    "warning_needs_response": DisputeState.NEEDS_RESPONSE,
    "warning_under_review": DisputeState.UNDER_REVIEW,
    "warning_closed": DisputeState.CLOSED,
}
AWAITING: Final = frozenset({DisputeState.NEEDS_RESPONSE, DisputeState.APPEAL_NEEDS_RESPONSE})
"""The bank waits for our answer."""
_INQUIRY: Final = "warning_"
RATE_PRECISION: Final = Decimal("0.0001")
"""Stripe shows five or six digits of a rate."""
WARNING_DAYS: Final = (7, 3, 1)
"""So many days before an answer is due an operator is told, once each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawal:
    """One balance transaction of a dispute: what it took of the platform's balance, or gave back."""

    balance_transaction_id: str
    amount_minor: int
    """Below zero it was taken, above zero given back."""
    fee_minor: int
    """What Stripe charged for it; below zero what it gave back of that."""
    currency_code: str
    """Of the balance, in which both amounts are."""
    create_time: datetime
    available_time: datetime
    exchange_rate: str = ""
    """Stripe's, from the dispute's currency to this one; empty where they are the same."""
    reporting_category: str = ""

    @property
    def unchanged(self) -> Decimal:
        """What was moved before it was exchanged, in units that are the same within one dispute."""
        return self.amount_minor / Decimal(self.exchange_rate or 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """One dispute or inquiry of a charge, as last seen."""

    dispute_id: str
    status: str
    standing: Standing
    amount_minor: int
    """Contested, in the payment's currency; it may be more or less than the charge."""
    currency_code: str
    """The payment's."""
    reason: str
    is_charge_refundable: bool
    charge_id: str = ""
    create_time: datetime
    network_reason_code: str = ""
    evidence_due_time: datetime | None = None
    """None where no evidence is taken."""
    has_evidence: bool = False
    submission_count: int = 0
    is_past_due: bool = False
    """What was handed in last came too late."""
    withdrawals: tuple[Withdrawal, ...] = ()
    """Its balance transactions, the oldest first."""
    # What follows is ours, and stays when Stripe shows the dispute again.
    evidence_actor_id: str = ""
    """Who gave evidence last; empty where nobody did here."""
    accept_actor_id: str = ""
    """Who gave it up; empty where nobody did here."""
    accept_time: datetime | None = None
    """When they asked for that."""
    warned_days: int = 0
    """How many days before it is due an operator was told last; 0 while nobody was."""
    parts: tuple[LineAmount, ...] = ()
    """What of it falls to each line, by all that is known of the payment; what is more than was left falls to none."""
    openings: int = 0
    """How often it was seen to begin: as an inquiry, as a dispute, again after a decision; 0 if it was seen over."""

    @property
    def state(self) -> DisputeState:
        """Its state, as the contract names it."""
        return _STATES.get(self.status, DisputeState.OTHER)

    @property
    def is_inquiry(self) -> bool:
        """Whether the bank only asks."""
        return self.status.startswith(_INQUIRY)

    @property
    def is_open(self) -> bool:
        """Whether it is not decided."""
        return self.standing in (Standing.OPEN, Standing.INQUIRY)

    @property
    def due_time(self) -> datetime | None:
        """Until when the bank waits for our answer; None where it waits for none."""
        return self.evidence_due_time if self.state in AWAITING else None

    @property
    def withdrawn_minor(self) -> int:
        """What was taken and not given back, in the payment's currency, by its balance transactions."""
        return max(0, -sum(self.moved_minor(one) for one in self.withdrawals))

    @property
    def withdraw_time(self) -> datetime:
        """When it took what is out now: what it takes once more after all was given back, it takes then."""
        time, out_minor = self.create_time, 0
        for one in self.withdrawals:
            if out_minor <= 0:
                time = one.create_time
            out_minor -= self.moved_minor(one)
        return time

    @property
    def lost_minor(self) -> int:
        """What is gone for good; nothing before it is taken."""
        return self.withdrawn_minor if self.standing is Standing.LOST else 0

    @property
    def counted_minor(self) -> int:
        """What it is counted with in the payment's amounts: all that is contested, unless a part came back of what was
        lost.
        """
        return self.lost_minor if self.standing is Standing.LOST and self.withdrawals else self.amount_minor

    @property
    def standing_of_money(self) -> Standing:
        """What it means for the money by its balance transactions: nothing before they take it, nor once it is back."""
        if not self.withdrawn_minor:
            return Standing.INQUIRY if self.is_open else Standing.CLOSED
        return Standing.LOST if self.standing is Standing.LOST else Standing.OPEN

    @property
    def is_settled(self) -> bool:
        """Whether it is decided, and its money has moved as that says."""
        if self.standing is Standing.LOST:
            return bool(self.withdrawals)
        return self.standing is Standing.CLOSED and self.withdrawn_minor == 0

    def next_warning_time(self) -> datetime | None:
        """Return when an operator is to be told that an answer is due; None when not any more."""
        due_time = self.due_time
        days = next((one for one in WARNING_DAYS if not self.warned_days or one < self.warned_days), None)
        return None if due_time is None or days is None else due_time - timedelta(days=days)

    def warned(self, now: datetime) -> Dispute:
        """Return it after an operator was told what is to be told by now."""
        due_time = self.due_time
        if due_time is None:
            return self
        days = [one for one in WARNING_DAYS if now >= due_time - timedelta(days=one)]
        return replace(self, warned_days=min(days)) if days else self

    def shown_again(self, known: Dispute | None) -> Dispute:
        """Return it, as Stripe showed it now, with what is ours of it; a new date is warned of anew."""
        if known is None:
            return replace(self, openings=1) if self.is_open else self
        begins = self.is_open and (not known.is_open or (known.is_inquiry and not self.is_inquiry))
        is_same_date = known.evidence_due_time == self.evidence_due_time
        return replace(
            self,
            evidence_actor_id=known.evidence_actor_id,
            accept_actor_id=known.accept_actor_id,
            accept_time=known.accept_time,
            warned_days=known.warned_days if is_same_date else 0,
            parts=known.parts,
            openings=known.openings + begins,
        )

    def attention(self) -> Attention | None:
        """Return what an operator has to know of it."""
        what = f"{self.dispute_id} over {written(self.amount_minor, self.currency_code)} ({self.reason})"
        due = f"; evidence is due by {self.evidence_due_time:%Y-%m-%d %H:%M} UTC" if self.evidence_due_time else ""
        if self.warned_days and self.due_time is not None:
            left = f"less than {self.warned_days} day{'s' if self.warned_days > 1 else ''}"
            return Attention(reason=AttentionReason.DISPUTE_DUE, detail=f"In {left}: dispute {what} is open{due}.")
        match self.standing:
            case Standing.OPEN:
                return Attention(reason=AttentionReason.DISPUTE_OPEN, detail=f"Dispute {what} is open{due}.")
            case Standing.INQUIRY:
                return Attention(reason=AttentionReason.INQUIRY_OPEN, detail=f"The payer's bank inquires: {what}{due}.")
            case Standing.LOST:
                return Attention(reason=AttentionReason.DISPUTE_LOST, detail=f"Dispute {what} was lost.")
        return None

    def moved_minor(self, moved: Withdrawal) -> int:
        """Return what a balance transaction moved in the payment's currency.

        What was exchanged is measured by the first withdrawal, which is of all that is contested: so no unit of a
        currency matters. What could be all of it, but for rounding and the digits that Stripe shows of a rate, is that.
        """
        if moved.currency_code == self.currency_code or not moved.amount_minor:
            return moved.amount_minor
        first = next((one for one in self.withdrawals if one.amount_minor < 0), moved)
        part = moved.unchanged / abs(first.unchanged)
        whole = Decimal(1 if part > 0 else -1)
        rounding = (1 / Decimal(abs(moved.amount_minor)) + 1 / Decimal(abs(first.amount_minor))) + RATE_PRECISION
        exact = whole if abs(part - whole) <= rounding + Decimal(1) / max(1, self.amount_minor) else part
        return int((exact * self.amount_minor).to_integral_value(ROUND_HALF_EVEN))


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
    return sum(dispute.counted_minor for dispute in disputes if dispute.standing == standing)


def table() -> str:
    """Return Stripe's states with ours and what they mean for the money, as Markdown."""
    lines = ["| at Stripe | `state` | for the money | our answer is waited for |", "| --- | --- | --- | --- |"]
    for status, state in _STATES.items():
        known = _STANDINGS.get(status)
        standing = f"`{known}`" if known is not None else f"`{Standing.LOST}` if it was taken, else `{Standing.CLOSED}`"
        inquiry = ", `inquiry`" if status.startswith(_INQUIRY) else ""
        lines.append(f"| `{status}` | `{state}`{inquiry} | {standing} | {'yes' if state in AWAITING else ''} |")
    lines.append(
        f"| any other | `{DisputeState.OTHER}` | `{Standing.OPEN}` if it was taken, else `{Standing.INQUIRY}` | |"
    )
    return "\n".join(lines) + "\n"
