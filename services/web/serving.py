"""The HTTP server of a front: uvicorn, started by hand, which ends when we say so.

By its own way uvicorn takes the process's signals and cuts open streams with a traceback each. Here whoever streams is
told first (`draining`), ends by itself, and the server is shut down after that.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from services.web.connection import Connection

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75
"""Longer than a proxy keeps an idle connection, so that it ends it and never we under a request."""
SEND_BUFFER_BYTES: Final = 64 * 1024
"""What the kernel holds for one who does not read; without it about 4 MB."""
UNSENT_MAX_MS: Final = 30_000
"""How long the kernel keeps what a peer does not take, whether it reads nothing or is gone."""
STOP_GRACE_S: Final = 5
"""For answers on their way."""
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
    config = uvicorn.Config(
        app,
        http=Connection,
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
        proxy_headers=True,
        forwarded_allow_ips=list(trusted_proxies),
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
            await server.shutdown(sockets=[listener])


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
