"""The one way to serve gRPC here: hardened, identified, checked against the access table, observable, drained in order.

    async with running_server(partial(add_PricingServiceServicer_to_server, servicer), …) as server:
        await until_terminated()

Leaving the block: health says NOT_SERVING → `draining` is set and streams end themselves → unary calls finish → closed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

import grpc
from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import READY
from services.runtime.rpc import health as health_module
from services.runtime.rpc.access import Allow, check_table
from services.runtime.rpc.guard import Guard
from services.runtime.rpc.health import Health, Probe, probed
from services.runtime.rpc.issuers import Verifier
from services.runtime.rpc.limits import LAST_WORDS_S, Limits
from services.runtime.rpc.reflection import enable_reflection
from services.runtime.rpc.tls import TlsFiles

if TYPE_CHECKING:
    Handler = grpc.RpcMethodHandler[Any, Any]

Registration = Callable[[aio.Server], None]
"""Adds one servicer to a server: `partial(add_…Servicer_to_server, servicer)`."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningServer:
    """Where a server listens, once it does."""

    port: int
    health_port: int | None


@asynccontextmanager
async def running_server(
    *registrations: Registration,
    address: str,
    access: Mapping[str, Allow],
    verifier: Verifier,
    draining: asyncio.Event,
    now: Callable[[], datetime],
    limits: Limits | None = None,
    probe: Probe | None = None,
    health_address: str | None = None,
    reflected: bool = False,
    tls: TlsFiles | None = None,
    meter: Meter = OFF,
) -> AsyncIterator[RunningServer]:
    """Serve while inside. Port 0 lets the system choose.

    `access` must rule every registered method; ValueError otherwise. `draining` is the event that the servicers'
    streams wait for, too. `probe` decides about readiness. `health_address` is a second, plaintext port for health
    alone, since Kubernetes' probes speak no TLS. RuntimeError if a port is taken.
    """
    limits = limits or Limits()
    handlers = _collected(registrations)
    check_table(access, methods=[f"/{service}/{name}" for service, methods in handlers.items() for name in methods])
    guard = Guard(verifier=verifier, limits=limits, draining=draining, now=now, meter=meter)
    health = Health(handlers)
    ready = meter.gauge(READY)
    meter.read_when_asked(lambda: ready.set(health.is_ready))

    server = aio.server(options=limits.options())
    for service, methods in handlers.items():
        guarded = {
            name: guard.wrap(f"/{service}/{name}", handler, rule=access[f"/{service}/{name}"])
            for name, handler in methods.items()
        }
        # Not as registered methods: grpc.aio then waits for each of them anew with every call, at ~1 µs a method.
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, guarded),))
    # Health and reflection need no identity and are not logged: they are asked every few seconds, by machines.
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    if reflected:
        enable_reflection((*handlers, health_module.SERVICE_NAME), server)

    async with AsyncExitStack() as stack:
        port = _listen(server, address, tls=tls)
        await server.start()
        stack.push_async_callback(_stop, server, guard, grace_s=limits.stop_grace_s)
        health_port = None
        if health_address is not None:
            health_server = aio.server(options=limits.options())
            health_pb2_grpc.add_HealthServicer_to_server(health, health_server)
            health_port = _listen(health_server, health_address, tls=None)
            await health_server.start()
            stack.push_async_callback(health_server.stop, LAST_WORDS_S)  # its calls take no time
        stack.callback(_drain, health, draining, guard)
        await stack.enter_async_context(probed(health, probe))
        _logger.info("Serving on port %d", port)
        yield RunningServer(port=port, health_port=health_port)


def _drain(health: Health, draining: asyncio.Event, guard: Guard) -> None:
    health.drain()
    draining.set()
    guard.end_streams()


async def _stop(server: aio.Server, guard: Guard, *, grace_s: float) -> None:
    """Let the calls being served come to their end, for the grace at most, and their answers reach who reads them.

    By itself gRPC waits the whole grace for a single stream whose reader does not read.
    """
    stopping = asyncio.ensure_future(server.stop(grace_s))
    while not stopping.done():
        idle = asyncio.ensure_future(guard.until_idle())
        await asyncio.wait((stopping, idle), return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        await asyncio.wait((stopping,), timeout=LAST_WORDS_S)
        if guard.is_idle:
            await server.stop(None)
            break
    await stopping


def _listen(server: aio.Server, address: str, *, tls: TlsFiles | None) -> int:
    """Open the port, and return its number."""
    if tls is None:
        return server.add_insecure_port(address)
    return server.add_secure_port(address, tls.server_credentials())


def _collected(registrations: tuple[Registration, ...]) -> dict[str, dict[str, Handler]]:
    """Return the handlers that the registrations add, by service and method."""
    collector = _Collector()
    for register in registrations:
        register(cast("aio.Server", collector))
    return collector.handlers


class _Collector:
    """Takes the place of a server in generated code, which hands each service over in these two ways."""

    def __init__(self) -> None:
        self.handlers: dict[str, dict[str, Handler]] = {}

    def add_generic_rpc_handlers(self, _: object) -> None:
        """Pass over what also comes in the form below, where methods have their names."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Handler]) -> None:
        self.handlers[service_name] = dict(method_handlers)
