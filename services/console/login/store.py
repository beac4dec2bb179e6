"""The log-ins under way, in the front's own database; each is taken out by who uses it, and so used once."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from services.console.login.domain import LOGIN_LIFE, Login, key_of
from services.runtime.database.connections import DirectConnections

FORGOTTEN_AT_ONCE: Final = 20
"""Old ones that a new one takes out: more than it adds, so that they do not pile up."""
_PUT: Final = """
INSERT INTO logins (key, nonce, verifier, goes_to, is_proof, begin_time, expire_time)
VALUES ($1, $2, $3, $4, $5, $6, $7)
"""
_TAKE: Final = "DELETE FROM logins WHERE key = $1 RETURNING nonce, verifier, goes_to, is_proof, begin_time, expire_time"
_FORGET: Final = """
DELETE FROM logins
WHERE key IN (SELECT key FROM logins WHERE expire_time < $1 ORDER BY expire_time LIMIT $2 FOR UPDATE SKIP LOCKED)
"""


class LoginStore:
    """Keeps log-ins until their person comes back."""

    def __init__(self, held: DirectConnections, *, now: Callable[[], datetime]) -> None:
        self._held = held
        self._now = now

    async def put(self, login: Login) -> None:
        """Keep one, and forget some that nobody came back for."""
        expire_time = login.begin_time + LOGIN_LIFE
        async with self._held.transaction("web.login.put") as connection:
            await connection.execute(_FORGET, self._now(), FORGOTTEN_AT_ONCE)
            await connection.execute(
                _PUT,
                key_of(login.state),
                login.nonce,
                login.verifier,
                login.goes_to,
                login.is_proof,
                login.begin_time,
                expire_time,
            )

    async def take(self, state: str) -> Login | None:
        """Take one out; None if it is unknown, used or too old."""
        async with self._held.statement("web.login.take") as connection:
            row = await connection.fetchrow(_TAKE, key_of(state))
        if row is None or row["expire_time"] <= self._now():
            return None
        return Login(
            state=state,
            nonce=row["nonce"],
            verifier=row["verifier"],
            goes_to=row["goes_to"],
            is_proof=row["is_proof"],
            begin_time=row["begin_time"],
        )
