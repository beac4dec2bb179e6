"""What every service process shares: the settings all of them read, its server, its schema, its command line."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.version import build
from services.runtime import crash_points
from services.runtime.database.connections import UNAVAILABLE, ping, role_of
from services.runtime.database.migrations import migrate
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import DATABASE_UNAVAILABLE, LINES_DROPPED, observed_process
from services.runtime.process.lifecycle import run, utc_now
from services.runtime.process.logs import DROPPED
from services.runtime.process.settings import Reader, Secret, address, flag, one_of, reading, text
from services.runtime.rpc.access import Allow
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.limits import Limits
from services.runtime.rpc.server import Registration, RunningServer, running_server
from services.runtime.rpc.tls import TlsFiles

SCHEMA_WAIT_S: Final = 60.0
"""How long a service waits for the migration that is started beside it."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What every serving process needs to know; a service with settings of its own holds one of these."""

    listen: str
    health_listen: str | None
    reflected: bool
    metrics_listen: str | None
    database_url: str = field(repr=False)
    jwks: str
    token_issuer: str
    token_audience: str
    tls: TlsFiles | None
    production: bool
    crash_record: Path | None
    crash_file: Path | None

    @classmethod
    def read(cls, read: Reader, environ: Mapping[str, str], *, listen: str) -> Self:
        """Read the settings; `listen` is where the service listens by default."""
        return cls(
            listen=read("BATZEN_LISTEN", address, default=listen),
            health_listen=read("BATZEN_HEALTH_LISTEN", address, default=None),
            metrics_listen=read("BATZEN_METRICS_LISTEN", address, default=None),
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

    def arm(self, *, stripe_key: str | None = None) -> None:
        """Switch crash points on if the settings say so. Raises `CrashPointsForbidden` where real money moves."""
        crash_points.configure(
            record=self.crash_record, armed=self.crash_file, production=self.production, stripe_key=stripe_key
        )

    def verifier(self) -> TokenVerifier:
        """Return what checks the tokens of callers."""
        return TokenVerifier(KeySet(self.jwks), issuer=self.token_issuer, audience=self.token_audience, now=utc_now)

    def metering(self) -> AbstractAsyncContextManager[Meter]:
        """Return the meter of this process, whose figures can be asked for while inside if the settings say where."""
        built = build()
        return observed_process(
            listen=self.metrics_listen,
            version=built.version,
            commit=built.commit,
            certificates={}
            if self.tls is None
            else {"certificate": self.tls.certificate, "authority": self.tls.authority},
            counts={LINES_DROPPED: DROPPED.counts, DATABASE_UNAVAILABLE: UNAVAILABLE.counts},
        )

    def server(
        self,
        *registrations: Registration,
        access: Mapping[str, Allow],
        engine: AsyncEngine,
        verifier: TokenVerifier | None = None,
        limits: Limits | None = None,
        draining: asyncio.Event | None = None,
        meter: Meter = OFF,
    ) -> AbstractAsyncContextManager[RunningServer]:
        """Return the server of this process; it is ready while its database answers."""
        return running_server(
            *registrations,
            address=self.listen,
            health_address=self.health_listen,
            access=access,
            verifier=verifier or self.verifier(),
            draining=draining or asyncio.Event(),
            now=utc_now,
            limits=limits,
            probe=partial(ping, engine),
            reflected=self.reflected,
            tls=self.tls,
            meter=meter,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnerSettings:
    """What is needed to change a schema."""

    owner_url: str = field(repr=False)
    runtime_role: str

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the settings; raises `SettingsError` naming all that are missing or wrong."""
        with reading(environ) as read:
            owner_url = read("BATZEN_OWNER_DATABASE_URL", Secret)
            runtime_url = read("BATZEN_RUNTIME_DATABASE_URL", Secret)
        return cls(owner_url=owner_url, runtime_role=role_of(runtime_url))


def command_line(
    arguments: list[str],
    *,
    service: str,
    migrations: Path,
    serve: Callable[[Mapping[str, str]], Callable[[], Awaitable[None]]],
    maintain: Callable[[OwnerSettings], Awaitable[None]] | None = None,
    commands: Mapping[str, Callable[[Sequence[str]], Awaitable[None]]] | None = None,
) -> None:
    """Do what the command line says: serve, `migrate`, or `maintain` if the service has something to look after.

    `serve` reads the environment and returns what to run. What is maintained is looked after by `migrate`, too.
    `commands` are an operator's, by name; each gets the arguments after it.
    """
    commands = commands or {}

    async def migrate_and_maintain() -> None:
        owner = OwnerSettings.from_environ(os.environ)
        applied = await migrate(owner.owner_url, migrations, runtime_role=owner.runtime_role)
        _logger.info("Applied %s", ", ".join(applied) or "nothing, all is there")
        if maintain is not None:
            await maintain(owner)

    async def maintain_alone() -> None:
        assert maintain is not None, "matched below"  # noqa: S101
        await maintain(OwnerSettings.from_environ(os.environ))

    match arguments:
        case []:
            run(serve(os.environ), service=service)
        case ["migrate"]:
            run(migrate_and_maintain, service=service)
        case ["maintain"] if maintain is not None:
            run(maintain_alone, service=service)
        case [name, *rest] if name in commands:
            run(partial(commands[name], rest), service=service)
        case _:
            names = ["migrate", *(["maintain"] if maintain is not None else []), *commands]
            raise SystemExit(f"usage: python -m services.{service} [{'|'.join(names)}]")
