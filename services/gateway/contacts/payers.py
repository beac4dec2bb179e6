"""How payers are reached: by what was given with their payments, else by what Stripe has of their customers.

If the process dies after a customer was read, the next who asks reads it again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.gateway.contacts import statements
from services.gateway.contacts.domain import Contact, details_in, of_customer
from services.gateway.customers.operations import Customers
from services.gateway.personal.sealed import SealedDetails
from services.gateway.stripe_api.client import Provider
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.shared.codec import Json

READ_AGAIN_AFTER: Final = timedelta(minutes=5)
"""A customer without an address is read so often at most: who pays on a hosted page gives theirs there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kept:
    """What is kept of a payer."""

    customer_id: str | None
    details: Json
    """What is known of the person, what Stripe was not told yet over what it was."""
    sealed: bytes | None
    """What Stripe was told, or showed, as it is in the table."""
    read_time: datetime | None


class PayerContacts:
    """Finds how payers are reached. Raises `StripeUnavailable` where nothing is kept and Stripe is away."""

    def __init__(
        self,
        connections: DirectConnections,
        customers: Customers,
        provider: Provider,
        details: SealedDetails,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._connections = connections
        self._customers = customers
        self._provider = provider
        self._details = details
        self._now = now

    async def contact(self, tenant_id: str, payer_id: str) -> Contact | None:
        """Return how a payer is reached; None if nobody is known by that id, or who was is erased or gone at Stripe."""
        kept = await self._kept(tenant_id, payer_id)
        if kept is None or (kept.customer_id is None and not kept.details):
            return None
        found = of_customer(kept.details)
        if found.email or kept.customer_id is None or self._was_just_read(kept):
            return found
        return await self._read(tenant_id, payer_id, kept, kept.customer_id)

    def _was_just_read(self, kept: _Kept) -> bool:
        return kept.read_time is not None and self._now() - kept.read_time < READ_AGAIN_AFTER

    async def _kept(self, tenant_id: str, payer_id: str) -> _Kept | None:
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.KEPT, tenant_id, payer_id)
        if row is None:
            return None
        told = await self._details.opened(tenant_id, payer_id, row["contact"]) or {}
        newer = await self._details.opened(tenant_id, payer_id, row["details"]) or {}
        return _Kept(
            customer_id=row["customer_id"],
            details={**told, **newer},
            sealed=row["contact"],
            read_time=row["contact_read_time"],
        )

    async def _read(self, tenant_id: str, payer_id: str, kept: _Kept, customer_id: str) -> Contact | None:
        """Read the customer, and keep what it shows beside what was given."""
        shown = await crash_points.call("contact.read.stripe", self._provider.customers.find(customer_id))
        if shown is None:
            await self._customers.forget(tenant_id, payer_id, customer_id)
            return None
        details = {**details_in(shown), **kept.details}
        sealed = await self._details.sealed(tenant_id, payer_id, details)
        async with self._connections.statement("contact.keep") as connection:
            await connection.execute(
                statements.READ, tenant_id, payer_id, customer_id, sealed, self._now(), kept.sealed
            )
        return of_customer(details)
