"""A gateway that does nothing by itself, with a Stripe of its own at which nothing settles before it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg

from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub
from sandbox.control import SandboxControl
from sandbox.serving import running
from sandbox.settings import Settings
from services.gateway.webhooks.endpoint import CONNECT_PATH, PLATFORM_PATH
from services.runtime.rpc.call_context import acting_for
from tests.clock import Clock
from tests.gateway.conftest import Gateway, settle_each_in_its_own
from tests.gateway.receiving import CONNECT_SECRET, SECRET, receiving
from tests.gateway.samples import Payments, new_id
from tests.gateway.settling import TENANT

RATE: Final = {"eur": "0.95"}
ROUNDS_MAX: Final = 40
"""Of due work until nothing is due any more."""


@dataclass(kw_only=True)
class World:
    """A gateway, its Stripe, and who sells."""

    replica: Gateway
    payments: Payments
    ops: GatewayOpsServiceStub
    stripe: SandboxControl
    account: str
    clock: Clock
    connection: asyncpg.Connection

    async def seller(self) -> tuple[str, str]:
        """Return a new seller who can be paid, and its account."""
        seller_id = new_id("seller")
        return seller_id, (await self.payments.prepare_seller(seller_id)).stripe_account_id

    async def work(self) -> None:
        """Do all that is due."""
        for _ in range(ROUNDS_MAX):
            if not await self.replica.parts.work.once():
                return

    async def advance(self, seconds: float) -> None:
        """Let time go by, here and at Stripe."""
        self.clock.advance(timedelta(seconds=seconds))
        await self.stripe.advance(seconds)

    async def read_balance(self) -> None:
        """Let the balance transactions be read and booked that there are."""
        with acting_for(TENANT):
            assert await self.replica.parts.imports.read_on(TENANT)


@asynccontextmanager
async def stripe_that_waits(seed: int) -> AsyncIterator[SandboxControl]:
    """A stand-in of its own, at which nothing settles before it is told to."""
    settings = Settings(port=0, check_answers=True, seed=seed, settle_delay_s=3_000, retry_backoff_s=0.01)
    async with running(settings) as sandbox, SandboxControl(sandbox.base_url) as control:
        yield control


@asynccontextmanager
async def money_world(
    replica: Gateway, stripe: SandboxControl, clock: Clock, connection: asyncpg.Connection
) -> AsyncIterator[World]:
    """Connect a gateway that does nothing by itself with its Stripe."""
    async with (
        receiving(replica.parts.inbox, clock=Clock()) as sender,  # Stripe signs by the real time
        replica.connect() as stubs,
        replica.connect_ops() as ops,
    ):
        await stripe.endpoint(f"{sender.base_url}{PLATFORM_PATH}", secrets=[SECRET])
        await stripe.endpoint(f"{sender.base_url}{CONNECT_PATH}", secrets=[CONNECT_SECRET], connect=True)
        account = await replica.parts.provider.own_account_id()
        await stripe.settle_in(account, "chf", rates=RATE)
        yield World(
            replica=replica,
            payments=Payments(stubs, stripe),
            ops=ops,
            stripe=stripe,
            account=account,
            clock=clock,
            connection=connection,
        )
        await settle_each_in_its_own(stripe, account)
