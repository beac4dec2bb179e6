"""The HTTP server of a front: uvicorn, started by hand, which ends when we say so.

By its own way uvicorn takes the process's signals and cuts open streams with a traceback each. Here whoever streams is
told first (`draining`), ends by itself, and the server is shut down after that. Meanwhile each answer says that it is
the last on its connection, so that no request comes on one just as it is closed.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

import uvicorn
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.web.connection import Connection, Peers
from services.web.events.streams import Streaming

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75
"""Longer than a proxy keeps an idle connection, so that it ends it and never we under a request."""
SEND_BUFFER_BYTES: Final = 64 * 1024
"""What the kernel holds for one who does not read; without it about 4 MB."""
UNSENT_MAX_MS: Final = 30_000
"""How long the kernel keeps what a peer does not take, whether it reads nothing or is gone."""
STOP_GRACE_S: Final = 5
"""For answers on their way."""
PARTING_S: Final = 2.0
"""In which who asks again and again hears that a connection ends; one that was silent for so long is closed."""
LOOK_EVERY_S: Final = 0.05
CONNECTIONS_MAX: Final = 12_000
"""Streams and requests at once; beyond it 503."""

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    app: ASGIApp, *, listen: str, draining: asyncio.Event, trusted_proxies: Sequence[str] = ()
) -> AsyncIterator[int]:
    """Serve while inside, and yield the port. On the way out streams are told to end, then the server is stopped.

    OSError if the port is taken.
    """
    trusted = list(trusted_proxies)
    config = uvicorn.Config(
        Streaming(ProxyHeadersMiddleware(Parting(app, draining), trusted_hosts=trusted)),  # type: ignore[arg-type]
        http=partial(Connection, peers=Peers(trusted_proxies)),  # type: ignore[arg-type] # called as the class is
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=STOP_GRACE_S,
        limit_concurrency=CONNECTIONS_MAX,
        date_header=False,
        server_header=False,
        proxy_headers=False,  # within `Streaming`, since it holds what it read for as long as it is answered
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    with _listener(listen) as listener:
        await server.startup(sockets=[listener])
        port: int = listener.getsockname()[1]
        _logger.info("Serving pages on port %d", port)
        try:
            yield port
        finally:
            draining.set()
            await _parted(server)
            await server.shutdown(sockets=[listener])


class Parting:
    """Around an application: once the process ends, each answer is the last on its connection."""

    def __init__(self, inner: ASGIApp, draining: asyncio.Event) -> None:
        self._inner = inner
        self._draining = draining

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def last(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(raw=message.setdefault("headers", []))["connection"] = "close"
            await send(message)

        await self._inner(scope, receive, last if self._draining.is_set() else send)


async def _parted(server: uvicorn.Server) -> None:
    """Wait until nobody is connected, or long enough for everybody to have been told."""
    for _ in range(round(PARTING_S / LOOK_EVERY_S)):
        if not server.server_state.connections:
            return
        await asyncio.sleep(LOOK_EVERY_S)


def _listener(listen: str) -> socket.socket:
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio does not switch Nagle's algorithm off.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNSENT_MAX_MS)
        listener.bind((host, int(port)))
    except OSError:
        listener.close()
        raise
    return listener
