"""Hints between replicas: "this payment moved", by NOTIFY after the commit, on connections of their own.

A hint carries no truth and may be lost: whoever hears it reads the history, and reads everything again after a gap. The
announcements of one moment travel together. A NOTIFY inside the writing transaction would cut commits to a third.
Nothing is announced while no other replica listens (`presence.py`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

import asyncpg

from services.runtime.database.connections import DRIVER_ERRORS, DatabaseUrl, connect_held, is_unavailable
from services.status.watches.presence import HELLO_EVERY_S, Presence

CHANNEL: Final = "status_hints"
HELLO_CHANNEL: Final = "status_hellos"
NOTIFY: Final = "SELECT pg_notify($1, $2)"
PAYLOAD_BYTES_MAX: Final = 7_900
"""PostgreSQL takes less than 8,000."""
GATHER_S: Final = 0.001
"""At least this long between two NOTIFYs, each of which costs a tenth of a transition. The first goes at once."""
ANNOUNCED_MAX: Final = 20_000
"""Hints that wait for a connection, ~4 MB; beyond it they are dropped, and the slow re-reading finds what moved."""
STATEMENT_TIMEOUT_MS: Final = 1_000
LISTEN_HEARTBEAT_S: Final = 2.0
"""How long a listener that lost its server without a word goes on believing in it."""
RECONNECT_S: Final = 0.2

_logger = logging.getLogger(__name__)

Key = tuple[str, str]
"""Tenant and payment."""


class Hints:
    """Announces which payments this process moved, and listens to which others did."""

    def __init__(self, url: DatabaseUrl, *, application_name: str, hello_every_s: float = HELLO_EVERY_S) -> None:
        self._url = url
        self._application_name = application_name
        self._heartbeat_s = min(LISTEN_HEARTBEAT_S, hello_every_s)
        self._presence = Presence(hello_every_s=hello_every_s)
        self._announced: dict[Key, None] = {}
        self._wake = asyncio.Event()

    def announce(self, tenant_id: str, payment_id: str) -> None:
        """Announce to the other replicas, soon, that a payment has moved, if there are any. Never waits, never fails.

        It is called after the commit: who comes to listen later finds the move in the history.
        """
        if not self._presence.may_be_heard():
            return
        if len(self._announced) >= ANNOUNCED_MAX:
            self._announced.clear()
        self._announced[tenant_id, payment_id] = None
        self._wake.set()

    @asynccontextmanager
    async def running(
        self, *, hear: Callable[[str, str], None], missed: Callable[[], None], unannounced: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Announce and listen while inside.

        `hear` is called with each hint, `missed` when any may be lost, whatever the database has been through, and
        `unannounced` when another replica moved payments before it knew that anybody listens.
        """
        async with asyncio.TaskGroup() as group:
            listen = partial(self._listen, hear=hear, missed=missed, unannounced=unannounced)
            tasks = [
                group.create_task(self._for_ever("announce", self._announce)),
                group.create_task(self._for_ever("listen", listen)),
            ]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()

    async def _announce(self, connection: asyncpg.Connection) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            announced, self._announced = self._announced, {}
            try:
                for payload in payloads_of(announced, origin=self._presence.origin):
                    await connection.execute(NOTIFY, CHANNEL, payload)
            except BaseException:
                self._announced = announced | self._announced
                self._wake.set()
                raise
            await asyncio.sleep(GATHER_S)

    async def _listen(
        self,
        connection: asyncpg.Connection,
        *,
        hear: Callable[[str, str], None],
        missed: Callable[[], None],
        unannounced: Callable[[], None],
    ) -> None:
        woken = asyncio.Event()

        def heard(_: object, __: int, ___: str, payload: object) -> None:
            hint = json.loads(str(payload))
            if hint["origin"] != self._presence.origin:
                for tenant_id, payment_id in hint["moved"]:
                    hear(tenant_id, payment_id)

        def heard_hello(_: object, __: int, ___: str, payload: object) -> None:
            if connection.is_closed():  # what it had still read proves no longer that this process listens
                return
            if self._presence.hear(str(payload)):
                unannounced()
            woken.set()

        connection.add_termination_listener(lambda _: woken.set())
        self._presence.begin()
        try:
            await connection.add_listener(CHANNEL, heard)
            await connection.add_listener(HELLO_CHANNEL, heard_hello)
            missed()
            while not connection.is_closed():
                self._presence.forget_gone()
                await self._say_something(connection)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._heartbeat_s):
                        await woken.wait()
                woken.clear()
        finally:
            self._presence.end()

    async def _say_something(self, connection: asyncpg.Connection) -> None:
        """Say hello if it is due; find out in any case whether the server is still there."""
        if self._presence.is_due():
            with suppress(asyncpg.PostgresError):  # one that takes no NOTIFY may still deliver those of others
                await self._presence.say(partial(connection.execute, NOTIFY, HELLO_CHANNEL))
        else:
            await connection.execute("SELECT 1")

    async def _for_ever(self, purpose: str, use: Callable[[asyncpg.Connection], Awaitable[None]]) -> None:
        """Use one connection after the other, each once the one before was lost."""
        is_lost = False
        while True:
            try:
                connection = await connect_held(
                    self._url,
                    application_name=f"{self._application_name}-{purpose}",
                    statement_timeout_ms=STATEMENT_TIMEOUT_MS,
                )
                if is_lost:
                    _logger.info("Can %s hints again", purpose)
                is_lost = False
                try:
                    await use(connection)
                finally:
                    connection.terminate()
                reason = "the server ended the connection"
            except DRIVER_ERRORS as error:
                # Whatever the server has against hints, the process does without them. The rest is a misuse of ours.
                if not (isinstance(error, asyncpg.PostgresError) or is_unavailable(error)):
                    raise
                reason = type(error).__name__
            if not is_lost:
                _logger.warning("Cannot %s hints, connecting again: %s", purpose, reason)
            is_lost = True
            await asyncio.sleep(RECONNECT_S)


def payloads_of(announced: Iterable[Key], *, origin: str) -> Iterator[str]:
    """Yield texts that hold all of the keys, each short enough for one NOTIFY."""
    moved: list[Key] = []
    size = start = len(_payload(origin, []))
    for key in announced:
        length = len(key[0]) + len(key[1]) + len('["", ""], ')  # both are plain ASCII
        if moved and size + length > PAYLOAD_BYTES_MAX:
            yield _payload(origin, moved)
            moved, size = [], start
        moved.append(key)
        size += length
    if moved:
        yield _payload(origin, moved)


def _payload(origin: str, moved: list[Key]) -> str:
    return json.dumps({"origin": origin, "moved": moved})
