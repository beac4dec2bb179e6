"""Puts the sandbox on a port: Stripe's API, the 3-D Secure page and the controls behind one application."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from sandbox import schema
from sandbox.app import Api
from sandbox.page import Authentication
from sandbox.settings import Settings
from sandbox.state import Sandbox

_GRACE_S = 1  # for answers on their way; whoever waits for a fault on order is let go at once
_BACKLOG = 2048  # connections waiting to be accepted; a load test opens all of its own at once


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Sandbox]:
    """Serve while inside; connections are taken from the first line of the block on. Raises OSError for a taken port."""
    with _listener(settings) as listener:
        sandbox = Sandbox(settings, schema=schema.load(), port=listener.getsockname()[1])
        api = _application(sandbox)
        server = _Server(_config(api))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.listening.wait()
            yield sandbox
        finally:
            api.stopping.set()
            server.should_exit = True
            await serving
            await sandbox.close()


def _application(sandbox: Sandbox) -> Api:
    page = Authentication(sandbox)
    rest = Starlette(
        routes=[
            Route("/3ds/{intent}", page.show, methods=["GET"]),
            Route("/3ds/{intent}", page.decide, methods=["POST"]),
        ]
    )
    return Api(sandbox, rest=rest)


def _config(api: Api) -> uvicorn.Config:
    return uvicorn.Config(
        api,
        lifespan="off",
        backlog=_BACKLOG,
        access_log=False,
        log_level="error",
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )


@contextlib.contextmanager
def _listener(settings: Settings) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # Named as TCP, or asyncio does not switch Nagle's algorithm off: 40 ms for every answer after the first.
    with socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        yield listener


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to the process it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
