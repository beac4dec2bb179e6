"""Tables of payers and the methods they keep; and the calls on them. One statement per method.

Only whoever holds a payer's lease writes it; `save` writes nothing under an older fence and says so. A payer's row is
that of the customer at Stripe, which `customers` makes.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

import asyncpg

from services.gateway.call_log import store as call_rows
from services.gateway.call_log.call import StoredCall
from services.gateway.call_log.operation import Accepted, SubjectStore
from services.gateway.errors import PaymentMethodNotFound
from services.gateway.payment_methods import statements
from services.gateway.payment_methods.domain import KeptMethod, MethodState, PayerMethods, SetupIntent
from services.runtime.database.connections import DirectConnections
from services.runtime.database.lease import LEASE, LeaseLost, Leases
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.shared import codec

NEEDING_MAX: Final = 10
"""Payments that are named to a caller: as many as a person looks through."""


class MethodStore(SubjectStore[PayerMethods]):
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, *, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock
        self.leases: Leases[PayerMethods] = Leases(self, key_of=lambda held: (held.tenant_id, held.payer_id))

    async def begin(self, payer: PayerMethods, *, now: datetime) -> None:
        """Make a payer known, unless it is."""
        async with self._connections.statement("method.begin") as connection:
            await connection.execute(statements.BEGIN, payer.tenant_id, payer.payer_id, now)

    async def accept(self, call: StoredCall, *, now: datetime) -> Accepted[PayerMethods]:
        """Write a call down, or take one up again that was discarded, and take its payer if that is free.

        Raises PaymentMethodNotFound if there is no such payer.
        """
        async with self._connections.statement("method.accept") as connection:
            row = await connection.fetchrow(
                statements.ACCEPT, call.tenant_id, call.call_id, call.operation, call.request_id, call.request_hash,
                call.subject_id, json.dumps(call.params), now, self._clock.shift, LEASE, call_context.origin(),
            )  # fmt: skip
        if not row["found"]:
            raise PaymentMethodNotFound
        accepted = None
        if row["call_create_time"] is not None:
            accepted = replace(
                call,
                create_time=row["call_create_time"],
                generation=row["call_generation"],
                key_time=row["call_key_time"],
            )
        return Accepted(call=accepted, subject=self._payer(row) if row["payer_id"] is not None else None)

    async def take(self, tenant_id: str, payer_id: str) -> PayerMethods | None:
        """Take a payer's lease; None while another holds it, or if there is no such payer."""
        async with self._connections.statement("method.take") as connection:
            row = await connection.fetchrow(statements.TAKE, tenant_id, payer_id, self._clock.shift, LEASE)
        return self._payer(row) if row is not None else None

    async def read(self, tenant_id: str, payer_id: str) -> PayerMethods | None:
        """Return a payer's methods without holding them; None of one who is not known here."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.READ, tenant_id, payer_id)
        return self._payer(row) if row is not None else None

    async def require(self, tenant_id: str, payer_id: str) -> PayerMethods:
        """Return a payer's methods without holding them. Raises PaymentMethodNotFound if there is no such payer."""
        payer = await self.read(tenant_id, payer_id)
        if payer is None:
            raise PaymentMethodNotFound
        return payer

    async def renew(self, payer: PayerMethods) -> bool:
        """Hold the payer for another `LEASE`; False if it was released, or is another's by now."""
        async with self._connections.statement("method.renew") as connection:
            renewed = await connection.fetchval(
                statements.RENEW, payer.tenant_id, payer.payer_id, payer.fence, self._clock.shift, LEASE
            )
        return bool(renewed)

    async def release(self, payer: PayerMethods, error: BaseException | None = None) -> None:
        """Release a payer as it was last saved; nothing happens when it is another's by now."""
        async with self._connections.statement("method.release") as connection:
            await connection.execute(
                statements.RELEASE, payer.tenant_id, payer.payer_id, payer.fence, self._clock.shift
            )

    async def save(
        self,
        payer: PayerMethods,
        *,
        point: str,
        now: datetime,
        call: StoredCall | None = None,
        release: bool = False,
        deliver: str | None = None,
    ) -> None:
        """Write what changed of a payer's methods, and a call's state; with `release` also release the payer.

        Raises `LeaseLost` and writes nothing when the payer is another's by now, and when a payment came to need one of
        the methods that are about to be detached: whoever goes on looks again, and sees that.
        """
        written = call_rows.arguments(call, now=now)
        async with self._connections.statement(point) as connection:
            saved = await connection.fetchval(
                statements.SAVE, payer.tenant_id, payer.payer_id, payer.fence, payer.default_id, payer.read_time,
                json.dumps(_methods(payer)), json.dumps(_consents(payer)), _going(payer), release, self._clock.shift,
                *written.started, written.answer, written.tries, json.dumps(_setups(payer)), written.send_time,
            )  # fmt: skip
        if not saved:
            await self.release(payer)
            raise LeaseLost
        payer.mark_saved()

    async def owner(self, tenant_id: str, method_id: str) -> tuple[str, MethodState] | None:
        """Return whose a method is or was, and how it stands; None if it is not known here."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.OWNER, tenant_id, method_id)
        return (row["payer_id"], MethodState(row["state"])) if row is not None else None

    async def check_belongs(self, tenant_id: str, payer_id: str, method_id: str) -> None:
        """Raise PaymentMethodNotFound for a method that is known to be another payer's, or to be gone.

        One that is not known here may be the payer's: Stripe decides.
        """
        owner = await self.owner(tenant_id, method_id)
        if owner is not None and owner != (payer_id, MethodState.KEPT):
            raise PaymentMethodNotFound(field="payment_method_id")

    async def payer_of(self, tenant_id: str, *, method_id: str, customer_id: str) -> str | None:
        """Return the payer of a method, or whose customer this is."""
        async with self._connections.statement(None) as connection:
            found: str | None = await connection.fetchval(statements.PAYER_OF, tenant_id, method_id, customer_id)
        return found

    async def setup(self, tenant_id: str, setup_intent_id: str) -> tuple[str, SetupIntent] | None:
        """Return whose a setup intent is, and how it was last seen; None of one that is not known here."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(statements.SETUP, tenant_id, setup_intent_id)
        return (row["payer_id"], codec.from_json(SetupIntent, json.loads(row["mirrored"]))) if row is not None else None

    async def needing(self, tenant_id: str, method_ids: Sequence[str]) -> list[str]:
        """Return the payments that need one of these methods, at most `NEEDING_MAX`."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(statements.NEEDING, tenant_id, list(method_ids), NEEDING_MAX)
        return [row["payment_id"] for row in rows]

    def _payer(self, row: asyncpg.Record) -> PayerMethods:
        held = json.loads(row["held_methods"])
        customer_id = row["customer_id"] or ""
        methods = [codec.from_json(KeptMethod, kept) for kept in held["methods"]]
        unread_time = held["unread_time"]
        payer = PayerMethods(
            tenant_id=row["tenant_id"],
            payer_id=row["payer_id"],
            customer_id=customer_id,
            fence=row["fence"],
            methods={one.method_id: one for one in methods},
            default_id=row["default_method_id"] or "",
            read_time=row["read_time"],
            unread_time=datetime.fromisoformat(unread_time) if unread_time else None,
            open_calls=[(operation, uuid.UUID(request_id)) for operation, request_id in held["open_calls"]],
        )
        payer.mark_saved()
        payer.forget_strangers(now=self._clock.now())
        return payer


def _changed(payer: PayerMethods) -> list[KeptMethod]:
    return [one for method_id, one in payer.methods.items() if payer.written.get(method_id) != one]


def _methods(payer: PayerMethods) -> list[dict[str, object]]:
    return [
        {
            "payment_method_id": one.method_id,
            "state": one.state,
            "mirrored": codec.to_json(replace(one, consent=None)),
            "keep_time": one.keep_time.isoformat(),
            "detach_time": one.detach_time.isoformat() if one.detach_time else None,
        }
        for one in _changed(payer)
    ]


def _consents(payer: PayerMethods) -> list[dict[str, object]]:
    return [
        {
            "payment_method_id": one.method_id,
            "actor_id": one.consent.actor_id,
            "consent_time": one.consent.consent_time.isoformat(),
        }
        for one in _changed(payer)
        if one.consent is not None
    ]


def _setups(payer: PayerMethods) -> list[dict[str, object]]:
    return [
        {
            "setup_intent_id": one.setup_intent_id,
            "mirrored": codec.to_json(one),
            "create_time": one.consent.consent_time.isoformat(),
        }
        for one in payer.setups.values()
    ]


def _going(payer: PayerMethods) -> list[str]:
    """Return the methods that are about to be detached, and were not before."""
    return [
        one.method_id
        for one in _changed(payer)
        if one.state is MethodState.DETACHING and _was(payer, one) is not MethodState.DETACHING
    ]


def _was(payer: PayerMethods, one: KeptMethod) -> MethodState | None:
    known = payer.written.get(one.method_id)
    return known.state if known is not None else None
