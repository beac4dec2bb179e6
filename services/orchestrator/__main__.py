"""Builds the orchestrator and runs it: `python -m services.orchestrator` serves, `… migrate` migrates."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Self

from grpc import aio

from batzen.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from batzen.gateway.v1.observation_pb2_grpc import add_GatewayEventSinkServiceServicer_to_server
from batzen.orchestrator.v1 import notifications_pb2_grpc, ops_pb2_grpc
from batzen.orchestrator.v1.orchestrator_pb2_grpc import add_OrchestratorServiceServicer_to_server
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from services.access import TABLE
from services.orchestrator.commands import Commands
from services.orchestrator.domain import ABANDONED_AFTER
from services.orchestrator.driver import Driver
from services.orchestrator.peers import Peers
from services.orchestrator.servicer import OrchestratorServicer
from services.orchestrator.sink import SinkServicer
from services.orchestrator.store import Store
from services.orchestrator.sweep import Sweep
from services.runtime import points
from services.runtime.clients import TokenDirectory, peer_channel
from services.runtime.database import HeldConnections, make_engine, ping, role_of
from services.runtime.identity import TokenVerifier
from services.runtime.keys import KeySet
from services.runtime.limits import Limits
from services.runtime.migrations import migrate, wait_for_schema
from services.runtime.process import run, until_terminated, utc_now
from services.runtime.server import running_server
from services.runtime.settings import Secret, address, directory, flag, one_of, reading, text, whole_number
from services.runtime.tls import TlsFiles

SERVICE: Final = "orchestrator"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA_WAIT_S: Final = 60.0
"""For the migration that is started beside us."""
HELD_CONNECTIONS: Final = 8
"""Every statement takes less than a millisecond, and no call keeps a connection between two of them."""
LIMITS: Final = Limits(message_bytes_max=1_536 * 1024)
"""1,000 lines with every field at its longest have 1.2 MB."""
DAY_S: Final = 86_400

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a serving process needs to know."""

    listen: str
    health_listen: str | None
    reflected: bool
    database_url: str = field(repr=False)
    jwks: str
    token_issuer: str
    token_audience: str
    token_directory: Path
    pricing_address: str
    status_address: str
    gateway_address: str
    abandoned_after: timedelta
    tls: TlsFiles | None
    production: bool
    crash_record: Path | None
    crash_file: Path | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; raises `SettingsError` naming all that are missing or wrong."""
        with reading(environ) as read:
            abandoned_after_s = read(
                "BATZEN_ABANDONED_AFTER_S", whole_number(at_least=1, at_most=30 * DAY_S), default=None
            )
            return cls(
                listen=read("BATZEN_LISTEN", address, default="127.0.0.1:7001"),
                health_listen=read("BATZEN_HEALTH_LISTEN", address, default=None),
                reflected=read("BATZEN_REFLECTION", flag, default=False),
                database_url=read("BATZEN_RUNTIME_DATABASE_URL", Secret),
                jwks=read("BATZEN_JWKS", text),
                token_issuer=read("BATZEN_TOKEN_ISSUER", text),
                token_audience=read("BATZEN_TOKEN_AUDIENCE", text),
                token_directory=read("BATZEN_TOKEN_DIRECTORY", directory),
                pricing_address=read("BATZEN_PRICING_ADDRESS", address),
                status_address=read("BATZEN_STATUS_ADDRESS", address),
                gateway_address=read("BATZEN_GATEWAY_ADDRESS", address),
                abandoned_after=ABANDONED_AFTER if abandoned_after_s is None else timedelta(seconds=abandoned_after_s),
                tls=TlsFiles.from_environ(environ),
                production=read("BATZEN_ENVIRONMENT", one_of("development", "production")) == "production",
                crash_record=read("BATZEN_CRASH_RECORD", Path, default=None),
                crash_file=read("BATZEN_CRASH_FILE", Path, default=None),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a process is made of."""

    store: Store
    driver: Driver
    commands: Commands
    sweep: Sweep
    servicer: OrchestratorServicer
    sink: SinkServicer


@asynccontextmanager
async def orchestrator_parts(
    database_url: str,
    *,
    pricing: aio.Channel,
    status: aio.Channel,
    gateway: aio.Channel,
    now: Callable[[], datetime],
    abandoned_after: timedelta = ABANDONED_AFTER,
) -> AsyncIterator[Parts]:
    """Build the service on its migrated database; at the end requests under way get a moment to come to theirs."""
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(
            HeldConnections(database_url, application_name=SERVICE, size=HELD_CONNECTIONS)
        )
        peers = Peers(
            pricing=PricingServiceStub(pricing), status=StatusServiceStub(status), gateway=GatewayServiceStub(gateway)
        )
        store = Store(held)
        driver = Driver(store, peers, abandoned_after=abandoned_after, now=now)
        commands = Commands(store, driver, peers, now=now)
        sweep = Sweep(store, driver, commands, now=now)
        await stack.enter_async_context(commands.draining())
        yield Parts(
            store=store,
            driver=driver,
            commands=commands,
            sweep=sweep,
            servicer=OrchestratorServicer(  # type: ignore[abstract]  # RPCs that are only announced
                store, driver, commands, peers, now=now
            ),
            sink=SinkServicer(store, wake=sweep.wake, now=now),
        )


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    points.configure(record=settings.crash_record, armed=settings.crash_file, production=settings.production)
    async with AsyncExitStack() as stack:
        engine = make_engine(settings.database_url, application_name=SERVICE, pool_size=2)
        stack.push_async_callback(engine.dispose)
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        tokens = TokenDirectory(settings.token_directory)
        pricing, status, gateway = [
            await stack.enter_async_context(peer_channel(peer, tokens=tokens, tls=settings.tls))
            for peer in (settings.pricing_address, settings.status_address, settings.gateway_address)
        ]
        parts = await stack.enter_async_context(
            orchestrator_parts(
                settings.database_url,
                pricing=pricing,
                status=status,
                gateway=gateway,
                now=utc_now,
                abandoned_after=settings.abandoned_after,
            )
        )
        await stack.enter_async_context(parts.sweep.running())
        await stack.enter_async_context(
            running_server(
                partial(add_OrchestratorServiceServicer_to_server, parts.servicer),
                partial(add_GatewayEventSinkServiceServicer_to_server, parts.sink),
                partial(
                    ops_pb2_grpc.add_OrchestratorOpsServiceServicer_to_server,
                    ops_pb2_grpc.OrchestratorOpsServiceServicer(),  # type: ignore[abstract]
                ),
                partial(
                    notifications_pb2_grpc.add_NotificationServiceServicer_to_server,
                    notifications_pb2_grpc.NotificationServiceServicer(),  # type: ignore[abstract]
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
                limits=LIMITS,
                probe=partial(ping, engine),
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
            raise SystemExit("usage: python -m services.orchestrator [migrate]")


if __name__ == "__main__":
    main(sys.argv[1:])
