"""The HTTP server of a front: uvicorn, started by hand, which ends when we say so.

By its own way uvicorn takes the process's signals and cuts open streams with a traceback each. Here whoever streams is
told first (`draining`), ends by itself, and the server is shut down after that. Meanwhile each answer is the last on
its connection, those that had begun before too, so that no request comes on one just as it is closed. Of one that is
silent nobody can know whether a request is on its way: it is waited for, for as long as the settings say.
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
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.runtime.work.loops import detached
from services.web.connection import Connection, Peers
from services.web.events.streams import Streaming
from services.web.peers import TIMEOUT_S
from services.web.settings import PARTING_S

BACKLOG: Final = 2048
KEEP_ALIVE_S: Final = 75
"""Longer than a proxy keeps an idle connection, so that it ends it and never we under a request."""
SEND_BUFFER_BYTES: Final = 64 * 1024
"""What the kernel holds for one who does not read; without it about 4 MB."""
UNSENT_MAX_MS: Final = 30_000
"""How long the kernel keeps what a peer does not take, whether it reads nothing or is gone."""
STOP_GRACE_S: Final = int(TIMEOUT_S) + 2
"""For answers on their way, which may wait for a call: a restart is no reason to leave a payer without one."""
LOOK_EVERY_S: Final = 0.05
CONNECTIONS_MAX: Final = 12_000
"""Streams and requests at once; beyond it 503."""

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def serving(
    app: ASGIApp,
    *,
    listen: str,
    draining: asyncio.Event,
    trusted_proxies: Sequence[str] = (),
    parting_s: float = PARTING_S,
) -> AsyncIterator[int]:
    """Serve while inside, and yield the port. On the way out streams are told to end, connections that are silent get
    `parting_s`, in which new ones are taken too, then the server is stopped.

    OSError if the port is taken.
    """
    trusted = list(trusted_proxies)
    config = uvicorn.Config(
        Streaming(ProxyHeadersMiddleware(app, trusted_hosts=trusted)),  # type: ignore[arg-type]
        http=partial(Connection, peers=Peers(trusted_proxies), draining=draining),  # type: ignore[arg-type] # called as the class is
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
        last_words = detached(_let_part(server, draining), name="connections' end")
        try:
            yield port
        finally:
            draining.set()
            await last_words
            await _parted(server, parting_s)
            await server.shutdown(sockets=[listener])


async def _let_part(server: uvicorn.Server, draining: asyncio.Event) -> None:
    """Once the process ends, have what is being answered be the last on its connection; what comes sees to itself."""
    await draining.wait()
    for connection in list(server.server_state.connections):
        if isinstance(connection, Connection):
            connection.part()


async def _parted(server: uvicorn.Server, parting_s: float) -> None:
    """Wait until nobody is connected, or long enough for everybody to have been told."""
    for _ in range(round(parting_s / LOOK_EVERY_S)):
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
