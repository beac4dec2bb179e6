"""A proxy between a client and status that can be cut, fall silent, and lead elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self


class TcpProxy:
    """Passes bytes on, both ways."""

    def __init__(self, to_port: int) -> None:
        self.port = 0
        self._to_port: int | None = to_port
        self._ends: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        """Listen on a port of its own while inside."""
        proxy = cls(port)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            await asyncio.gather(*proxy._tasks)

    def cut(self) -> None:
        """Break off all connections; new ones are let through."""
        for end in tuple(self._ends):
            end.transport.abort()

    def close(self) -> None:
        """Break off all connections, and let nobody through."""
        self.lead_nowhere()
        self.cut()

    def lead_nowhere(self) -> None:
        """Let nobody new through."""
        self._to_port = None

    def lead_to(self, port: int) -> None:
        """Let new connections through, to this port."""
        self._to_port = port

    def fall_silent(self) -> None:
        """Swallow what comes on the connections there are; new ones are let through."""
        self._silent |= self._ends

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._ends.add(writer)
        try:
            if self._to_port is None:
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
            self._ends.add(far_writer)
            try:
                async with asyncio.TaskGroup() as group:
                    there = group.create_task(self._pass_on(reader, far_writer))
                    back = group.create_task(self._pass_on(far_reader, writer))
                    await asyncio.wait((there, back), return_when=asyncio.FIRST_COMPLETED)
                    there.cancel()
                    back.cancel()
            finally:
                self._ends.discard(far_writer)
                far_writer.transport.abort()
        except ConnectionError:
            pass  # nobody listens there just now, which is what some tests are about
        finally:
            self._ends.discard(writer)
            writer.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if writer not in self._silent:
                    writer.write(data)
                    await writer.drain()
