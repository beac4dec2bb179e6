"""The port of webhooks: HTTP/1.1 for whoever knocks, with limits on size, time and number. TLS ends before us.

llhttp parses, strictly. A connection is served one request at a time; what is sent before the answer to a request is
not read, and the connection ends with that answer. What is not HTTP is answered and counted like any other refusal, and
leaves no traceback: anybody can send it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, Protocol, cast

import httptools

from services.runtime.work.loops import detached

HEAD_BYTES_MAX: Final = 16 * 1024
HEAD_TIMEOUT_S: Final = 5.0
"""For the request line and headers of a request, from its first byte or that of the connection."""
BODY_BYTES_MAX: Final = 256 * 1024
"""Stripe's events are 2 to 20 KB."""
BODY_TIMEOUT_S: Final = 10.0
FRAMED_BYTES_MAX: Final = 2 * BODY_BYTES_MAX
"""Of a body as it is sent, with the frames of its chunks and what may stand in them."""
KEEP_ALIVE_S: Final = 75
"""Longer than Stripe and the usual proxies keep an idle connection, so that they end it, and not we under a request."""
CONNECTIONS_MAX: Final = 1_000
"""Open at once; beyond it the answer is 503. Stripe's bursts stay below 100."""
STOP_GRACE_S: Final = 3.0
"""For requests under way when the process ends."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The request line and headers of a request."""

    method: str
    path: str
    """As it was sent, nothing of it decoded; empty where the target is not one of ours in any form."""
    headers: Mapping[str, str] = field(repr=False)
    """By lower-case name, the first of each; bytes beyond ASCII as latin-1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is answered: JSON."""

    status: int
    body: bytes
    is_last: bool = False
    """The connection ends with it."""
    headers: bytes = b""


class Application(Protocol):
    """What is behind the port."""

    def refusal(self, head: Head) -> Answer | None:
        """Return what is answered before there is a body; None if the body is wanted."""

    def refused(self, reason: str, head: Head | None = None) -> Answer:
        """Return what is answered to a request that the port does not let through."""

    async def receive(self, head: Head, body: bytes) -> Answer:
        """Return the answer to a whole request."""


@contextlib.asynccontextmanager
async def serving(application: Application, *, listen: str) -> AsyncIterator[int]:
    """Serve `application` on `host:port` while inside and yield the port; port 0 takes a free one.

    At the end no connection is taken any more, and requests under way get `STOP_GRACE_S`.
    """
    connections = _Connections()
    with contextlib.closing(_listening(listen)) as listener:
        server = await asyncio.get_running_loop().create_server(
            lambda: _Connection(application, connections), sock=listener, backlog=CONNECTIONS_MAX
        )
        try:
            yield listener.getsockname()[1]
        finally:
            server.close()
            await connections.end()


