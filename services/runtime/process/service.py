"""What every service process shares: the settings all of them read, and its server."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.version import build
from services.runtime import crash_points
from services.runtime.database.connections import UNAVAILABLE, ping, role_of
from services.runtime.database.servers import database_url
from services.runtime.observability import error_tracking, tracing
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import (
    BACKGROUND_FAILURES,
    DATABASE_UNAVAILABLE,
    LINES_DROPPED,
    REPORTS_DROPPED,
    SPANS_DROPPED,
    observed_process,
)
from services.runtime.process.followed import Followed, once
from services.runtime.process.lifecycle import utc_now
from services.runtime.process.logs import DROPPED
from services.runtime.process.settings import Reader, address, flag, one_of, part_of_one, path, secret_text, text
from services.runtime.rpc.access import Allow
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.issuers import FurtherIssuer, Verifier, further_issuers, trusted_issuers
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.limits import Limits
from services.runtime.rpc.server import Registration, RunningServer, running_server
from services.runtime.rpc.tls import TlsFiles
from services.runtime.work.loops import failure_counts

SCHEMA_WAIT_S: Final = 60.0
"""How long a service waits for the migration that is started beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSettings:
    """What every serving process needs to know; a service with settings of its own holds one of these."""

    listen: str
    health_listen: str | None
    metrics_listen: str | None
    otlp_endpoint: str | None
    trace_ratio: float
    error_tracking_dsn: str | None = field(repr=False)
    reflected: bool
    database_url: Followed[str]
    jwks: str
    token_issuer: str
    token_audience: str
    further_issuers: tuple[FurtherIssuer, ...]
    tls: TlsFiles | None
    production: bool
    crash_record: Path | None
    crash_file: Path | None

    @classmethod
    def read(cls, read: Reader, *, listen: str) -> Self:
        """Read the settings; `listen` is where the service listens by default."""
        return cls(
            listen=read("BATZEN_LISTEN", address, default=listen, doc="Where calls (gRPC) are taken."),
            health_listen=read(
                "BATZEN_HEALTH_LISTEN",
                address,
                default=None,
                doc="Where gRPC health checks are answered without TLS and token; without it no port is opened.",
            ),
            metrics_listen=read(
                "BATZEN_METRICS_LISTEN",
                address,
                default=None,
                doc="Where Prometheus reads `/metrics` (HTTP); without it no port is opened.",
            ),
            otlp_endpoint=read(
                "BATZEN_OTLP_ENDPOINT",
                address,
                default=None,
                doc="The collector that traces are sent to (OTLP over gRPC); without it nothing is traced.",
            ),
            trace_ratio=read(
                "BATZEN_TRACE_RATIO",
                part_of_one(),
                default=tracing.RATIO,
                doc="Which part of the correlation ids is traced.",
            ),
            error_tracking_dsn=once(
                read.secret(
                    "BATZEN_ERROR_TRACKING_DSN",
                    secret_text,
                    default=None,
                    is_followed=False,
                    doc="Where unexpected errors are reported to (Sentry's protocol); without it to nobody.",
                )
            ),
            reflected=read("BATZEN_REFLECTION", flag, default=False, doc="Whether the server describes its own RPCs."),
            database_url=read.secret(
                "BATZEN_RUNTIME_DATABASE_URL",
                database_url,
                doc="The service's database, `postgresql+asyncpg://role:password@host/name`, by the role that serves.",
            ),
            jwks=read(
                "BATZEN_JWKS",
                text,
                doc="The public keys of the tokens' issuer (JWKS): a file, which is followed, or an http(s) address.",
            ),
            token_issuer=read("BATZEN_TOKEN_ISSUER", text, doc="The `iss` that every token must have."),
            token_audience=read("BATZEN_TOKEN_AUDIENCE", text, doc="The `aud` that every token must have."),
            further_issuers=_read_further_issuers(read),
            tls=TlsFiles.read(read),
            production=read_production(read),
            crash_record=read(
                "BATZEN_CRASH_RECORD", path, default=None, doc="For tests: where reached crash points are written."
            ),
            crash_file=read(
                "BATZEN_CRASH_FILE", path, default=None, doc="For tests: names the crash point at which to die."
            ),
        )

    def arm(self, *, stripe_key: str | None = None) -> None:
        """Switch crash points on if the settings say so. Raises `CrashPointsForbidden` where real money moves."""
        crash_points.configure(
            record=self.crash_record, armed=self.crash_file, production=self.production, stripe_key=stripe_key
        )

    @contextmanager
    def observed(self, service: str) -> Generator[None]:
        """Record and report what the settings say while inside."""
        environment = "production" if self.production else "development"
        with (
            error_tracking.tracking(self.error_tracking_dsn, service=service, environment=environment),
            tracing.exporting(self.otlp_endpoint, service=service, ratio=self.trace_ratio),
        ):
            yield

    def verifier(self, *, further_audience: str = "") -> Verifier:
        """Return what checks the tokens of callers. With `further_audience` those of further issuers have to be for
        that, and not for the whole suite.
        """
        audience = self.token_audience
        first = TokenVerifier(KeySet(self.jwks), issuer=self.token_issuer, audience=audience, now=utc_now)
        return trusted_issuers(first, self.further_issuers, audience=further_audience or audience, now=utc_now)

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
            counts={
                LINES_DROPPED: DROPPED.counts,
                SPANS_DROPPED: tracing.dropped,
                REPORTS_DROPPED: error_tracking.DROPPED.counts,
                DATABASE_UNAVAILABLE: UNAVAILABLE.counts,
                BACKGROUND_FAILURES: lambda: {(task,): count for task, count in failure_counts().items()},
            },
        )

    def server(
        self,
        *registrations: Registration,
        access: Mapping[str, Allow],
        engine: AsyncEngine,
        verifier: Verifier | None = None,
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
    runtime_url: str = field(repr=False)

    @property
    def runtime_role(self) -> str:
        """The role that serves, and is given its rights."""
        return role_of(self.runtime_url)

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(
            owner_url=read_owner_url(read),
            runtime_url=read.secret(
                "BATZEN_RUNTIME_DATABASE_URL",
                database_url,
                is_followed=False,
                doc="As for serving; only the name of its role is used, which is given its rights.",
            ).current(),
        )


def read_owner_url(read: Reader) -> str:
    """Read the address of the database for who changes its schema."""
    return read.secret(
        "BATZEN_OWNER_DATABASE_URL",
        database_url,
        is_followed=False,
        doc="The service's database by the role that owns the schema; no serving process has it.",
    ).current()


def _read_further_issuers(read: Reader) -> tuple[FurtherIssuer, ...]:
    rows: tuple[FurtherIssuer, ...] | None = read(
        "BATZEN_FURTHER_ISSUERS",
        further_issuers,
        default=None,
        doc="Whose short tokens count besides, each for its roles and tenants alone; no tenants: all.",
    )
    return rows or ()


def read_production(read: Reader) -> bool:
    """Read whether real money moves."""
    environment = read(
        "BATZEN_ENVIRONMENT",
        one_of("development", "production"),
        doc="Live keys of Stripe's are taken in production alone, and no others there.",
    )
    return environment == "production"
