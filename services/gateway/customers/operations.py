"""Payers as Stripe's customers: one each, made with the first payment. Only the id is kept here.

What happens if the process dies:
- after the row was written: it says what is known of the person, and whoever comes next sends the same under the same
  key: Stripe makes one customer;
- after Stripe answered: the same, and Stripe repeats its answer;
- after a customer was forgotten: its row waits for another, which the next payment makes under the next key.

The key is made of tenant, payer and generation, and of nothing that a lost commit could take with it. A customer holds
no money, so where Stripe will not say what became of one the next generation is made.
"""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.gateway.errors import StripeKeySpent, StripeRefused, StripeUnavailable
from services.gateway.stripe_api import idempotency_keys
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.outcomes import Unanswered
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.shared.codec import Json

OPTIONAL: Final = ("email", "name", "preferred_locales")
"""What a customer is made without when Stripe does not take it: no payment waits for a person's details."""
TRIES_MAX: Final = 6
"""Generations of one call: one for each optional detail, and some that Stripe knows from before a lost commit."""
KNOWN_MAX: Final = 10_000
"""Customers' ids kept in memory, ~0.3 KB each; the one that was learned first goes first, and is read again."""

_logger = logging.getLogger(__name__)


class Customers:
    """Finds or makes the customer of a payer."""

    def __init__(self, connections: DirectConnections, provider: Provider, *, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._provider = provider
        self._now = now
        self._known: OrderedDict[tuple[str, str], str] = OrderedDict()

    async def ensure(self, tenant_id: str, payer_id: str, *, email: str, name: str, locale: str) -> str:
        """Return the payer's customer id, making the customer when there is none.

        What was first known of the person is kept until Stripe has it: first payments at once, and whoever goes on
        after a crash and knows no more than the id, make the same one.
        """
        known = self._known.get((tenant_id, payer_id))
        if known is not None:
            return known
        details = _details(payer_id, email=email, name=name, locale=locale)
        for _ in range(TRIES_MAX):
            made = await self._make(tenant_id, payer_id, details)
            if made is not None:
                self._remember(tenant_id, payer_id, made)
                return made
        raise StripeKeySpent

    def _remember(self, tenant_id: str, payer_id: str, customer_id: str) -> None:
        """Keep a customer's id, which does not change until the customer is gone, and that Stripe says."""
        self._known[tenant_id, payer_id] = customer_id
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def forget(self, tenant_id: str, payer_id: str, customer_id: str) -> None:
        """Forget a customer that is gone at Stripe; nothing happens when the payer has another by now."""
        self._known.pop((tenant_id, payer_id), None)
        async with self._connections.statement("customer.forget") as connection:
            await connection.execute(
                """UPDATE customers SET customer_id = NULL, generation = generation + 1
                   WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3""",
                tenant_id,
                payer_id,
                customer_id,
            )

    async def _make(self, tenant_id: str, payer_id: str, details: Json) -> str | None:
        """Make the customer of the current generation; None when another generation has to be tried."""
        async with self._connections.statement("customer.begin") as connection:
            row = await connection.fetchrow(
                """WITH known AS (
                       SELECT generation, details, customer_id FROM customers
                       WHERE tenant_id = $1 AND payer_id = $2 AND customer_id IS NOT NULL),
                   begun AS (
                       INSERT INTO customers AS c (tenant_id, payer_id, details, create_time)
                       SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM known)
                       ON CONFLICT ON CONSTRAINT customers_pkey DO UPDATE
                       SET details = CASE WHEN c.customer_id IS NULL THEN coalesce(c.details, excluded.details) END
                       RETURNING generation, details, customer_id)
                   SELECT * FROM known UNION ALL SELECT * FROM begun""",
                tenant_id,
                payer_id,
                json.dumps(details),
                self._now(),
            )
        if row["customer_id"] is not None:
            return str(row["customer_id"])
        generation, sent = int(row["generation"]), json.loads(row["details"])
        key = idempotency_keys.idempotency_key("customer.create", tenant_id, payer_id, generation)
        try:
            customer = await crash_points.call("customer.create.stripe", self._provider.create_customer(sent, key=key))
        except Unanswered as silence:
            if not silence.is_replay:
                raise StripeUnavailable from silence
            # A failure that Stripe has stored, or a customer from before a lost commit, made with other details.
            await self._next(tenant_id, payer_id, generation, details=sent)
            return None
        except StripeRefused as refusal:
            # Nothing was made, and under this key nothing ever will be.
            dropped = _dropped(sent, str(refusal.metadata.get("param", "")))
            left = {name: value for name, value in sent.items() if name not in dropped}
            await self._next(tenant_id, payer_id, generation, details=left if dropped else None)
            if not dropped:
                raise
            code = refusal.metadata.get("code")
            _logger.warning("a customer is made without %s, which Stripe does not take: %s", ", ".join(dropped), code)
            return None
        async with self._connections.statement("customer.create.record") as connection:
            recorded = await connection.fetchval(
                """UPDATE customers SET customer_id = coalesce(customer_id, $4), details = NULL
                   WHERE tenant_id = $1 AND payer_id = $2 AND generation = $3 RETURNING customer_id""",
                tenant_id,
                payer_id,
                generation,
                customer["id"],
            )
        return None if recorded is None else str(recorded)  # gone again already: the next generation is made elsewhere

    async def _next(self, tenant_id: str, payer_id: str, generation: int, *, details: Json | None) -> None:
        """Let the next try use the next key; nothing happens when another try has done so.

        Without `details` the next try brings what is known of the person.
        """
        async with self._connections.statement("customer.next") as connection:
            await connection.execute(
                """UPDATE customers SET generation = generation + 1, details = $4
                   WHERE tenant_id = $1 AND payer_id = $2 AND generation = $3 AND customer_id IS NULL""",
                tenant_id,
                payer_id,
                generation,
                None if details is None else json.dumps(details),
            )


def _details(payer_id: str, *, email: str, name: str, locale: str) -> Json:
    details: dict[str, object] = {"metadata": {"payer_id": payer_id}}
    if email:
        details["email"] = email
    if name:
        details["name"] = name
    if locale:
        details["preferred_locales"] = [locale]
    return details


def _dropped(sent: Json, param: str) -> list[str]:
    """Return what to leave out after a refusal: the detail that it names, or all of them if it names none."""
    given: list[str] = [name for name in OPTIONAL if name in sent]
    named = param.partition("[")[0]
    if not named:
        return given
    return [named] if named in given else []
