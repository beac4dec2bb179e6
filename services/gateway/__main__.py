"""Builds the gateway and runs it: `python -m services.gateway` serves, `… migrate` migrates."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Self

import stripe
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.gateway.v1 import ops_pb2_grpc
from batzen.gateway.v1.gateway_pb2_grpc import add_GatewayServiceServicer_to_server
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.access import TABLE
from services.gateway.calls import Calls, Operation
from services.gateway.customers import Customers
from services.gateway.delivery import DELIVER, Deliveries
from services.gateway.inbox import PROCESS, Inbox
from services.gateway.intents import CancelIntent, ConfirmIntent, CreateIntent
from services.gateway.observer import Observer
from services.gateway.provider import TRY_TIMEOUT_S, Provider
from services.gateway.refunds import CreateRefund
from services.gateway.sellers import Sellers
from services.gateway.servicer import GatewayServicer
from services.gateway.store import Store
from services.gateway.sweep import sweeping
from services.gateway.webhooks import endpoints_of, make_app, serving
from services.runtime import points
from services.runtime.clients import TokenDirectory, peer_channel
from services.runtime.database import HeldConnections, make_engine, ping, role_of
from services.runtime.identity import TokenVerifier
from services.runtime.jobs import JobQueue
from services.runtime.keys import KeySet
from services.runtime.migrations import migrate, wait_for_schema
from services.runtime.process import run, until_terminated, utc_now
from services.runtime.server import running_server
from services.runtime.settings import Secret, address, directory, each_of, flag, one_of, reading, text
from services.runtime.tls import TlsFiles
from services.runtime.worker import running_worker

SERVICE: Final = "gateway"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
TENANT: Final = "main"
"""A tenant is one Stripe platform account, and a process has the key of one."""
SCHEMA_WAIT_S: Final = 60.0
"""For the migration that is started beside us."""
HELD_CONNECTIONS: Final = 8
"""Every statement takes less than a millisecond, and no call keeps a connection while Stripe works."""
LIVE_KEYS: Final = ("sk_live_", "rk_live_")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a serving process needs to know."""

    listen: str
    health_listen: str | None
    webhook_listen: str
    reflected: bool
    database_url: str = field(repr=False)
    jwks: str
    token_issuer: str
    token_audience: str
    token_directory: Path
    orchestrator_address: str
    stripe_key: str = field(repr=False)
    stripe_base: str | None
    webhook_secrets: tuple[str, ...] = field(repr=False)
    connect_webhook_secrets: tuple[str, ...] = field(repr=False)
    tls: TlsFiles | None
    production: bool
    crash_record: Path | None
    crash_file: Path | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; raises `SettingsError` naming all that are missing or wrong."""
        with reading(environ) as read:
            production = read("BATZEN_ENVIRONMENT", one_of("development", "production")) == "production"

            def stripe_key(value: str) -> str:
                if value.startswith(LIVE_KEYS) and not production:
                    raise ValueError("is a live key, and BATZEN_ENVIRONMENT is not production")
                return Secret(value)

            return cls(
                listen=read("BATZEN_LISTEN", address, default="127.0.0.1:7004"),
                health_listen=read("BATZEN_HEALTH_LISTEN", address, default=None),
                webhook_listen=read("BATZEN_WEBHOOK_LISTEN", address, default="127.0.0.1:7104"),
                reflected=read("BATZEN_REFLECTION", flag, default=False),
                database_url=read("BATZEN_RUNTIME_DATABASE_URL", Secret),
                jwks=read("BATZEN_JWKS", text),
                token_issuer=read("BATZEN_TOKEN_ISSUER", text),
                token_audience=read("BATZEN_TOKEN_AUDIENCE", text),
                token_directory=read("BATZEN_TOKEN_DIRECTORY", directory),
                orchestrator_address=read("BATZEN_ORCHESTRATOR_ADDRESS", address),
                stripe_key=read("STRIPE_API_KEY", stripe_key),
                stripe_base=read("STRIPE_API_BASE", text, default=None),
                webhook_secrets=read("BATZEN_STRIPE_WEBHOOK_SECRETS", each_of(Secret)),
                connect_webhook_secrets=read("BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS", each_of(Secret), default=()),
                tls=TlsFiles.from_environ(environ),
                production=production,
                crash_record=read("BATZEN_CRASH_RECORD", Path, default=None),
                crash_file=read("BATZEN_CRASH_FILE", Path, default=None),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The gateway without its ports."""

    database_url: str = field(repr=False)
    engine: AsyncEngine
    store: Store
    servicer: GatewayServicer
    calls: Calls
    observer: Observer
    sellers: Sellers
    inbox: Inbox
    deliveries: Deliveries

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Process events, make deliveries and settle calls while inside."""
        handlers = {PROCESS: self.inbox.process, DELIVER: self.deliveries.deliver}
        async with (
            running_worker(self.database_url, handlers=handlers, application_name=f"{SERVICE}-jobs"),
            sweeping(self.calls),
        ):
            yield


@asynccontextmanager
async def gateway_parts(
    database_url: str,
    *,
    sink: GatewayEventSinkServiceStub,
    stripe_key: str,
    stripe_base: str | None,
    now: Callable[[], datetime],
    try_timeout_s: float = TRY_TIMEOUT_S,
) -> AsyncIterator[Parts]:
    """Build the gateway on its database, which must be migrated or about to be."""
    async with AsyncExitStack() as stack:
        engine = make_engine(database_url, application_name=SERVICE)
        stack.push_async_callback(engine.dispose)
        held = await stack.enter_async_context(
            HeldConnections(database_url, application_name=SERVICE, size=HELD_CONNECTIONS)
        )
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        queue = await stack.enter_async_context(JobQueue(engine))
        provider = Provider(stripe_key, api_base=stripe_base, try_timeout_s=try_timeout_s)
        stack.push_async_callback(provider.close)
        deliveries = Deliveries(held, queue, sink, now=now)
        store = Store(engine, held, deliveries)
        operations: list[Operation] = [
            CreateIntent(provider),
            ConfirmIntent(provider),
            CancelIntent(provider),
            CreateRefund(provider),
        ]
        calls = Calls(store, operations, now=now)
        observer = Observer(store, calls, provider, now=now)
        sellers = Sellers(held, provider, now=now)
        yield Parts(
            database_url=database_url,
            engine=engine,
            store=store,
            servicer=GatewayServicer(  # type: ignore[abstract]  # RPCs that are only announced answer UNIMPLEMENTED
                store=store,
                calls=calls,
                observer=observer,
                customers=Customers(held, provider, now=now),
                sellers=sellers,
                provider=provider,
                now=now,
            ),
            calls=calls,
            observer=observer,
            sellers=sellers,
            inbox=Inbox(
                engine,
                held,
                queue,
                observer,
                sellers,
                api_version=stripe.api_version,
                livemode=stripe_key.startswith(LIVE_KEYS),
                now=now,
            ),
            deliveries=deliveries,
        )


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    points.configure(
        record=settings.crash_record,
        armed=settings.crash_file,
        production=settings.production,
        stripe_key=settings.stripe_key,
    )
    async with AsyncExitStack() as stack:
        tokens = TokenDirectory(settings.token_directory)
        orchestrator = await stack.enter_async_context(
            peer_channel(settings.orchestrator_address, tokens=tokens, tls=settings.tls)
        )
        parts = await stack.enter_async_context(
            gateway_parts(
                settings.database_url,
                sink=GatewayEventSinkServiceStub(orchestrator),
                stripe_key=settings.stripe_key,
                stripe_base=settings.stripe_base,
                now=utc_now,
            )
        )
        await stack.enter_async_context(parts.working())
        endpoints = endpoints_of(
            TENANT, secrets=settings.webhook_secrets, connect_secrets=settings.connect_webhook_secrets
        )
        app = make_app(parts.inbox, endpoints=endpoints, now=utc_now)
        await stack.enter_async_context(serving(app, listen=settings.webhook_listen))
        await stack.enter_async_context(
            running_server(
                partial(add_GatewayServiceServicer_to_server, parts.servicer),
                partial(
                    ops_pb2_grpc.add_GatewayOpsServiceServicer_to_server,
                    ops_pb2_grpc.GatewayOpsServiceServicer(),  # type: ignore[abstract]
                ),
                address=settings.listen,
                health_address=settings.health_listen,
                access=TABLE,
                verifier=TokenVerifier(
                    KeySet(settings.jwks),
                    issuer=settings.token_issuer,
                    audience=settings.token_audience,
                    now=utc_now,
                ),
                draining=asyncio.Event(),
                now=utc_now,
                probe=partial(ping, parts.engine),
                reflected=settings.reflected,
                tls=settings.tls,
            )
        )
        await until_terminated()


async def apply_migrations(environ: Mapping[str, str]) -> None:
    """Bring the schema up to this release with the owner role."""
    with reading(environ) as read:
        owner_url = read("BATZEN_OWNER_DATABASE_URL", Secret)
        runtime_url = read("BATZEN_RUNTIME_DATABASE_URL", Secret)
    applied = await migrate(owner_url, MIGRATIONS, runtime_role=role_of(runtime_url))
    _logger.info("Applied %s", ", ".join(applied) or "nothing, all is there")


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    match arguments:
        case []:
            run(partial(serve, Settings.from_environ(os.environ)), service=SERVICE)
        case ["migrate"]:
            run(partial(apply_migrations, os.environ), service=SERVICE)
        case _:
            raise SystemExit("usage: python -m services.gateway [migrate]")


if __name__ == "__main__":
    main(sys.argv[1:])
