"""Builds pricing and runs it: `python -m services.pricing` serves, `python -m services.pricing migrate` migrates."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from batzen.pricing.v1 import pricing_pb2_grpc
from services.access import TABLE
from services.runtime import points
from services.runtime.database import HeldConnections, make_engine, ping, role_of
from services.runtime.identity import TokenVerifier
from services.runtime.keys import KeySet
from services.runtime.limits import Limits
from services.runtime.migrations import migrate, wait_for_schema
from services.runtime.process import run, until_terminated, utc_now
from services.runtime.server import running_server
from services.runtime.settings import Secret, address, flag, one_of, reading, text
from services.runtime.tls import TlsFiles

from .books import Books
from .seed import load_currencies, load_entries
from .servicer import PricingServicer
from .store import QuoteStore

SERVICE: Final = "pricing"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
SCHEMA_WAIT_S: Final = 60.0
"""For the migration that is started beside us."""
HELD_CONNECTIONS: Final = 4
"""For keeping quotes, one statement of less than a millisecond each."""
LIMITS: Final = Limits(message_bytes_max=1_536 * 1024)
"""1,000 lines with every field at its longest have 1.2 MB."""

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
    tls: TlsFiles | None
    production: bool
    crash_record: Path | None
    crash_file: Path | None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; raises `SettingsError` naming all that are missing or wrong."""
        with reading(environ) as read:
            return cls(
                listen=read("BATZEN_LISTEN", address, default="127.0.0.1:7002"),
                health_listen=read("BATZEN_HEALTH_LISTEN", address, default=None),
                reflected=read("BATZEN_REFLECTION", flag, default=False),
                database_url=read("BATZEN_RUNTIME_DATABASE_URL", Secret),
                jwks=read("BATZEN_JWKS", text),
                token_issuer=read("BATZEN_TOKEN_ISSUER", text),
                token_audience=read("BATZEN_TOKEN_AUDIENCE", text),
                tls=TlsFiles.from_environ(environ),
                production=read("BATZEN_ENVIRONMENT", one_of("development", "production")) == "production",
                crash_record=read("BATZEN_CRASH_RECORD", Path, default=None),
                crash_file=read("BATZEN_CRASH_FILE", Path, default=None),
            )


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    points.configure(record=settings.crash_record, armed=settings.crash_file, production=settings.production)
    async with AsyncExitStack() as stack:
        engine = make_engine(settings.database_url, application_name=SERVICE)
        stack.push_async_callback(engine.dispose)
        held = await stack.enter_async_context(
            HeldConnections(settings.database_url, application_name=SERVICE, size=HELD_CONNECTIONS)
        )
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        currencies = load_currencies()
        servicer = PricingServicer(
            engine,
            store=QuoteStore(engine, held=held),
            books=Books(engine, seed=load_entries(), currencies=currencies),
            currencies=currencies,
            now=utc_now,
        )
        await stack.enter_async_context(
            running_server(
                partial(pricing_pb2_grpc.add_PricingServiceServicer_to_server, servicer),
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
            raise SystemExit("usage: python -m services.pricing [migrate]")


if __name__ == "__main__":
    main(sys.argv[1:])
