"""The sessions of a front, in its own database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from services.runtime.database.connections import DirectConnections
from services.web.sessions.domain import (
    PER_PERSON_MAX,
    ROTATION_OVERLAP,
    SEEN_EVERY,
    Limits,
    Session,
    key_of,
    new_form_key,
    new_id,
)

_COLUMNS: Final = (
    "key, form_key, tenant_id, subject, role, payment_id, locale, auth_time, create_time, seen_time, expire_time"
)
_OPEN: Final = f"""
INSERT INTO sessions ({_COLUMNS}, user_agent)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9, $10, $11)
"""  # noqa: S608 names of columns, and nothing of a caller's
_FIND: Final = f"SELECT {_COLUMNS} FROM sessions WHERE key = $1"  # noqa: S608
_LIVING: Final = "SELECT key FROM sessions WHERE key = ANY($1::bytea[]) AND expire_time > $2 AND seen_time > $3"
_SEEN: Final = "UPDATE sessions SET seen_time = $2 WHERE key = $1 AND seen_time < $2"
_END: Final = "DELETE FROM sessions WHERE key = $1"
_END_ALL: Final = "DELETE FROM sessions WHERE tenant_id = $1 AND subject = $2 RETURNING key"
_END_OLDEST: Final = """
DELETE FROM sessions WHERE key IN (
    SELECT key FROM sessions WHERE tenant_id = $1 AND subject = $2 ORDER BY create_time DESC OFFSET $3
)
"""
_LEAVE: Final = "UPDATE sessions SET expire_time = least(expire_time, $2) WHERE key = $1"
_LOCALE: Final = "UPDATE sessions SET locale = $2 WHERE key = $1"
_FORGET: Final = """
DELETE FROM sessions WHERE key IN (SELECT key FROM sessions WHERE expire_time < $1 OR seen_time < $2 LIMIT $3)
"""
USER_AGENT_CHARACTERS_MAX: Final = 200


class SessionStore:
    """Opens, finds and ends sessions."""

    def __init__(self, held: DirectConnections, *, limits: Limits, now: Callable[[], datetime]) -> None:
        self._held = held
        self._limits = limits
        self._now = now

    async def open(
        self,
        *,
        tenant_id: str,
        subject: str,
        role: str,
        locale: str,
        payment_id: str | None = None,
        auth_time: datetime | None = None,
        user_agent: str = "",
    ) -> str:
        """Open a session for who has just proved who they are, and return the id for the cookie.

        Of the sessions of one person the oldest end beyond `PER_PERSON_MAX`.
        """
        now, session_id = self._now(), new_id()
        async with self._held.transaction("web.session.open") as connection:
            await connection.execute(_END_OLDEST, tenant_id, subject, PER_PERSON_MAX - 1)
            await connection.execute(
                _OPEN,
                key_of(session_id),
                new_form_key(),
                tenant_id,
                subject,
                role,
                payment_id,
                locale,
                auth_time or now,
                now,
                now + self._limits.absolute,
                user_agent[:USER_AGENT_CHARACTERS_MAX],
            )
        return session_id

    async def find(self, session_id: str) -> Session | None:
        """Return the session of an id, and note that it is used; None if it is unknown or over."""
        now = self._now()
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(_FIND, key_of(session_id))
        if row is None:
            return None
        session = Session(**dict(row))
        if session.is_over(now=now, limits=self._limits):
            return None
        if now - session.seen_time >= SEEN_EVERY:
            async with self._held.statement("web.session.seen") as connection:
                await connection.execute(_SEEN, session.key, now)
        return session

    async def living(self, keys: Collection[bytes]) -> Collection[bytes]:
        """Return which of some sessions, by their keys, are not over."""
        now = self._now()
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_LIVING, list(keys), now, now - self._limits.idle)
        return {row["key"] for row in rows}

    async def rotate(self, session: Session, *, auth_time: datetime | None = None) -> str:
        """Give a session a new id, and return it; the one before opens it for a few seconds more."""
        now, session_id = self._now(), new_id()
        async with self._held.transaction("web.session.rotate") as connection:
            await connection.execute(
                _OPEN,
                key_of(session_id),
                session.form_key,
                session.tenant_id,
                session.subject,
                session.role,
                session.payment_id,
                session.locale,
                auth_time or session.auth_time,
                now,
                session.expire_time,
                "",
            )
            await connection.execute(_LEAVE, session.key, now + ROTATION_OVERLAP)
        return session_id

    async def speak(self, session: Session, locale: str) -> None:
        """Note which language the person chose."""
        async with self._held.statement("web.session.locale") as connection:
            await connection.execute(_LOCALE, session.key, locale)

    async def end(self, session: Session) -> None:
        """End a session: its id opens nothing any more."""
        async with self._held.statement("web.session.end") as connection:
            await connection.execute(_END, session.key)

    async def end_all(self, tenant_id: str, subject: str) -> Sequence[bytes]:
        """End all sessions of a person, and return their keys."""
        async with self._held.statement("web.session.end_all") as connection:
            rows = await connection.fetch(_END_ALL, tenant_id, subject)
        return [row["key"] for row in rows]

    async def forget(self, *, at_most: int) -> int:
        """Take out sessions that are over, and return how many."""
        now = self._now()
        async with self._held.statement("web.session.forget") as connection:
            done: str = await connection.execute(_FORGET, now, now - self._limits.idle, at_most)
        return int(done.rpartition(" ")[2])
