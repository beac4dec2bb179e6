"""The raw bodies of events at rest: under their payer's key, or the day's while the payer is not known.

The acknowledgement waits for no key: what is not in memory is not looked up, and the day's key is used instead. Such a
body is put under the payer's key when it was worked on; one that never is goes with the day's key, or with an erasure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from services.gateway.personal.keys import PersonalKeys, holder_of
from services.gateway.webhooks import statements
from services.gateway.webhooks.events import Event
from services.runtime.database.connections import DirectConnections
from services.runtime.process.key_ring import Unreadable

FIELD = "events.body"
"""What a text is bound to, beside its event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sealed:
    """A body as it is stored."""

    body: bytes
    holder: str
    payer_id: str | None
    """Whose personal data it may have; None where that is not known in memory."""


class Bodies:
    """Encrypts and decrypts bodies."""

    def __init__(self, connections: DirectConnections, keys: PersonalKeys) -> None:
        self._connections = connections
        self._keys = keys

    async def sealed(self, tenant_id: str, event: Event, body: bytes, *, payer_id: str | None) -> Sealed:
        """Return a body encrypted, under the payer's key if that is in memory."""
        holder = holder_of(payer_id) if payer_id is not None else ""
        key = self._keys.known(tenant_id, holder) if holder else None
        if key is None:
            holder, key = await self._keys.of_day(tenant_id)
        encrypted = key.encrypt(body, tenant_id, holder, FIELD, event.event_id)
        return Sealed(body=encrypted, holder=holder, payer_id=payer_id)

    async def opened(self, tenant_id: str, row: asyncpg.Record) -> bytes | None:
        """Return the body of an event's row; None where nobody can read it any more."""
        try:
            return await self._keys.decrypt(tenant_id, row["holder"], row["body"], FIELD, row["event_id"])
        except Unreadable:
            return None

    async def rekey(self, tenant_id: str, subject: str, held: Sequence[asyncpg.Record]) -> None:
        """Put the bodies of a subject's events that are under a day's key under the key of their payer, if he is known.

        If the process dies before, they go with the day's key, and with an erasure of the payer.
        """
        opened = {row["event_id"]: await self.opened(tenant_id, row) for row in held if row["body"]}
        bodies = {event_id: body for event_id, body in opened.items() if body is not None}
        if not bodies:
            return
        async with self._connections.statement(None) as connection:
            payer_id = await connection.fetchval(statements.PAYER_OF, tenant_id, next(iter(bodies)), subject)
        if payer_id is None:
            return
        holder = holder_of(payer_id)
        key = self._keys.known(tenant_id, holder) or await self._keys.of(tenant_id, holder, point="webhook.key")
        anew = [key.encrypt(body, tenant_id, holder, FIELD, event_id) for event_id, body in bodies.items()]
        async with self._connections.statement("webhook.rekey") as connection:
            await connection.execute(statements.REKEY, tenant_id, list(bodies), anew, holder, payer_id)
