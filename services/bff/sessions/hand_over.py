"""One-time codes: the platform's back end gets one for a payer and a payment, and the payer's browser brings it.

Where the payer is asked first whether they mean it, the form that asks has a code of its own in place of the address's.

A code is worth a session, so it lives a minute, is used by being deleted, and is nowhere kept but as its hash.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from asyncpg import Connection, Record

from services.runtime.database.connections import DirectConnections
from services.web.sessions.domain import key_of, new_id

LIFE: Final = timedelta(seconds=60)
"""From the back end's answer over a redirect to the browser's request."""
ASKED_LIFE: Final = timedelta(minutes=10)
"""Of the code in a form that asks: a person reads it first."""
CODE_CHARACTERS_MAX: Final = 64
"""More than any code of ours has."""
FORGOTTEN_WITH_EACH: Final = 10
"""Codes that nobody brought and that are over: more go with each new one than come."""
_ADD: Final = """
INSERT INTO hand_over_codes (key, tenant_id, payer_id, payment_id, locale, expire_time)
VALUES ($1, $2, $3, $4, $5, $6)
"""
_FORGET: Final = """
DELETE FROM hand_over_codes
WHERE key IN (SELECT key FROM hand_over_codes WHERE expire_time < $1 ORDER BY expire_time LIMIT $2)
"""
_TAKE: Final = """
DELETE FROM hand_over_codes WHERE key = $1 RETURNING tenant_id, payer_id, payment_id, locale, expire_time
"""
_LOOK: Final = """
SELECT tenant_id, payer_id, payment_id, locale, expire_time FROM hand_over_codes WHERE key = $1
"""
_ASK: Final = "UPDATE hand_over_codes SET key = $2, expire_time = $3 WHERE key = $1 RETURNING key"
_REVOKE: Final = "DELETE FROM hand_over_codes WHERE tenant_id = $1 AND payer_id = $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Whom a code is for."""

    tenant_id: str
    payer_id: str
    payment_id: str
    locale: str
    expire_time: datetime


class HandOvers:
    """Makes codes, and takes each once."""

    def __init__(self, held: DirectConnections, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._now = now

    async def make(self, *, tenant_id: str, payer_id: str, payment_id: str, locale: str) -> tuple[str, datetime]:
        """Return a new code, and until when it may be brought."""
        now, code = self._now(), new_id()
        async with self._held.transaction("bff.hand_over.make") as connection:
            await connection.execute(_FORGET, now, FORGOTTEN_WITH_EACH)
            await connection.execute(_ADD, key_of(code), tenant_id, payer_id, payment_id, locale, now + LIFE)
        return code, now + LIFE

    async def look(self, code: str) -> HandOver | None:
        """Return whom the code of an address is for, which stays good; None if there is none, or it is too late."""
        if not code or len(code) > CODE_CHARACTERS_MAX:
            return None
        async with self._held.statement(None) as connection:
            return self._living(await connection.fetchrow(_LOOK, key_of(code)))

    async def ask(self, code: str) -> str | None:
        """Return the code of a form in place of an address's, which is used by that; None if it was meanwhile."""
        asked = new_id()
        async with self._held.statement("bff.hand_over.ask") as connection:
            row = await connection.fetchrow(_ASK, key_of(code), _key(asked, is_asked=True), self._now() + ASKED_LIFE)
        return None if row is None else asked

    async def take_in(self, connection: Connection, code: str, *, is_asked: bool) -> HandOver | None:
        """Return whom a code is for, once; None if there is none, or it is too late.

        The code of a form that asked is no good in an address, nor the other way round. Whoever makes the payer's codes
        useless waits for the transaction, and so finds the session that it opens.
        """
        if not code or len(code) > CODE_CHARACTERS_MAX:
            return None
        return self._living(await connection.fetchrow(_TAKE, _key(code, is_asked=is_asked)))

    async def revoke(self, *, tenant_id: str, payer_id: str) -> None:
        """Make all codes of a payer useless."""
        async with self._held.statement("bff.hand_over.revoke") as connection:
            await connection.execute(_REVOKE, tenant_id, payer_id)

    def _living(self, row: Record | None) -> HandOver | None:
        found = None if row is None else HandOver(**dict(row))
        return None if found is None or self._now() >= found.expire_time else found


def _key(code: str, *, is_asked: bool) -> bytes:
    return key_of(f"asked:{code}" if is_asked else code)
