"""Hints between replicas: "this payment moved", by NOTIFY after the commit, on connections of their own.

A hint carries no truth and may be lost: whoever hears it reads the history, and reads everything again after a gap. The
announcements of one moment travel together. A NOTIFY inside the writing transaction would cut commits to a third.
Nothing is announced while no other replica listens (`presence.py`).
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from typing import Final

import asyncpg

from services.errors import DependencyUnavailable
from services.runtime.database.connections import DRIVER_ERRORS, DatabaseUrl, connect_held, is_unavailable
from services.runtime.work.loops import repeating
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
        self._to_announce = asyncio.Event()
        self._to_say = asyncio.Event()
        self._announcer: asyncpg.Connection | None = None
        self._listener: asyncpg.Connection | None = None

    def announce(self, tenant_id: str, payment_id: str) -> None:
        """Announce to the other replicas, soon, that a payment has moved, if there are any. Never waits, never fails.

        It is called after the commit: who comes to listen later finds the move in the history.
        """
        if not self._presence.may_be_heard():
            return
        if len(self._announced) >= ANNOUNCED_MAX:
            self._announced.clear()
        self._announced[tenant_id, payment_id] = None
        self._to_announce.set()

    @asynccontextmanager
    async def running(
        self, *, hear: Callable[[str, str], None], missed: Callable[[], None], unannounced: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Announce and listen while inside.

        `hear` is called with each hint, `missed` when any may be lost, whatever the database has been through, and
        `unannounced` when another replica moved payments before it knew that anybody listens.
        """
        listen = partial(self._listen, hear=hear, missed=missed, unannounced=unannounced)
        try:
            async with (
                repeating(self._announce, name="hints_said", every_s=self._until_announced, retry_s=RECONNECT_S),
                repeating(listen, name="hints_heard", every_s=self._until_woken, retry_s=RECONNECT_S),
            ):
                yield
        finally:
            self._stop_announcing()
            self._stop_listening()

    async def _announce(self) -> None:
        """Announce what waits to be, on a connection that is kept."""
        announced, self._announced = self._announced, {}
        try:
            with _hints_are_dispensable():
                if self._announcer is None:
                    self._announcer = await self._connect("announce")
                for payload in payloads_of(announced, origin=self._presence.origin):
                    await self._announcer.execute(NOTIFY, CHANNEL, payload)
        except BaseException:
            self._announced = announced | self._announced
            self._stop_announcing()
            raise

    async def _until_announced(self) -> None:
        await asyncio.sleep(GATHER_S)
        await self._to_announce.wait()
        self._to_announce.clear()

    def _stop_announcing(self) -> None:
        if self._announcer is not None:
            self._announcer.terminate()
            self._announcer = None

    async def _listen(
        self, *, hear: Callable[[str, str], None], missed: Callable[[], None], unannounced: Callable[[], None]
    ) -> None:
        """Listen on a connection that is kept, and say something on it."""
        try:
            with _hints_are_dispensable():
                if self._listener is None:
                    self._listener = await self._connect("listen")
                    await self._begin_to_listen(self._listener, hear=hear, unannounced=unannounced)
                    missed()
                self._presence.forget_gone()
                await self._say_something(self._listener)
        except BaseException:
            self._stop_listening()
            raise

    async def _begin_to_listen(
        self, connection: asyncpg.Connection, *, hear: Callable[[str, str], None], unannounced: Callable[[], None]
    ) -> None:
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
            self._to_say.set()

        connection.add_termination_listener(lambda _: self._to_say.set())
        self._presence.begin()
        await connection.add_listener(CHANNEL, heard)
        await connection.add_listener(HELLO_CHANNEL, heard_hello)

    async def _until_woken(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._heartbeat_s):
                await self._to_say.wait()
        self._to_say.clear()

    def _stop_listening(self) -> None:
        self._presence.end()
        if self._listener is not None:
            self._listener.terminate()
            self._listener = None

    async def _say_something(self, connection: asyncpg.Connection) -> None:
        """Say hello if it is due; find out in any case whether the server is still there."""
        if self._presence.is_due():
            with suppress(asyncpg.PostgresError):  # one that takes no NOTIFY may still deliver those of others
                await self._presence.say(partial(connection.execute, NOTIFY, HELLO_CHANNEL))
        else:
            await connection.execute("SELECT 1")

    async def _connect(self, purpose: str) -> asyncpg.Connection:
        return await connect_held(
            self._url,
            application_name=f"{self._application_name}-{purpose}",
            statement_timeout_ms=STATEMENT_TIMEOUT_MS,
        )


@contextmanager
def _hints_are_dispensable() -> Iterator[None]:
    """Take whatever the server has against hints for an outage: the process does without. A misuse of ours passes."""
    try:
        yield
    except DRIVER_ERRORS as error:
        if not (isinstance(error, asyncpg.PostgresError) or is_unavailable(error)):
            raise
        raise DependencyUnavailable(dependency="database") from error


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
