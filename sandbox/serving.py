"""Run the sandbox: as a process of its own, or inside a test's event loop."""

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Route

from sandbox import schema
from sandbox.app import Api
from sandbox.controls import Controls
from sandbox.hosted import HostedPage
from sandbox.keeper import Keeper
from sandbox.onboarding import OnboardingPage
from sandbox.overview_page import OverviewPage
from sandbox.page import Authentication
from sandbox.settings import Settings
from sandbox.state import Sandbox

_BACKLOG = 2048  # connections waiting to be accepted; a load test opens all of its own at once
_KEEP_ALIVE_S = (
    75  # longer than any client of ours keeps an idle connection: so they end it, and never we under a request
)
_STOP_GRACE_S = 1  # for answers on their way; held connections are let go at once
_FREE_PORTS = (20_000, 32_767)  # below the range the kernel hands out for outgoing connections
_PORT_TRIES_MAX = 50


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError if the port is taken."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with running(settings):
        await ended.wait()


@asynccontextmanager
async def running(settings: Settings | None = None) -> AsyncIterator[Sandbox]:
    """Serve while inside, by default on a free port and checking every answer; `base_url` says where."""
    settings = settings or Settings(port=0, check_answers=True)
    with _listener(settings.host, settings.port) as listener:
        sandbox = Sandbox(settings, schema=schema.load(), port=listener.getsockname()[1])
        keeper = _keeper(sandbox)
        api = build(sandbox)
        server = await _started(api, listener)
        try:
            yield sandbox
        finally:
            api.stopping.set()
            await server.shutdown()
            await sandbox.close()
            if keeper is not None:
                keeper.close()


def _keeper(sandbox: Sandbox) -> Keeper | None:
    """Take up what the state file holds, and keep it up to date from here on."""
    if sandbox.settings.state_file is None:
        return None
    keeper = Keeper(sandbox, sandbox.settings.state_file)
    keeper.read()
    sandbox.changed, sandbox.keep = keeper.note, keeper.write
    return keeper


def build(sandbox: Sandbox) -> Api:
    """Return the application over a sandbox's state."""
    authentication = Authentication(sandbox)
    hosted = HostedPage(sandbox)
    onboarding = OnboardingPage(sandbox)
    controls = Controls(sandbox)
    rest = Starlette(
        routes=[
            Route("/3ds/{intent}", authentication.show, methods=["GET"]),
            Route("/3ds/{intent}", authentication.decide, methods=["POST"]),
            Route("/c/pay/{session}", hosted.show, methods=["GET"]),
            Route("/c/pay/{session}", hosted.pay, methods=["POST"]),
            Route("/setup/{account}/{token}", onboarding.show, methods=["GET"]),
            Route("/setup/{account}/{token}", onboarding.submit, methods=["POST"]),
            *sandbox.elements.routes(),
            *OverviewPage(sandbox).routes(),
            *controls.routes(),
        ]
    )
    return Api(sandbox, rest=rest)


async def _started(api: Api, listener: socket.socket) -> uvicorn.Server:
    """Start uvicorn by hand: its own way takes over the process's signals and looks every 100 ms whether to stop."""
    config = uvicorn.Config(
        api,
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
        backlog=_BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        date_header=False,
        server_header=False,
        timeout_graceful_shutdown=_STOP_GRACE_S,
    )
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup(sockets=[listener])
    return server


def _listener(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 means a free one below the ephemeral range."""
    if port:
        return _bound(host, port)
    for _ in range(_PORT_TRIES_MAX):
        try:
            return _bound(host, random.SystemRandom().randint(*_FREE_PORTS))  # tests seed the other one all alike
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
