"""The sessions of a front, in its own database."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

from asyncpg import Connection

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
_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_END: Final = "DELETE FROM sessions WHERE tenant_id = $1 AND subject = $2 AND form_key = $3 RETURNING key"
_END_ALL: Final = "DELETE FROM sessions WHERE tenant_id = $1 AND subject = $2 RETURNING key"
_END_OLDEST: Final = """
DELETE FROM sessions WHERE key IN (
    SELECT key FROM sessions WHERE tenant_id = $1 AND subject = $2 ORDER BY create_time DESC OFFSET $3
)
"""
_LEAVE: Final = "UPDATE sessions SET expire_time = least(expire_time, $2) WHERE key = $1 RETURNING key"
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
        async with self._held.transaction("web.session.open") as connection:
            return await self.open_in(
                connection,
                tenant_id=tenant_id,
                subject=subject,
                role=role,
                locale=locale,
                payment_id=payment_id,
                auth_time=auth_time,
                user_agent=user_agent,
            )

    async def open_in(
        self,
        connection: Connection,
        *,
        tenant_id: str,
        subject: str,
        role: str,
        locale: str,
        payment_id: str | None = None,
        auth_time: datetime | None = None,
        user_agent: str = "",
    ) -> str:
        """Open a session as `open` does, in the transaction in which the proof of who they are is used up."""
        now, session_id = self._now(), new_id()
        await _alone(connection, tenant_id, subject)
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

    async def rotate(self, session: Session, *, auth_time: datetime | None = None) -> str | None:
        """Give a session a new id, and return it; the one before opens it for a few seconds more.

        None for a session that was ended meanwhile: what is ended stays so.
        """
        now, session_id = self._now(), new_id()
        async with self._held.transaction("web.session.rotate") as connection:
            await _alone(connection, session.tenant_id, session.subject)
            if await connection.fetchrow(_LEAVE, session.key, now + ROTATION_OVERLAP) is None:
                return None
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
        return session_id

    async def speak(self, session: Session, locale: str) -> None:
        """Note which language the person chose."""
        async with self._held.statement("web.session.locale") as connection:
            await connection.execute(_LOCALE, session.key, locale)

    async def end(self, session: Session) -> Sequence[bytes]:
        """End a session, and return its keys: neither its id nor those before and after it open anything any more."""
        async with self._held.transaction("web.session.end") as connection:
            await _alone(connection, session.tenant_id, session.subject)
            rows = await connection.fetch(_END, session.tenant_id, session.subject, session.form_key)
        return [row["key"] for row in rows]

    async def end_all(self, tenant_id: str, subject: str) -> Sequence[bytes]:
        """End all sessions of a person, and return their keys."""
        async with self._held.transaction("web.session.end_all") as connection:
            await _alone(connection, tenant_id, subject)
            rows = await connection.fetch(_END_ALL, tenant_id, subject)
        return [row["key"] for row in rows]

    async def forget(self, *, at_most: int) -> int:
        """Take out sessions that are over, and return how many."""
        now = self._now()
        async with self._held.statement("web.session.forget") as connection:
            done: str = await connection.execute(_FORGET, now, now - self._limits.idle, at_most)
        return int(done.rpartition(" ")[2])


async def _alone(connection: Connection, tenant_id: str, subject: str) -> None:
    """Wait until nobody else opens, rotates or ends sessions of a person, up to the end of the transaction.

    A row that comes to be while others are deleted is seen by no `DELETE` that was waiting.
    """
    await connection.execute(_ALONE, repr((tenant_id, subject)))
