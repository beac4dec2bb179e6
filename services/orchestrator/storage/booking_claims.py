"""Which payment has a booking: a row for each, keyed by the booking alone, written before the payment is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from services.orchestrator.domain.booking_claim import Claim, Claimant
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import Stage
from services.runtime.database.connections import DirectConnections


class BookingClaimStore:
    """Reads and writes the claims, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def claim(self, tenant_id: str, booking_ids: Sequence[str], *, payment_id: str, now: datetime) -> list[Claim]:
        """Claim all of the bookings for a payment, or none if another has one; return who has them now."""
        async with self._held.statement("booking.claim") as connection:
            found = await connection.fetch(CLAIM, tenant_id, sorted(booking_ids), payment_id, now)
        return [Claim(**row) for row in found]

    async def take_over(self, tenant_id: str, claim: Claim, *, payment_id: str, now: datetime) -> bool:
        """Give a booking from the payment that had it to another; False if it is not that payment's any more."""
        async with self._held.statement("booking.take") as connection:
            status = await connection.execute(
                TAKE_OVER, tenant_id, claim.booking_id, claim.payment_id, claim.claim_time, payment_id, now
            )
        return bool(status == "UPDATE 1")

    async def claims(self, tenant_id: str, booking_ids: Sequence[str]) -> list[Claim]:
        """Return the claims on these bookings."""
        async with self._held.statement(None) as connection:
            found = await connection.fetch(CLAIMS, tenant_id, list(booking_ids))
        return [Claim(**row) for row in found]

    async def claimant(self, tenant_id: str, payment_id: str) -> Claimant | None:
        """Return a payment that has a claim; None if it was never written."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(CLAIMANT, tenant_id, payment_id)
        if row is None:
            return None
        return Claimant(
            payer_id=row["payer_id"],
            booking_ids=tuple(row["booking_ids"]),
            quote_request=row["quote_request"],
            stage=Stage(row["stage"]),
            latest_snapshot=Snapshot.from_json(json.loads(row["latest_snapshot"])),
        )


CLAIM: Final = "SELECT booking_id, payment_id, claim_time FROM claim_bookings($1, $2, $3, $4)"

TAKE_OVER: Final = """
UPDATE booking_claims SET payment_id = $5, claim_time = $6
WHERE tenant_id = $1 AND booking_id = $2 AND payment_id = $3 AND claim_time = $4"""

CLAIMS: Final = """
SELECT booking_id, payment_id, claim_time FROM booking_claims
WHERE tenant_id = $1 AND booking_id = ANY($2::text[]) ORDER BY booking_id"""

CLAIMANT: Final = """
SELECT payer_id, booking_ids, quote_request, stage, latest_snapshot FROM payments
WHERE tenant_id = $1 AND payment_id = $2"""
