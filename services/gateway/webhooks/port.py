"""The port of webhooks: HTTP/1.1 for whoever knocks, with limits on size, time and number. TLS ends before us.

What is not HTTP is answered and counted like any other refusal, and leaves no traceback: anybody can send it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from services.gateway.webhooks.refusals import Refusals

HEAD_BYTES_MAX: Final = 16 * 1024
HEAD_TIMEOUT_S: Final = 5.0
"""For the request line and headers of a request, from its first byte or that of the connection."""
KEEP_ALIVE_S: Final = 75
"""Longer than Stripe and the usual proxies keep an idle connection, so that they end it, and not we under a request."""
CONNECTIONS_MAX: Final = 1_000
"""Open at once; beyond it the answer is 503. Stripe's bursts stay below 100."""
STOP_GRACE_S: Final = 3.0
"""For requests under way when the process ends."""
BROKEN: Final = "batzen.broken"
"""In the scope of a request that turned out to be broken and was answered so, before the application could."""

_BODY: Final = b'{"reason":"REQUEST_BROKEN"}'
_BROKEN_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s"
    % (len(_BODY), _BODY)
)
_logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def serving(app: Starlette, *, listen: str) -> AsyncIterator[int]:
    """Serve `app` on `host:port` while inside and yield the port; port 0 takes a free one.

    At the end no connection is taken any more, and requests under way get `STOP_GRACE_S`.
    """
    with contextlib.closing(_listening(listen)) as listener:
        server = _Server(
            uvicorn.Config(
                app,
                http=partial(_Protocol, refusals=app.state.refusals),  # type: ignore[arg-type]  # it is only called
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS_MAX,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=int(STOP_GRACE_S),
                h11_max_incomplete_event_size=HEAD_BYTES_MAX,
            )
        )
        task = asyncio.create_task(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


def _listening(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    # Named as TCP, or asyncio leaves Nagle's algorithm on, and an answer waits 40 ms for Stripe's acknowledgement.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), int(port)))
        listener.listen(CONNECTIONS_MAX)
    except OSError:
        listener.close()
        raise
    return listener


class _Server(uvicorn.Server):
    """uvicorn inside a process that has its own idea of signals and of its end."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]  # uvicorn's own annotation is a generator's
        yield


class _Protocol(H11Protocol):
    """uvicorn's own, which waits for a head for ever and raises when a broken request was already answered."""

    def __init__(self, *arguments: Any, refusals: Refusals, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.logger = _HttpLog(refusals)  # type: ignore[assignment]  # as much of one as is used
        self._refusals = refusals
        self._is_broken = False
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_watch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_broken:  # what follows means nothing any more
            super().data_received(data)

    def handle_events(self) -> None:
        super().handle_events()
        self._watch_head()

    def _should_upgrade(self) -> bool:
        return False

    def send_400_response(self, msg: str) -> None:
        """Refuse what is broken: by the request's own answer where that is still to come, or there is no request."""
        self._is_broken = True
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            if self.conn.our_state is h11.IDLE:
                self._refusals.note("REQUEST_BROKEN", fields={"status": 400})
                self.transport.write(_BROKEN_ANSWER)
        elif not cycle.response_started:
            cycle.scope[BROKEN] = True  # type: ignore[typeddict-unknown-key]  # the application counts it
            self.transport.write(_BROKEN_ANSWER)
            cycle.disconnected = True
            cycle.message_event.set()
        self.transport.close()

    def _watch_head(self) -> None:
        is_due = self.conn.their_state is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))
        if not is_due or self._is_broken:
            self._end_watch()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._close_slow)

    def _end_watch(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_slow(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refusals.note("HEAD_TOO_SLOW", fields={})
            self.transport.close()


class _HttpLog:
    """Takes what uvicorn logs of a connection: what is refused is counted, a fault of ours is logged."""

    level = logging.WARNING

    def __init__(self, refusals: Refusals) -> None:
        self._refusals = refusals
        self.error = _logger.error

    def warning(self, message: str) -> None:
        if message == "Exceeded concurrency limit.":
            self._refusals.note("TOO_MANY_CONNECTIONS", fields={"status": 503})
