"""Runs the orchestrator: `python -m services.orchestrator` serves, `… migrate` migrates."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from functools import partial
from typing import Final

from batzen.gateway.v1.observation_pb2_grpc import add_GatewayEventSinkServiceServicer_to_server
from batzen.orchestrator.v1 import notifications_pb2_grpc, ops_pb2_grpc
from batzen.orchestrator.v1.booking_check_pb2_grpc import BookingCheckServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import add_OrchestratorServiceServicer_to_server
from services.access import TABLE
from services.orchestrator.request_runner import DRAIN_S
from services.orchestrator.settings import Settings
from services.orchestrator.webhooks_out.guard import DEVELOPMENT, Guard
from services.orchestrator.wiring import MIGRATIONS, SERVICE, orchestrator_parts
from services.runtime.database.connections import make_engine
from services.runtime.database.migrations import wait_for_schema
from services.runtime.process.clock import Clock
from services.runtime.process.lifecycle import until_terminated
from services.runtime.process.program import Program
from services.runtime.process.service import SCHEMA_WAIT_S
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from services.runtime.rpc.limits import Limits

LIMITS: Final = Limits(
    message_bytes_max=1_536 * 1024,  # 1,000 lines with every field at its longest have 1.2 MB
    streams_per_caller_max=2_048,  # a service watches notifications for all its users; ~50 KB each
)


async def _booking_check(
    settings: Settings, tokens: TokenDirectory, stack: AsyncExitStack
) -> BookingCheckServiceStub | None:
    """Return the platform's check of bookings, if it has one."""
    if settings.booking_check_address is None:
        return None
    channel = await stack.enter_async_context(
        peer_channel(settings.booking_check_address, tokens=tokens, tls=settings.process.tls)
    )
    return BookingCheckServiceStub(channel)


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    settings.process.arm()
    async with AsyncExitStack() as stack:
        stack.enter_context(settings.process.observed(SERVICE))
        meter = await stack.enter_async_context(settings.process.metering())
        engine = make_engine(settings.process.database_url, application_name=SERVICE, pool_size=2)
        stack.push_async_callback(engine.dispose)
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        tokens = TokenDirectory(settings.token_directory)
        pricing, status, gateway = [
            await stack.enter_async_context(peer_channel(peer, tokens=tokens, tls=settings.process.tls))
            for peer in (settings.pricing_address, settings.status_address, settings.gateway_address)
        ]
        parts = await stack.enter_async_context(
            orchestrator_parts(
                settings.process.database_url,
                pricing=pricing,
                status=status,
                gateway=gateway,
                booking_check=await _booking_check(settings, tokens, stack),
                allow_on_silence=settings.allow_on_silence,
                clock=Clock(),
                abandoned_after=settings.abandoned_after,
                surplus_refund=settings.surplus_refund,
                declines_max=settings.declines_max,
                reminded_before=settings.reminded_before,
                webhook_keys=settings.webhook_keys,
                webhook_guard=Guard() if settings.process.production else DEVELOPMENT,
                mail=settings.mail,
                meter=meter,
            )
        )
        await stack.enter_async_context(parts.work.running(grace_s=DRAIN_S))
        await stack.enter_async_context(
            settings.process.server(
                partial(add_OrchestratorServiceServicer_to_server, parts.servicer),
                partial(add_GatewayEventSinkServiceServicer_to_server, parts.sink),
                partial(
                    ops_pb2_grpc.add_OrchestratorOpsServiceServicer_to_server,
                    parts.ops,
                ),
                partial(
                    notifications_pb2_grpc.add_NotificationServiceServicer_to_server,
                    parts.notifications,
                ),
                access=TABLE,
                engine=engine,
                limits=LIMITS,
                meter=meter,
            )
        )
        await until_terminated()


PROGRAM: Final = Program(service=SERVICE, migrations=MIGRATIONS, read=Settings.read, serve=serve)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])
