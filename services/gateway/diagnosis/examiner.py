"""Examines payments: reads what is kept of them, Stripe where that is asked for, and says where they disagree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.gateway.diagnosis import at_stripe, comparing
from services.gateway.diagnosis.records import AtStripe, Records
from services.gateway.diagnosis.sides import sides
from services.gateway.diagnosis.store import RecordStore
from services.gateway.diagnosis.stripe_side import StripeSide
from services.shared.diagnosis import Disagreement, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What is known of one payment, and where it disagrees."""

    records: Records
    sides: tuple[Side, ...]
    disagreements: tuple[Disagreement, ...]


class Examiner:
    """Looks, and changes nothing."""

    def __init__(self, store: RecordStore, stripe: StripeSide, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._stripe = stripe
        self._now = now

    async def examine(
        self, tenant_id: str, payment_ids: Sequence[str], *, with_stripe: bool = False
    ) -> list[Examination]:
        """Return what is known of payments, in their order; without those that are not known."""
        known = await self._store.read(tenant_id, payment_ids)
        found = [known[one] for one in dict.fromkeys(payment_ids) if one in known]
        return [
            self._examined(records, await self._stripe.read(records.payment) if with_stripe else None)
            for records in found
        ]

    async def booked(self, tenant_id: str, *, since: datetime, until: datetime, after: str, at_most: int) -> list[str]:
        """Return the payments of which something was booked in a span, in the order of their ids."""
        return await self._store.booked(tenant_id, since=since, until=until, after=after, at_most=at_most)

    def _examined(self, records: Records, stripe: AtStripe | None) -> Examination:
        now = self._now()
        found = comparing.disagreements(records, now=now)
        if stripe is not None and not stripe.problem:
            found += at_stripe.disagreements(records, stripe, now=now)
        return Examination(records=records, sides=sides(records, stripe), disagreements=found)
