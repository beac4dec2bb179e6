"""Who a booking is claimed by, and whether another payment may have it. Pure.

A claim holds while its payment is open, or while money of it is there. It is not taken back: it ends with its payment,
which is looked at when another payment wants the booking.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.domain.payment import ENDED_WITHOUT_MONEY, Snapshot
from services.orchestrator.domain.plan import Stage

ORPHANED_AFTER: Final = timedelta(seconds=30)
"""How old a claim is whose payment was never written with the booking, before another may have it. The payment is
written right after the claim, by a statement that has 5 s; whoever is slower finds the claim gone, and is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A booking, and the payment that has it."""

    booking_id: str
    payment_id: str
    claim_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimant:
    """A payment that has a booking, as far as that tells whether it still has it."""

    payer_id: str
    booking_ids: tuple[str, ...]
    quote_request: bytes
    stage: Stage
    latest_snapshot: Snapshot

    @property
    def has_ended(self) -> bool:
        """Whether it came to its end without money, or all of its money went back."""
        if self.stage is Stage.REFUSED:
            return True
        latest, amounts = self.latest_snapshot, self.latest_snapshot.amounts
        if self.stage is not Stage.ENDED or amounts.surplus_minor or amounts.disputed_open_minor:
            return False
        is_given_back = 0 < amounts.captured_minor == amounts.refunded_minor and amounts.capturable_minor == 0
        return is_given_back or (latest.collection in ENDED_WITHOUT_MONEY and amounts.captured_minor == 0)


def may_be_taken(claim: Claim, claimant: Claimant | None, *, now: datetime) -> bool:
    """Whether another payment may have the booking."""
    if claimant is None or is_orphan(claim, claimant):
        return now - claim.claim_time > ORPHANED_AFTER
    return claimant.has_ended


def is_orphan(claim: Claim, claimant: Claimant | None) -> bool:
    """Whether the payment that has the claim was not written with the booking, or not yet."""
    return claimant is None or claim.booking_id not in claimant.booking_ids