def _listening(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    # Named as TCP, or asyncio leaves Nagle's algorithm on, and an answer waits 40 ms for Stripe's acknowledgement.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
    except OSError:
        listener.close()
        raise
    return listener


class _Connections:
    """The connections that are open, and what is done for them."""

    def __init__(self) -> None:
        self.open: set[_Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_ending = False
        self._gone = asyncio.Event()

    def left(self, connection: _Connection) -> None:
        self.open.discard(connection)
        if not self.open:
            self._gone.set()

    async def end(self) -> None:
        """Close what is idle, wait for what is under way, and cut off what is left then."""
        self.is_ending = True
        for connection in list(self.open):
            connection.end_if_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                while self.open:
                    self._gone.clear()
                    await self._gone.wait()
                await asyncio.gather(*self.tasks, return_exceptions=True)
        for connection in list(self.open):
            connection.cut()
        for task in self.tasks:
            task.cancel()


class _Connection(asyncio.Protocol):
    """One connection: a head, a body, an answer, and so on. The parser calls the methods that begin with `on_`."""

    def __init__(self, application: Application, connections: _Connections) -> None:
        self._application = application
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._timer: asyncio.TimerHandle | None = None
        """Of the head, the body, or the idle connection: one at a time."""
        self._is_deaf = False
        """What still comes means nothing."""
        self._begin()

    def _begin(self) -> None:
        """Make ready for a request."""
        self._head: Head | None = None
        self._target = b""
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        """Of a head that is whole."""
        self._received_bytes = 0
        """Of the request so far, as it is sent."""
        self._body = bytearray()
        self._is_whole = False
        self._is_kept = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by inheritance
        self._connections.open.add(self)
        self._expect(HEAD_TIMEOUT_S, self._close_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect(None)
        if self._head is not None and not self._is_whole and not self._is_deaf:
            self._application.refused("BODY_CUT_OFF", self._head)
        self._is_deaf = True
        self._transport = None
        self._connections.left(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # to nothing: a whole request is answered as what it is
        except httptools.HttpParserError:
            if not self._is_deaf:
                self._break()
            return
        if self._is_deaf or self._is_whole:
            return
        if self._head is None:
            if self._received_bytes > HEAD_BYTES_MAX:
                self._break()
        elif self._received_bytes > FRAMED_BYTES_MAX:
            self._refuse("BODY_TOO_LARGE")

    def end_if_idle(self) -> None:
        """End the connection now if nothing of a request is here, or with the answer to it."""
        self._is_kept = False
        if not self._received_bytes:
            self._close()

    def cut(self) -> None:
        """End the connection whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    def on_message_begin(self) -> None:
        if self._is_whole:  # and not answered
            self._is_deaf, self._is_kept = True, False
        elif not self._is_deaf:
            self._expect(HEAD_TIMEOUT_S, self._close_slow)

    def on_url(self, part: bytes) -> None:
        if not self._is_deaf:
            self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_deaf or self._head is not None:  # trailers say nothing
            return
        self._head_bytes += len(name) + len(value)
        self._headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        if self._is_deaf:
            return
        version = self._parser.get_http_version()
        is_http1 = version == "1.0" or (version == "1.1" and "host" in self._headers)
        if not is_http1 or self._head_bytes + len(self._target) > HEAD_BYTES_MAX:
            self._break()
            return
        head = Head(
            method=self._parser.get_method().decode("ascii"), path=_path_of(self._target), headers=self._headers
        )
        self._head = head
        self._is_kept = self._is_kept and self._parser.should_keep_alive() and not self._parser.should_upgrade()
        if len(self._connections.open) >= CONNECTIONS_MAX:
            self._refuse("TOO_MANY_CONNECTIONS")
        elif (refusal := self._application.refusal(head)) is not None:
            self._answer(refusal)
        else:
            self._expect(BODY_TIMEOUT_S, lambda: self._refuse("BODY_TOO_SLOW"))
            if self._headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if self._is_deaf:
            return
        self._body += part
        if len(self._body) > BODY_BYTES_MAX:
            self._refuse("BODY_TOO_LARGE")

    def on_message_complete(self) -> None:
        if self._is_deaf or self._head is None:
            return
        self._is_whole = True
        self._expect(None)
        task = detached(self._serve(self._head, bytes(self._body)), name="webhook")
        self._connections.tasks.add(task)
        task.add_done_callback(self._connections.tasks.discard)

    async def _serve(self, head: Head, body: bytes) -> None:
        try:
            answer = await self._application.receive(head, body)
        except Exception:  # a bug of ours; Stripe sends the event again
            _logger.exception("a webhook could not be received")
            answer = Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"{}", is_last=True)
        self._answer(answer)

    def _break(self) -> None:
        """Refuse what is broken: by the request's own answer where that is still to come, or there is no request."""
        if self._is_whole:
            self._is_deaf, self._is_kept = True, False
        else:
            self._refuse("REQUEST_BROKEN")

    def _refuse(self, reason: str) -> None:
        self._answer(self._application.refused(reason, self._head))

    def _answer(self, answer: Answer) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        is_last = answer.is_last or not self._is_kept or self._connections.is_ending
        self._transport.write(
            b"HTTP/1.1 %d %s\r\ndate: %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%s%s\r\n%s"
            % (
                answer.status,
                HTTPStatus(answer.status).phrase.encode(),
                formatdate(usegmt=True).encode(),
                len(answer.body),
                answer.headers,
                b"connection: close\r\n" if is_last else b"",
                b"" if self._head is not None and self._head.method == "HEAD" else answer.body,
            )
        )
        if is_last:
            self._close()
        else:
            self._begin()
            self._expect(KEEP_ALIVE_S, self._close)

    def _expect(self, seconds: float | None, otherwise: Callable[[], None] | None = None) -> None:
        """Do `otherwise` after so many seconds, and nothing else that was expected before."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None if seconds is None or otherwise is None else self._loop.call_later(seconds, otherwise)

    def _close_slow(self) -> None:
        if not self._is_deaf:
            self._application.refused("HEAD_TOO_SLOW")
        self._close()

    def _close(self) -> None:
        self._is_deaf = True
        self._expect(None)
        if self._transport is not None:
            self._transport.close()


def _path_of(target: bytes) -> str:
    try:
        return (httptools.parse_url(target).path or b"").decode("latin-1")
    except httptools.HttpParserInvalidURLError:
        return ""
