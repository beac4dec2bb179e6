"""The connection of a worker, which comes back whenever it breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg
from pgqueuer.core.tm import TaskManager
from pgqueuer.ports.driver import Driver, NotifyCallback

from services.runtime.database import connect_held, is_unavailable

RECONNECT_FIRST_S: Final = 0.1
RECONNECT_MAX_S: Final = 2.0

log = logging.getLogger(__name__)


class PersistentDriver(Driver):
    """One connection for pgqueuer that comes back. While the database is away, statements wait for it.

    Repeating a statement whose answer was lost is safe: a job picked by it is picked again after the heartbeat, and the
    others say how things are to be.
    """

    def __init__(self, url: str, *, application_name: str, given_up: asyncio.Event) -> None:
        self._url = url
        self._application_name = application_name
        self._given_up = given_up
        self._listeners: dict[str, NotifyCallback] = {}
        self._connection: asyncpg.Connection | None = None
        self._lock = asyncio.Lock()
        self._shutdown = asyncio.Event()

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        rows = await self._persist(lambda connection: connection.fetch(query, *args))
        return [dict(row) for row in rows]

    async def execute(self, query: str, *args: object) -> str:
        return str(await self._persist(lambda connection: connection.execute(query, *args)))

    async def notify(self, channel: str, payload: str) -> None:
        await self.execute("SELECT pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        known = channel in self._listeners
        self._listeners[channel] = callback
        if not known:
            await self._persist(lambda connection: connection.add_listener(channel, self._heard))

    @property
    def shutdown(self) -> asyncio.Event:
        return self._shutdown

    @property
    def tm(self) -> TaskManager:
        return TaskManager()

    async def __aenter__(self) -> PersistentDriver:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stay open: pgqueuer enters and leaves, and the other classes' loops use the same connection."""

    async def close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()

    def _heard(self, connection: object, pid: int, channel: str, payload: str) -> None:
        self._listeners[channel](payload)

    async def _persist(self, act: Callable[[asyncpg.Connection], Awaitable[Any]]) -> Any:
        delay_s = RECONNECT_FIRST_S
        async with self._lock:
            while True:
                try:
                    return await act(await self._connected())
                except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
                    if self._given_up.is_set() or not is_unavailable(error):
                        raise
                    if isinstance(error, TimeoutError) and self._connection is not None:
                        self._connection.terminate()  # nothing comes from it any more
                    fields = {"event": "worker.database_away", "error": type(error).__name__}
                    log.warning("worker waits for the database", extra={"fields": fields})
                await within(self._given_up, delay_s)
                delay_s = min(delay_s * 2, RECONNECT_MAX_S)

    async def _connected(self) -> asyncpg.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await connect_held(self._url, application_name=self._application_name)
            for channel in self._listeners:
                await self._connection.add_listener(channel, self._heard)
        return self._connection


async def within(event: asyncio.Event, limit_s: float) -> bool:
    """Wait for `event` up to `limit_s`, and say whether it came."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), limit_s)
    return event.is_set()
