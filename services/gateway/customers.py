"""Payers as Stripe's customers: one each, made with the first payment. Only the id is kept here."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any

from services.gateway.domain import StripeKeySpent, StripeRefused, StripeUnavailable
from services.gateway.provider import Provider, Unanswered
from services.runtime import points
from services.runtime.database import HeldConnections


class Customers:
    """Finds or makes the customer of a payer."""

    def __init__(self, held: HeldConnections, provider: Provider, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._provider = provider
        self._now = now

    async def ensure(self, tenant_id: str, payer_id: str, *, email: str, name: str, locale: str) -> str:
        """Return the payer's customer id, making the customer when there is none.

        The key is of the payer's row, and what was first known of the person is kept there until Stripe has it: first
        payments at once, and whoever goes on after a crash and knows no more than the id, make the same one.
        """
        details = _details(payer_id, email=email, name=name, locale=locale)
        async with self._held.statement("customer.begin") as connection:
            row = await connection.fetchrow(
                """WITH made AS (
                       INSERT INTO customers (tenant_id, payer_id, call_id, details, create_time)
                       VALUES ($1, $2, $3, $4, $5)
                       ON CONFLICT ON CONSTRAINT customers_pkey DO NOTHING RETURNING call_id, details, customer_id)
                   SELECT * FROM made UNION ALL
                   SELECT call_id, details, customer_id FROM customers WHERE tenant_id = $1 AND payer_id = $2
                   LIMIT 1""",
                tenant_id,
                payer_id,
                uuid.uuid4(),
                json.dumps(details),
                self._now(),
            )
        if row is None:  # made by another call between our insert and our look
            return await self.ensure(tenant_id, payer_id, email=email, name=name, locale=locale)
        if row["customer_id"] is not None:
            return str(row["customer_id"])
        try:
            customer = await points.call(
                "customer.create.stripe",
                self._provider.create_customer(json.loads(row["details"]), key=f"customer.create:{row['call_id']}"),
            )
        except Unanswered as silence:
            if silence.is_replay:
                await self._new_key(tenant_id, payer_id, row["call_id"])
                raise StripeKeySpent from silence
            raise StripeUnavailable from silence
        except StripeRefused:
            # Nothing was made; what Stripe does not take must not stand in the way of the next try.
            await self._forget(tenant_id, payer_id, row["call_id"])
            raise
        async with self._held.statement("customer.create.record") as connection:
            return str(
                await connection.fetchval(
                    """UPDATE customers SET customer_id = coalesce(customer_id, $3), details = NULL
                       WHERE tenant_id = $1 AND payer_id = $2 RETURNING customer_id""",
                    tenant_id,
                    payer_id,
                    customer["id"],
                )
            )

    async def _new_key(self, tenant_id: str, payer_id: str, call_id: uuid.UUID) -> None:
        """Let the next try use another key, since Stripe stored a failure under this one. A customer holds no money."""
        async with self._held.statement("customer.key") as connection:
            await connection.execute(
                "UPDATE customers SET call_id = $4 WHERE tenant_id = $1 AND payer_id = $2 AND call_id = $3",
                tenant_id,
                payer_id,
                call_id,
                uuid.uuid4(),
            )

    async def _forget(self, tenant_id: str, payer_id: str, call_id: uuid.UUID) -> None:
        async with self._held.statement("customer.refused") as connection:
            await connection.execute(
                """DELETE FROM customers
                   WHERE tenant_id = $1 AND payer_id = $2 AND call_id = $3 AND customer_id IS NULL""",
                tenant_id,
                payer_id,
                call_id,
            )


def _details(payer_id: str, *, email: str, name: str, locale: str) -> dict[str, Any]:
    details: dict[str, Any] = {"metadata": {"payer_id": payer_id}}
    if email:
        details["email"] = email
    if name:
        details["name"] = name
    if locale:
        details["preferred_locales"] = [locale]
    return details
