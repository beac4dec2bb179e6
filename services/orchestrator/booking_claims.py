"""One open payment per booking: each booking is claimed before the payment is written down.

What happens if the process dies:
- after the claim, before the payment is written: the claim names a payment that is not there. A repeat of the start
  makes it; after `ORPHANED_AFTER` another start may have the booking.
- after the payment is written: whoever carries the start on makes sure first that the claims are still its own
  (`check_held`), since it may have been slower than that. So of two payments that both were written at most one goes
  on to an intent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from services.errors import RequestInProgress
from services.orchestrator.domain.booking_claim import Claim, is_orphan, may_be_taken
from services.orchestrator.domain.errors import BookingHasPayment
from services.orchestrator.domain.plan import Plan
from services.orchestrator.storage.booking_claims import BookingClaimStore

ROUNDS_MAX: Final = 4
"""Of one claim: each ended payment that had some of the bookings takes one, and what others claim meanwhile."""


class BookingClaims:
    """Claims bookings for payments."""

    def __init__(self, store: BookingClaimStore, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    async def claim(self, tenant_id: str, payment_id: str, booking_ids: Sequence[str]) -> None:
        """Claim all of the bookings, each named once, or none.

        Raises `BookingHasPayment` for one that another payment has.
        """
        for _ in range(ROUNDS_MAX):
            claims = await self._store.claim(tenant_id, booking_ids, payment_id=payment_id, now=self._now())
            others = [claim for claim in claims if claim.payment_id != payment_id]
            if not others and len(claims) == len(booking_ids):
                return
            for claim in others:
                if not await self._took_over(tenant_id, claim, payment_id):
                    raise BookingHasPayment(payment_id=claim.payment_id, booking_id=claim.booking_id)
        raise RequestInProgress  # others want the same bookings at this moment; the same call may be sent again

    async def _took_over(self, tenant_id: str, claim: Claim, payment_id: str) -> bool:
        """Take a booking from a payment that has ended, or that was never written. False if it goes on."""
        now = self._now()
        claimant = await self._store.claimant(tenant_id, claim.payment_id)
        if not may_be_taken(claim, claimant, now=now):
            return False
        if not await self._store.take_over(tenant_id, claim, payment_id=payment_id, now=now):
            return True  # somebody else did; the next round says who has it
        if not is_orphan(claim, claimant):
            return True
        if not is_orphan(claim, await self._store.claimant(tenant_id, claim.payment_id)):
            # It was written in the same moment, and may have found its claim in place: it goes on, and this one not.
            taken = Claim(booking_id=claim.booking_id, payment_id=payment_id, claim_time=now)
            await self._store.take_over(tenant_id, taken, payment_id=claim.payment_id, now=claim.claim_time)
            return False
        return True

    async def check_held(self, plan: Plan) -> None:
        """Raise `BookingHasPayment` if a payment's bookings are not all its own any more."""
        if not plan.booking_ids:
            return
        for claim in await self._store.claims(plan.tenant_id, plan.booking_ids):
            if claim.payment_id != plan.payment_id:
                raise BookingHasPayment(payment_id=claim.payment_id, booking_id=claim.booking_id)
