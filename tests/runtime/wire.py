"""The network between client and server, for tests that break it: a proxy that can fall silent, and bare HTTP/2."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Self

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
ACKNOWLEDGED = END_STREAM = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW = 0x4
"""The setting of how much of a stream's data may be under way."""


def frame(kind: int, payload: bytes = b"", *, stream: int = 0, flags: int = 0) -> bytes:
    """Return an HTTP/2 frame."""
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def header(name: str, value: str, *, remembered: bool = False) -> bytes:
    """Return a header as HPACK writes it in full; `remembered` takes it into the table of both ends."""
    return bytes([0x40 if remembered else 0]) + _text(name) + _text(value)


def indexed(number: int) -> bytes:
    """Return a header that both ends know by its number; the last that was remembered is 62."""
    return _integer(number, prefix_bits=7, first=0x80)


def setting(number: int, value: int) -> bytes:
    """Return a frame with one setting."""
    return frame(SETTINGS, number.to_bytes(2, "big") + value.to_bytes(4, "big"))


def grpc_headers(path: str, *, token: str) -> bytes:
    """Return the headers of a call with a deadline of a minute, in full but for POST and http, which have numbers."""
    return (
        indexed(3)
        + indexed(6)
        + header(":path", path)
        + header(":authority", "localhost")
        + header("te", "trailers")
        + header("content-type", "application/grpc")
        + header("grpc-timeout", "60S")
        + header("authorization", f"Bearer {token}")
    )


def message(serialized: bytes) -> bytes:
    """Return a message as gRPC puts it into DATA frames, not compressed."""
    return bytes(1) + len(serialized).to_bytes(4, "big") + serialized


def _text(text: str) -> bytes:
    encoded = text.encode()
    return _integer(len(encoded), prefix_bits=7) + encoded


def _integer(number: int, *, prefix_bits: int, first: int = 0) -> bytes:
    largest = (1 << prefix_bits) - 1
    if number < largest:
        return bytes([first | number])
    number -= largest
    rest = bytearray([first | largest])
    while number >= 128:
        rest.append(number % 128 + 128)
        number //= 128
    rest.append(number)
    return bytes(rest)


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
        self._writer.write(frame(kind, payload, flags=flags) * times)

    async def next_of(self, *kinds: int) -> tuple[int, bytes]:
        """Return the next frame of one of the kinds, with its payload."""
        while True:
            header = await self._reader.readexactly(9)
            kind = header[3]
            payload = await self._reader.readexactly(int.from_bytes(header[:3], "big"))
            if kind in kinds:
                return kind, payload
