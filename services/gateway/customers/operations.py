"""Payers as Stripe's customers: one each, made with the first payment. Here the id is kept, how the person is reached,
encrypted, and digests by which it is seen that their details are others than Stripe was told: then `changes` tells it.

What happens if the process dies:
- after the row was written: it says what is known of the person, and whoever comes next sends the same under the same
  key: Stripe makes one customer;
- after Stripe answered: the same, and Stripe repeats its answer;
- after a customer was forgotten: its row waits for another, which the next payment makes under the next key;
- before what is new of a person was written down (`changes`): nothing was done for the caller, who repeats the call.

Who goes on after a crash may know no more of a payer than the id. What their repeated caller names then is taken, too,
by the table and not by what this process remembers, which may be a customer from before.

The key is made of tenant, payer and generation, and of nothing that a lost commit could take with it. A customer holds
no money, so where Stripe will not say what became of one the next generation is made.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import ServiceError
from services.gateway.customers.changes import CustomerChanges
from services.gateway.customers.domain import changed, details_of, digests, dropped
from services.gateway.errors import StripeKeySpent, StripeRefused, StripeUnavailable
from services.gateway.personal.sealed import SealedDetails
from services.gateway.stripe_api import idempotency_keys
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.outcomes import Unanswered
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.rpc import call_context
from services.runtime.work.loops import detached
from services.shared.codec import Json

TRIES_MAX: Final = 6
"""Generations of one call: one for each optional detail, and some that Stripe knows from before a lost commit."""
KNOWN_MAX: Final = 10_000
"""Customers kept in memory, ~0.6 KB each; the one that was learned first goes first, and is read again."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """A customer, and what Stripe was told of the person."""

    customer_id: str
    told: Json
    is_pending: bool = False
    """Stripe is to be told of details that are written down, and may not have been."""


class Customers:
    """Finds or makes the customer of a payer."""

    def __init__(
        self,
        connections: DirectConnections,
        provider: Provider,
        changes: CustomerChanges,
        details: SealedDetails,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._connections = connections
        self._provider = provider
        self._changes = changes
        self._details = details
        self._now = now
        self._known: OrderedDict[tuple[str, str], _Known] = OrderedDict()
        self._telling: set[asyncio.Task[None]] = set()

    async def ensure(self, tenant_id: str, payer_id: str, *, email: str, name: str, locale: str) -> str:
        """Return the payer's customer id, making the customer when there is none.

        What was first known of the person is kept until Stripe has it: first payments at once, and whoever goes on
        after a crash and knows no more than the id, make the same one.
        """
        known = self._known.get((tenant_id, payer_id))
        details = details_of(payer_id, email=email, name=name, locale=locale)
        if known is None:
            known = await self._found_or_made(tenant_id, payer_id, details)
        if not await self._taken(tenant_id, payer_id, known, details):  # another process knows of another by now
            self._known.pop((tenant_id, payer_id), None)
            known = await self._found_or_made(tenant_id, payer_id, details)
            await self._taken(tenant_id, payer_id, known, details)
        return known.customer_id

    async def named_again(self, tenant_id: str, payer_id: str, *, email: str, name: str, locale: str) -> None:
        """Take what is said of a payer by a repeated caller, for whom somebody went on who knew no more than the id.

        Nothing happens where the payer has no customer: who was erased since is not made anew by a repeat.
        """
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(
                """SELECT customer_id, details, told FROM customers
                   WHERE tenant_id = $1 AND payer_id = $2 AND customer_id IS NOT NULL""",
                tenant_id,
                payer_id,
            )
        if row is not None:
            details = details_of(payer_id, email=email, name=name, locale=locale)
            await self._taken(tenant_id, payer_id, _known(row), details)

    async def _taken(self, tenant_id: str, payer_id: str, known: _Known, details: Json) -> bool:
        """Write down what is new of a payer, and have Stripe told; False if they have another customer, or none."""
        news = changed(tenant_id, payer_id, details, told=known.told)
        if news and not await self._changes.note(tenant_id, payer_id, known.customer_id, news):
            return False
        self._remember(tenant_id, payer_id, known, news)
        if news or known.is_pending:  # no payment waits for that
            task = detached(self._tell(tenant_id, payer_id, known.customer_id), name="customer_change")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)
        return True

    async def _found_or_made(self, tenant_id: str, payer_id: str, details: Json) -> _Known:
        refused: dict[str, str] = {}
        for _ in range(TRIES_MAX):
            made = await self._make(tenant_id, payer_id, details, refused)
            if made is not None:
                return made
        raise StripeKeySpent

    def _remember(self, tenant_id: str, payer_id: str, known: _Known, news: Json) -> None:
        """Keep a customer's id, which does not change until the customer is gone, and that Stripe says."""
        told = {**known.told, **digests(tenant_id, payer_id, news)}
        self._known[tenant_id, payer_id] = _Known(customer_id=known.customer_id, told=told)
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def _tell(self, tenant_id: str, payer_id: str, customer_id: str) -> None:
        """Tell Stripe what is new of the person. What could not be told is told with whatever is asked for next."""
        with call_context.acting_for(tenant_id):
            try:
                is_there = await self._changes.tell(tenant_id, payer_id, customer_id)
            except ServiceError as error:
                self._known.pop((tenant_id, payer_id), None)
                _logger.warning("what is new of a customer is not told yet: %s", error.reason)
                return
            if not is_there:
                await self.forget(tenant_id, payer_id, customer_id)

    def gone(self, tenant_id: str, payer_id: str, customer_id: str) -> None:
        """Have a customer no longer in memory that was erased."""
        known = self._known.get((tenant_id, payer_id))
        if known is not None and known.customer_id == customer_id:
            del self._known[tenant_id, payer_id]

    async def forget(self, tenant_id: str, payer_id: str, customer_id: str) -> None:
        """Forget a customer that is gone at Stripe; nothing happens when the payer has another by now."""
        self._known.pop((tenant_id, payer_id), None)
        async with self._connections.statement("customer.forget") as connection:
            await connection.execute(
                """UPDATE customers SET customer_id = NULL, generation = generation + 1, details = NULL, told = '{}',
                       contact = NULL, contact_read_time = NULL
                   WHERE tenant_id = $1 AND payer_id = $2 AND customer_id = $3""",
                tenant_id,
                payer_id,
                customer_id,
            )

    async def _make(self, tenant_id: str, payer_id: str, details: Json, refused: dict[str, str]) -> _Known | None:
        """Make the customer of the current generation; None when another generation has to be tried.

        The digests of what Stripe refuses are added to `refused`: it need not be told again.
        """
        sealed = await self._details.sealed(tenant_id, payer_id, details)
        async with self._connections.statement("customer.begin") as connection:
            row = await connection.fetchrow(
                """WITH known AS (
                       SELECT generation, details, customer_id, told FROM customers
                       WHERE tenant_id = $1 AND payer_id = $2 AND customer_id IS NOT NULL),
                   begun AS (
                       INSERT INTO customers AS c (tenant_id, payer_id, details, create_time)
                       SELECT $1, $2, $3, $4 WHERE NOT EXISTS (SELECT FROM known)
                       ON CONFLICT ON CONSTRAINT customers_pkey DO UPDATE
                       SET details = CASE WHEN c.customer_id IS NULL THEN coalesce(c.details, excluded.details)
                           ELSE c.details END
                       RETURNING generation, details, customer_id, told)
                   SELECT * FROM known UNION ALL SELECT * FROM begun""",
                tenant_id,
                payer_id,
                sealed,
                self._now(),
            )
        if row["customer_id"] is not None:
            return _known(row)
        generation, sent = int(row["generation"]), await self._details.opened(tenant_id, payer_id, row["details"])
        if sent is None:  # the payer was erased since they were written down
            await self._next(tenant_id, payer_id, generation, details=None)
            return None
        key = idempotency_keys.idempotency_key("customer.create", tenant_id, payer_id, generation)
        try:
            customer = await crash_points.call("customer.create.stripe", self._provider.customers.create(sent, key=key))
        except Unanswered as silence:
            if not silence.is_replay:
                raise StripeUnavailable from silence
            # A failure that Stripe has stored, or a customer from before a lost commit, made with other details.
            await self._next(tenant_id, payer_id, generation, details=sent)
            return None
        except StripeRefused as refusal:
            # Nothing was made, and under this key nothing ever will be.
            without = dropped(sent, str(refusal.metadata.get("param", "")))
            left = {name: value for name, value in sent.items() if name not in without}
            refused |= digests(tenant_id, payer_id, {name: sent[name] for name in without})
            await self._next(tenant_id, payer_id, generation, details=left if without else None)
            if not without:
                raise
            code = refusal.metadata.get("code")
            _logger.warning("a customer is made without %s, which Stripe does not take: %s", ", ".join(without), code)
            return None
        async with self._connections.statement("customer.create.record") as connection:
            recorded = await connection.fetchrow(
                """UPDATE customers SET customer_id = coalesce(customer_id, $4),
                       details = CASE WHEN customer_id IS NOT NULL THEN details END,
                       contact = CASE WHEN customer_id IS NOT NULL THEN contact ELSE details END,
                       told = CASE WHEN customer_id IS NOT NULL THEN told ELSE $5 END
                   WHERE tenant_id = $1 AND payer_id = $2 AND generation = $3 RETURNING customer_id, details, told""",
                tenant_id,
                payer_id,
                generation,
                customer["id"],
                json.dumps(digests(tenant_id, payer_id, sent) | refused),
            )
        return None if recorded is None else _known(recorded)  # gone again already: the next is made elsewhere

    async def _next(self, tenant_id: str, payer_id: str, generation: int, *, details: Json | None) -> None:
        """Let the next try use the next key; nothing happens when another try has done so.

        Without `details` the next try brings what is known of the person.
        """
        sealed = None if details is None else await self._details.sealed(tenant_id, payer_id, details)
        async with self._connections.statement("customer.next") as connection:
            await connection.execute(
                """UPDATE customers SET generation = generation + 1, details = $4
                   WHERE tenant_id = $1 AND payer_id = $2 AND generation = $3 AND customer_id IS NULL""",
                tenant_id,
                payer_id,
                generation,
                sealed,
            )


def _known(row: asyncpg.Record) -> _Known:
    return _Known(customer_id=row["customer_id"], told=json.loads(row["told"]), is_pending=row["details"] is not None)
