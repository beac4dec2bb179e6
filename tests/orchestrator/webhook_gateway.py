"""Another replica of the gateway, which takes Stripe's webhooks, and does what is due when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.gateway.webhooks.endpoint import PLATFORM_PATH, Webhooks, endpoints_of
from services.gateway.webhooks.port import serving
from services.gateway.wiring import gateway_parts
from services.runtime.process.followed import Followed
from services.runtime.process.lifecycle import utc_now
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from services.runtime.work.engine import Engine
from tests.orchestrator.conftest import World
from tests.personal import PERSONAL_KEYS

SECRET: Final = "whsec_of_tests"
TRY_TIMEOUT_S: Final = 1.0
"""Of one try at the stand-in, which answers in milliseconds unless it was told not to."""


@asynccontextmanager
async def webhooks_on(world: World, folder: Path) -> AsyncIterator[Engine]:
    """Have Stripe's webhooks delivered while inside; give what the gateway does by itself, to be run at will."""
    world.issuer.write_service_tokens(folder, services=("gateway",), tenants=("main",))
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(
            peer_channel(world.address("orchestrator"), tokens=TokenDirectory(folder / "gateway"))
        )
        parts = await stack.enter_async_context(
            gateway_parts(
                world.gateway_database.runtime_url,
                sink=GatewayEventSinkServiceStub(sink),
                stripe_key=world.stripe_key,
                stripe_base=world.stripe.base_url,
                personal_keys=PERSONAL_KEYS,
                clock=world.clock,
                try_timeout_s=TRY_TIMEOUT_S,
            )
        )
        # Deliveries are signed at the real time, however far the clocks of a test were moved.
        webhooks = Webhooks(parts.inbox, endpoints=endpoints_of("main", secrets=Followed((SECRET,))), now=utc_now)
        port = await stack.enter_async_context(serving(webhooks, listen="127.0.0.1:0"))
        url = f"http://127.0.0.1:{port}{PLATFORM_PATH}"
        await world.stripe.endpoint(url, secrets=[SECRET])
        yield parts.work
        await world.stripe.webhooks()
        await world.stripe.endpoint(url, secrets=[SECRET], enabled_events=[])
        await world.stripe.drain()
