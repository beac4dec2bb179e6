"""Receivers of webhooks on real sockets: a good one, and one for each way in which others are bad."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

Answer = Callable[["Received", asyncio.StreamWriter], Awaitable[None]]
CHUNK: Final = b"a" * 65_536
TEN_GIGABYTES: Final = 10 * 1024**3


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request."""

    head: bytes
    body: bytes

    @property
    def headers(self) -> Mapping[str, str]:
        """Those of the request, by their names in lower case."""
        lines = [line.partition(b": ") for line in self.head.split(b"\r\n")[1:] if line]
        return {name.decode().lower(): value.decode() for name, _, value in lines}


@dataclass(kw_only=True)
class Receiver:
    """Takes requests, and answers each as it was made to."""

    answer: Answer
    requests: list[Received] = field(default_factory=list)
    connections: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """A connection was closed by who called."""
    port: int = 0
    scheme: str = "http"

    def url(self, host: str = "127.0.0.1") -> str:
        """Return where it is, under a name of a test's choice."""
        return f"{self.scheme}://{host}:{self.port}/hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request, and answer it."""
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            head = await reader.readuntil(b"\r\n\r\n")
            (length,) = re.findall(rb"(?i)content-length: (\d+)", head)
            received = Received(head=head, body=await reader.readexactly(int(length)))
            self.requests.append(received)
            await self.answer(received, writer)
            await writer.drain()
            if not writer.is_closing():
                await reader.read()  # until the other side is gone
        self.gone.set()
        writer.close()


@asynccontextmanager
async def receiver(
    answer: Answer, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Receiver]:
    """Run a receiver while inside."""
    made = Receiver(answer=answer, scheme="https" if tls else "http")
    server = await asyncio.start_server(made.serve, host, port, ssl=tls)
    try:
        made.port = server.sockets[0].getsockname()[1]
        yield made
    finally:
        server.close()


def says(status: str, *, headers: str = "", body: bytes = b"") -> Answer:
    """Answer that, and wait for the other side to close."""

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\n\r\n".encode() + body)

    return answer


async def hangs(_: Received, writer: asyncio.StreamWriter) -> None:
    """Never answer."""


async def closes(_: Received, writer: asyncio.StreamWriter) -> None:
    """End the connection in place of an answer."""
    writer.close()


async def resets(_: Received, writer: asyncio.StreamWriter) -> None:
    """Break the connection in place of an answer."""
    writer.transport.abort()


def writes(head: bytes) -> Answer:
    """Answer with these bytes, whatever they are, and close."""

    async def answer(_: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        writer.close()

    return answer


@dataclass(kw_only=True)
class Endless:
    """Answer with a body of 10 GB, as fast as it is taken."""

    status: str
    sent_bytes: int = 0

    async def __call__(self, _: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 {self.status}\r\ncontent-length: {TEN_GIGABYTES}\r\n\r\n".encode())
        while self.sent_bytes < TEN_GIGABYTES:
            writer.write(CHUNK)
            await writer.drain()
            self.sent_bytes += len(CHUNK)


async def never_ends_its_head(_: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with one header after the other."""
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"x-more: " + b"a" * 1_000 + b"\r\n")
        await writer.drain()


async def interim_alone(_: Received, writer: asyncio.StreamWriter) -> None:
    """Announce an answer several times, and give none."""
    writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 50)


async def head_alone(_: Received, writer: asyncio.StreamWriter) -> None:
    """Say that it was taken, announce a body, and send the beginning of it."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nthe beginning")
