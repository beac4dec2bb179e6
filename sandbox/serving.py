"""Run the sandbox: as a process of its own, or inside a test's event loop."""

import contextlib
import random
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import FrameType

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from sandbox import schema
from sandbox.app import Api
from sandbox.controls import Controls
from sandbox.page import Authentication
from sandbox.settings import Settings
from sandbox.state import Sandbox

_BACKLOG = 2048
_STOP_GRACE_S = 1  # for requests under way; held connections are let go at once
_FREE_PORTS = (20_000, 32_767)  # below the range the kernel hands out for outgoing connections
_PORT_TRIES_MAX = 50


class _Server(uvicorn.Server):
    """uvicorn, told to let go of held connections when it is told to stop."""

    def __init__(self, config: uvicorn.Config, *, api: Api, signals: bool) -> None:
        super().__init__(config)
        self._api = api
        self._signals = signals

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._api.stopping.set()
        super().handle_exit(sig, frame)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        if not self._signals:
            yield
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield  # a signal is a clean end here, not to be raised again
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def build(sandbox: Sandbox) -> Api:
    """Return the application over a sandbox's state."""
    authentication = Authentication(sandbox)
    controls = Controls(sandbox, resume=lambda: api.resume())
    rest = Starlette(
        routes=[
            Route("/3ds/{intent}", authentication.show, methods=["GET"]),
            Route("/3ds/{intent}", authentication.decide, methods=["POST"]),
            *controls.routes(),
        ]
    )
    api = Api(sandbox, rest=rest)
    return api


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    sandbox = Sandbox(settings, schema=schema.load(), port=settings.port)
    api = build(sandbox)
    with _listening(settings.host, settings.port) as listener:
        await _Server(_config(api), api=api, signals=True).serve([listener])
    await sandbox.delivery.close()


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Sandbox]:
    """Run a sandbox in this event loop, on a free port unless one is set; its `base_url` says where."""
    settings = settings or Settings(port=0, check_answers=True)
    with _listening(settings.host, settings.port) as listener:
        sandbox = Sandbox(settings, schema=schema.load(), port=listener.getsockname()[1])
        api = build(sandbox)
        server = _Server(_config(api), api=api, signals=False)
        config = server.config
        config.load()
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listener])
        try:
            async with _ticking(server):
                yield sandbox
        finally:
            api.stopping.set()
            sandbox.agenda.clear()
            await sandbox.delivery.close()


@asynccontextmanager
async def _ticking(server: uvicorn.Server) -> AsyncIterator[None]:
    try:
        yield
    finally:
        server.should_exit = True
        await server.shutdown()


def _config(api: Api) -> uvicorn.Config:
    return uvicorn.Config(
        api,
        loop="asyncio",
        http="h11",
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        server_header=False,
        timeout_graceful_shutdown=_STOP_GRACE_S,
    )


def _listening(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 means a free one below the ephemeral range."""
    if port:
        return _bound(host, port)
    for _ in range(_PORT_TRIES_MAX):
        try:
            return _bound(host, random.randint(*_FREE_PORTS))
        except OSError:
            continue
    raise OSError(f"No free port found in {_FREE_PORTS} after {_PORT_TRIES_MAX} tries.")


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named as TCP, or asyncio does not switch Nagle's algorithm off: 40 ms for every answer after the first.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
