"""Health of a process that serves something else than gRPC, by the same protocol on a port of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from grpc import aio
from grpc_health.v1 import health_pb2_grpc

from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import READY
from services.runtime.rpc.health import Health, Probe, probed

LAST_WORDS_S = 0.2
"""Health checks take no time."""


@asynccontextmanager
async def answering_health(
    address: str | None, *, probe: Probe, draining: asyncio.Event, meter: Meter = OFF
) -> AsyncIterator[Health]:
    """Answer health checks at `address` while inside, if there is one; on the way out the process is draining."""
    health = Health(())
    ready = meter.gauge(READY)
    meter.read_when_asked(lambda: ready.set(health.is_ready))
    async with AsyncExitStack() as stack:
        if address is not None:
            server = aio.server()
            health_pb2_grpc.add_HealthServicer_to_server(health, server)
            server.add_insecure_port(address)
            await server.start()
            stack.push_async_callback(server.stop, LAST_WORDS_S)
        stack.callback(draining.set)
        stack.callback(health.drain)
        await stack.enter_async_context(probed(health, probe))
        yield health
