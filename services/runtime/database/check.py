"""Whether a database can be used, found out at the start: waited for while away, refused by name when unfit.

What only shows under load, or as an error that looks like an outage, is asked for here: a pooler that gives each
transaction another server connection (prepared statements, LISTEN and session locks live in one), a setting that a
pooler or a role lost on the way, a server that is too old. See docs/database.md.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from contextlib import AsyncExitStack
from typing import Final

import asyncpg

from services.errors import DependencyUnavailable
from services.runtime.database.connections import (
    CONNECT_TIMEOUT_S,
    IDLE_IN_TRANSACTION_TIMEOUT_MS,
    LOCK_TIMEOUT_MS,
    STATEMENT_TIMEOUT_MS,
    connect_held,
    is_unavailable,
)
from services.runtime.database.servers import place_of
from services.runtime.process.lifecycle import StartRefused

VERSION_MIN: Final = 150_000
"""PostgreSQL 15, as `server_version_num` counts."""
PROBE_TIMEOUT_S: Final = 2.0
"""Of one statement of the check, which takes a millisecond."""
POLL_S: Final = 0.2
"""Between two tries while it is away."""
SAY_EVERY_S: Final = 5.0
"""How often the log says what is waited for."""
TIMEOUTS_MS: Final = {
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "lock_timeout": LOCK_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
}
"""Sent with each connection; a pooler that ignores them leaves it to the role to have them."""
REFUSED_STATES: Final = ("28", "3D000", "42501")
"""Prefixes of SQLSTATE at a connection that no waiting mends: who may connect, which database, the right to."""
POOLER_STATE: Final = "08P01"
"""What PgBouncer says of everything, so that its words have to be read."""
POOLER_REFUSALS: Final = ("no such user", "no such database", "authentication failed", "auth failed", "login rejected")
NOT_PREPARED_STATES: Final = ("26000", "42P05")
"""A prepared statement that is not there, or another's that is: it went to another server connection."""

_logger = logging.getLogger(__name__)


class DatabaseUnfit(StartRefused):
    """The database cannot be used as it is; the text says why."""


async def wait_for_database(url: str, *, timeout_s: float) -> None:
    """Return once the database answers and is fit, or raise `DatabaseUnfit` as soon as it is seen not to be.

    Raises `DependencyUnavailable` if it is away for `timeout_s`, and says in the log meanwhile what it waits for.
    """
    began = said = time.monotonic()
    while True:
        try:
            await refuse_unfit(url)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
            if not is_unavailable(error):
                raise
            now = time.monotonic()
            if now - began >= timeout_s:
                raise DependencyUnavailable(dependency="database") from error
            if now - said >= SAY_EVERY_S:
                said = now
                _logger.warning("Waiting for the database %s: %s", place_of(url), _words(error))
            await asyncio.sleep(POLL_S)
        else:
            return


async def refuse_unfit(url: str, *, needs_timeouts: bool = True) -> None:
    """Raise `DatabaseUnfit` if the database cannot be used, and what the driver raises if it is away."""
    async with AsyncExitStack() as stack:
        try:
            one, other = [await _connected(stack, url, needs_timeouts=needs_timeouts) for _ in range(2)]
            await _refuse_pooled(one, other)
            await _refuse_settings(one, needs_timeouts=needs_timeouts)
        except asyncpg.PostgresError as error:
            what = _what_is_unfit(error)
            if what is None:
                raise
            raise DatabaseUnfit(f"The database {place_of(url)} cannot be used: {what} (docs/database.md)") from error
        except _Unfit as unfit:
            raise DatabaseUnfit(f"The database {place_of(url)} cannot be used: {unfit} (docs/database.md)") from None


class _Unfit(Exception):
    """What is wrong, without its place."""


async def _connected(stack: AsyncExitStack, url: str, *, needs_timeouts: bool) -> asyncpg.Connection:
    connection = await connect_held(url, application_name="start check", bare=not needs_timeouts)
    stack.push_async_callback(_close, connection)
    return connection


async def _close(connection: asyncpg.Connection) -> None:
    try:
        await connection.close(timeout=PROBE_TIMEOUT_S)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        connection.terminate()


async def _refuse_pooled(one: asyncpg.Connection, other: asyncpg.Connection) -> None:
    """Refuse a pooler that does not keep a server connection for each of ours.

    While `other` is inside a transaction, which holds a server connection under any pooling, `one` must still have its
    own: by its process, and by a setting that was made on it and nowhere else.
    """
    mark = secrets.token_hex(8)
    before = await _value(one, "SELECT pg_backend_pid()")
    await one.execute(f"SET batzen.start_check = '{mark}'", timeout=PROBE_TIMEOUT_S)  # our own hex digits
    await other.execute("BEGIN", timeout=PROBE_TIMEOUT_S)
    others = await _value(other, "SELECT pg_backend_pid()")
    leaked = await _value(other, "SELECT current_setting('batzen.start_check', true)")
    after = await _value(one, "SELECT pg_backend_pid()")
    kept = await _value(one, "SELECT current_setting('batzen.start_check', true)")
    await other.execute("ROLLBACK", timeout=PROBE_TIMEOUT_S)
    if before != after or before == others or leaked == mark or kept != mark:
        raise _Unfit("a pooler before it gives each transaction another server connection; use pool_mode = session")


async def _refuse_settings(one: asyncpg.Connection, *, needs_timeouts: bool) -> None:
    version = int(await _value(one, "SELECT current_setting('server_version_num')"))
    if version < VERSION_MIN:
        raise _Unfit(f"it is PostgreSQL {version // 10_000}, and {VERSION_MIN // 10_000} or newer is needed")
    encoding = await _value(one, "SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise _Unfit(f"its encoding is {encoding}, and UTF8 is needed")
    if not needs_timeouts:
        return
    role = await _value(one, "SELECT quote_ident(current_user)")
    missing = [
        f"ALTER ROLE {role} SET {name} = '{wanted_ms}ms'"
        for name, wanted_ms in TIMEOUTS_MS.items()
        if not 0 < int(await _value(one, f"SELECT setting FROM pg_settings WHERE name = '{name}'")) <= wanted_ms  # noqa: S608 our own names
    ]
    if missing:
        raise _Unfit(f"a pooler before it ignores our settings, and the role does not have them: {'; '.join(missing)}")


async def _value(connection: asyncpg.Connection, query: str) -> str:
    return str(await connection.fetchval(query, timeout=PROBE_TIMEOUT_S))


def _what_is_unfit(error: asyncpg.PostgresError) -> str | None:
    """Return what no waiting mends, None for what it may."""
    state, words = str(getattr(error, "sqlstate", "") or ""), str(error)
    if state in NOT_PREPARED_STATES or "statement pooling" in words:
        return "a pooler before it gives each transaction another server connection; use pool_mode = session"
    if state == POOLER_STATE and "unsupported startup parameter" in words:
        ignored = ", ".join(TIMEOUTS_MS)
        return f"a pooler before it says: {words}; have it ignore {ignored}, and set them for the role"
    if state.startswith(REFUSED_STATES) or (state == POOLER_STATE and any(one in words for one in POOLER_REFUSALS)):
        return words
    return None


def _words(error: BaseException) -> str:
    return str(error) or f"no answer within {CONNECT_TIMEOUT_S:.0f} s"
