"""The network between client and server, for tests that break it: a proxy that can fall silent, and bare HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 0x4, 0x6, 0x7
ACKNOWLEDGED = 0x1
ENHANCE_YOUR_CALM = 0xB


class Proxy:
    """Passes bytes on both ways until told to swallow them; the connections stay open, as in a network that is gone."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._silent = False
        self.port = 0

    def fall_silent(self) -> None:
        """Swallow whatever comes from now on."""
        self._silent = True

    @classmethod
    @asynccontextmanager
    async def before(cls, port: int) -> AsyncIterator[Self]:
        """Listen on a port of its own while inside."""
        proxy = cls(port)
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        proxy.port = server.sockets[0].getsockname()[1]
        tasks_before = asyncio.all_tasks()
        try:
            yield proxy
        finally:
            server.close()
            for task in asyncio.all_tasks() - tasks_before:
                if task.get_name() == "proxy":
                    task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        there = asyncio.create_task(self._pass_on(reader, far_writer), name="proxy")
        back = asyncio.create_task(self._pass_on(far_reader, writer), name="proxy")
        with suppress(asyncio.CancelledError):
            await asyncio.wait((there, back))
        writer.close()
        far_writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65_536):
                if not self._silent:
                    writer.write(data)
                    await writer.drain()
        if not self._silent:
            writer.close()


class Http2:
    """A connection that speaks HTTP/2 frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator[Self]:
        """Open a connection, and shake hands."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        connection = cls(reader, writer)
        writer.write(PREFACE)
        connection.send(SETTINGS)
        await connection.next_of(SETTINGS)
        connection.send(SETTINGS, flags=ACKNOWLEDGED)
        try:
            yield connection
        finally:
            writer.close()

    def send(self, kind: int, *, flags: int = 0, payload: bytes = b"", times: int = 1) -> None:
        """Send a frame on stream 0, several times in one go."""
        frame = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + bytes(4) + payload
        self._writer.write(frame * times)

    async def next_of(self, *kinds: int) -> tuple[int, bytes]:
        """Return the next frame of one of the kinds, with its payload."""
        while True:
            header = await self._reader.readexactly(9)
            kind = header[3]
            payload = await self._reader.readexactly(int.from_bytes(header[:3], "big"))
            if kind in kinds:
                return kind, payload
