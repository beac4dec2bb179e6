"""Runs the gateway: `python -m services.gateway` serves, `… migrate` migrates.

`… repin acct_…` moves a tenant to another Stripe account, `… reconcile 7` has the last seven days compared with Stripe.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import Final, Self

from batzen.gateway.v1 import ops_pb2_grpc
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.access import TABLE
from services.gateway.metrics import STRIPE_KEY_REFUSED
from services.gateway.reconciliation.schedule import ScheduleSettings, schedule
from services.gateway.servicers.services import add_gateway_services
from services.gateway.settings import Settings, read_tenant
from services.gateway.stripe_api.key_rotation import KeyRotation
from services.gateway.stripe_api.limits import StripeLimits
from services.gateway.stripe_api.platform_account import repin
from services.gateway.webhooks.endpoint import Webhooks, endpoints_of
from services.gateway.webhooks.port import serving
from services.gateway.wiring import MIGRATIONS, SERVICE, gateway_parts
from services.runtime.process.clock import Clock
from services.runtime.process.lifecycle import StartRefused, until_terminated
from services.runtime.process.program import Command, Program
from services.runtime.process.service import read_owner_url, read_production
from services.runtime.process.settings import Reader
from services.runtime.rpc.channels import TokenDirectory, peer_channel

ACCOUNT_ID: Final = re.compile(r"acct_[A-Za-z0-9]{1,64}")

_logger = logging.getLogger(__name__)


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    stripe_key = settings.stripe_key.current()
    settings.process.arm(stripe_key=stripe_key)
    clock = Clock()
    async with AsyncExitStack() as stack:
        stack.enter_context(settings.process.observed(SERVICE))
        meter = await stack.enter_async_context(settings.process.metering())
        tokens = TokenDirectory(settings.token_directory)
        orchestrator = await stack.enter_async_context(
            peer_channel(settings.orchestrator_address, tokens=tokens, tls=settings.process.tls)
        )
        parts = await stack.enter_async_context(
            gateway_parts(
                settings.process.database_url,
                sink=GatewayEventSinkServiceStub(orchestrator),
                stripe_key=stripe_key,
                stripe_base=settings.stripe_base,
                personal_keys=settings.personal_keys,
                tenant_id=settings.tenant_id,
                stripe_limits=StripeLimits(settings.stripe_rates, clock=time.monotonic),
                reads_balance=True,
                polls_every=settings.polls_every,
                clock=clock,
                meter=meter,
            )
        )
        rotation = KeyRotation(
            settings.stripe_key,
            parts.provider,
            parts.account,
            in_use=stripe_key,
            is_refused=meter.gauge(STRIPE_KEY_REFUSED),
        )
        await stack.enter_async_context(rotation.following())
        await stack.enter_async_context(parts.work.running())
        endpoints = endpoints_of(
            settings.tenant_id, secrets=settings.webhook_secrets, connect_secrets=settings.connect_webhook_secrets
        )
        webhooks = Webhooks(parts.inbox, endpoints=endpoints, now=clock.now, metrics=parts.metrics.webhooks)
        await stack.enter_async_context(serving(webhooks, listen=settings.webhook_listen))
        await stack.enter_async_context(
            settings.process.server(
                partial(add_gateway_services, parts.servicers),
                partial(ops_pb2_grpc.add_GatewayOpsServiceServicer_to_server, parts.ops),
                access=TABLE,
                engine=parts.engine,
                meter=meter,
            )
        )
        await until_terminated()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepinSettings:
    """What is needed to move a tenant to another account."""

    owner_url: str = field(repr=False)
    tenant_id: str
    livemode: bool

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(owner_url=read_owner_url(read), tenant_id=read_tenant(read), livemode=read_production(read))


async def repin_tenant(settings: RepinSettings, arguments: Sequence[str]) -> None:
    """Do `repin acct_…`: let the next processes take a key of that account for BATZEN_TENANT."""
    if len(arguments) != 1 or not ACCOUNT_ID.fullmatch(arguments[0]):
        raise StartRefused("usage: python -m services.gateway repin acct_…")
    said = await repin(
        settings.owner_url, tenant_id=settings.tenant_id, account_id=arguments[0], livemode=settings.livemode
    )
    _logger.info(said)


PROGRAM: Final = Program(
    service=SERVICE,
    migrations=MIGRATIONS,
    read=Settings.read,
    serve=serve,
    commands={
        "repin": Command(read=RepinSettings.read, run=repin_tenant),
        "reconcile": Command(read=ScheduleSettings.read, run=schedule),
    },
)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])
