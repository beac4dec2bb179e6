"""What is new of a person: written down before their caller goes on, and told to Stripe beside that, under the payer's
lease, so that older details do not come after newer ones.

What happens if the process dies:
- before the details are written down: nothing was done for their caller yet, who repeats the call and names them again;
- after that, also when Stripe has answered: they stand in the row, by which the person is reached, and whoever asks for
  the customer next tells them, with what is new by then, under the next key: to be told twice changes nothing;
- after it was recorded: nothing is left to do.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from typing import Final

from services.gateway.customers.domain import digests, dropped
from services.gateway.errors import StripeKeySpent, StripeRefused, StripeUnavailable
from services.gateway.payment_methods.store import MethodStore
from services.gateway.personal.sealed import SealedDetails
from services.gateway.stripe_api import idempotency_keys
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.outcomes import MISSING, Unanswered
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.database.lease import patience
from services.shared.codec import Json

NOTES_MAX: Final = 8
"""Tries to write something down while others do so for the same payer; each that fails let another through."""
TRIES_MAX: Final = 4
"""One with each of a person's details, and one without any."""
WAIT_MAX_S: Final = 10.0
"""For the payer's lease, which a call on a method may hold while Stripe works."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What Stripe is to be told, and which change of the customer that is."""

    tenant_id: str
    payer_id: str
    customer_id: str
    number: int
    details: Json
    sealed: bytes
    """The same, as it is in the table."""
    contact: Json
    """How the person is reached by what Stripe was told before."""

    @property
    def key(self) -> str:
        return idempotency_keys.idempotency_key(
            "customer.change", self.tenant_id, self.payer_id, self.customer_id, self.number
        )


class CustomerChanges:
    """Tells Stripe what is new of its customers."""

    def __init__(
        self, connections: DirectConnections, payers: MethodStore, provider: Provider, details: SealedDetails
    ) -> None:
        self._connections = connections
        self._payers = payers
        self._provider = provider
        self._details = details

    async def note(self, tenant_id: str, payer_id: str, customer_id: str, news: Json) -> bool:
        """Write down what is new, over what was not told before; False if the payer has another customer, or none."""
        for _ in range(NOTES_MAX):
            async with self._connections.statement(None) as connection:
                row = await connection.fetchrow(
                    "SELECT details FROM customers WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3",
                    tenant_id,
                    payer_id,
                    customer_id,
                )
            if row is None:
                return False
            before = await self._details.opened(tenant_id, payer_id, row["details"]) or {}
            details = {**before, **news}
            if details == before:
                return True
            sealed = await self._details.sealed(tenant_id, payer_id, details)
            async with self._connections.statement("customer.note") as connection:
                noted = await connection.fetchval(
                    """UPDATE customers SET details = $4
                       WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3 AND details IS NOT DISTINCT FROM $5
                       RETURNING true""",
                    tenant_id,
                    payer_id,
                    customer_id,
                    sealed,
                    row["details"],
                )
            if noted:
                return True
        raise StripeKeySpent

    async def tell(self, tenant_id: str, payer_id: str, customer_id: str) -> bool:
        """Tell what is written down; False if there is no such customer any more."""
        until = patience(wait_max_s=WAIT_MAX_S)
        payer = await self._payers.leases.acquire((tenant_id, payer_id), until=until)
        async with self._payers.leases.holding(payer):
            is_there = await self._tell(tenant_id, payer_id, customer_id)
            await self._payers.release(payer)
        return is_there

    async def _tell(self, tenant_id: str, payer_id: str, customer_id: str) -> bool:
        for _ in range(TRIES_MAX):
            change = await self._begin(tenant_id, payer_id, customer_id)
            if change is None:  # the payer has another customer by now, or nothing is left to be told
                return True
            try:
                await crash_points.call(
                    "customer.change.stripe",
                    self._provider.customers.update(customer_id, change.details, key=change.key),
                )
            except Unanswered as silence:
                raise StripeUnavailable from silence
            except StripeRefused as refusal:
                if refusal.metadata["code"] == MISSING:
                    return False
                without = dropped(change.details, refusal.metadata["param"]) or list(change.details)
                _logger.warning("Stripe does not take %s of a customer", ", ".join(without))
                await self._record(change, {name: change.details[name] for name in without}, is_told=False)
                continue
            await self._record(change, change.details, is_told=True)
            return True
        raise StripeKeySpent

    async def _begin(self, tenant_id: str, payer_id: str, customer_id: str) -> _Change | None:
        """Number the change, and return what is to be told; None where nothing is."""
        async with self._connections.statement("customer.change.start") as connection:
            row = await connection.fetchrow(
                """UPDATE customers SET changes = changes + 1
                   WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3 AND details IS NOT NULL
                   RETURNING changes, details, contact""",
                tenant_id,
                payer_id,
                customer_id,
            )
        details = None if row is None else await self._details.opened(tenant_id, payer_id, row["details"])
        if row is None or not details:
            return None
        return _Change(
            tenant_id=tenant_id,
            payer_id=payer_id,
            customer_id=customer_id,
            number=row["changes"],
            details=details,
            sealed=row["details"],
            contact=await self._details.opened(tenant_id, payer_id, row["contact"]) or {},
        )

    async def _record(self, change: _Change, settled: Json, *, is_told: bool) -> None:
        """Keep that nothing is left to tell of these details: Stripe has them, or does not take them.

        Nothing is kept where something new was written down meanwhile: then all of it is told once more.
        """
        left = {name: value for name, value in change.details.items() if name not in settled}
        contact = {**change.contact, **(settled if is_told else {})}
        sealed = await self._details.sealed(change.tenant_id, change.payer_id, left) if left else None
        sealed_contact = await self._details.sealed(change.tenant_id, change.payer_id, contact)
        async with self._connections.statement("customer.change.record") as connection:
            await connection.execute(
                """UPDATE customers SET told = told || $5::jsonb, details = $6, contact = $7
                   WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3 AND changes = $4 AND details = $8""",
                change.tenant_id,
                change.payer_id,
                change.customer_id,
                change.number,
                json.dumps(digests(change.tenant_id, change.payer_id, settled)),
                sealed,
                sealed_contact,
                change.sealed,
            )
