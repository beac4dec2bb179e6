"""The HTTP port of a process' figures: `GET /metrics` in plain text, for the scraper alone, one request a connection.

It is plaintext and asks for no identity, so it belongs on an address that only the scraper reaches. What it reads and
writes is bounded in size, in time and in number, and what it reads is parsed as far as its first line.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from services.runtime.observability.metrics import Meter

PATH: Final = b"/metrics"
HEAD_BYTES_MAX: Final = 8 * 1024
"""Of a request; a scraper's has about 300."""
CONNECTION_S_MAX: Final = 10.0
"""From the first byte to the last: what Prometheus waits for an answer by default."""
HEAD_S_MAX: Final = 3.0
"""For a request to arrive."""
CONNECTIONS_MAX: Final = 16
"""Open at once; a pair of scrapers has two. A further one is closed."""

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def serving_metrics(meter: Meter, *, listen: str) -> AsyncIterator[int]:
    """Answer with the meter's figures on `host:port` while inside, and yield the port. OSError if it is taken."""
    host, _, port = listen.rpartition(":")
    connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(connections) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None, "a connection is served by a task of its own"  # noqa: S101
        connections[task] = writer
        try:
            async with asyncio.timeout(CONNECTION_S_MAX):
                await _serve(meter, reader, writer)
            writer.close()
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            _logger.debug("a scrape did not come to its end")
            writer.transport.abort()  # closed, it would wait for a reader that does not read
        except Exception:
            _logger.exception("a scrape was not answered")
            writer.transport.abort()
        finally:
            del connections[task]

    server = await asyncio.start_server(
        serve, host.strip("[]"), int(port), limit=HEAD_BYTES_MAX, backlog=CONNECTIONS_MAX
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in connections.values():
            writer.transport.abort()
        if connections:
            await asyncio.wait(tuple(connections))


async def _serve(meter: Meter, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        async with asyncio.timeout(HEAD_S_MAX):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        await _answer(writer, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        return
    status = _status_of(head)
    await _answer(writer, status, await meter.text() if status is HTTPStatus.OK else b"")


def _status_of(head: bytes) -> HTTPStatus:
    """Return what a request deserves, by its first line."""
    method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    target, _, version = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return HTTPStatus.BAD_REQUEST
    if target.partition(b"?")[0] != PATH:
        return HTTPStatus.NOT_FOUND
    return HTTPStatus.OK if method == b"GET" else HTTPStatus.METHOD_NOT_ALLOWED


async def _answer(writer: asyncio.StreamWriter, status: HTTPStatus, body: bytes = b"") -> None:
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {CONTENT_TYPE_PLAIN_0_0_4}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    writer.write(head.encode("ascii") + body)
    await writer.drain()
