"""Status on real channels with a real PostgreSQL: one server for most tests, servers of their own for the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from batzen._channel import make_channel
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub, add_StatusServiceServicer_to_server
from local.databases import ServiceDatabase
from local.issuer import AUDIENCE, ISSUER, TOKEN_LIFE, Issuer
from services.access import TABLE
from services.runtime.database.connections import make_engine
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.limits import Limits
from services.runtime.rpc.server import running_server
from services.status.__main__ import LIMITS, STREAM_LIMITS, status_servicer
from services.status.watches.presence import HELLO_EVERY_S
from services.status.watches.send_queue import StreamLimits
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.status.samples import NOW, open_request, record_request


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A running status server, and how to call it."""

    port: int
    issuer: Issuer
    drain: Callable[[], Awaitable[None]]
    """Let the server go away, as at the end of the process."""

    @asynccontextmanager
    async def connect(
        self,
        subject: str = "orchestrator",
        *,
        roles: Sequence[str] = ("service",),
        tenant: str = "main",
        life: timedelta = TOKEN_LIFE,
        options: Sequence[tuple[str, int | str]] = (),
    ) -> AsyncIterator[StatusServiceStub]:
        authorization = (
            ("authorization", f"Bearer {self.issuer.mint(subject, roles=roles, tenant=tenant, life=life)}"),
        )
        async with make_channel(
            f"127.0.0.1:{self.port}", timeout_s=WITHIN_S, metadata=lambda: authorization, options=options
        ) as channel:
            yield StatusServiceStub(channel)


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self._now = NOW

    def __call__(self) -> datetime:
        return self._now

    def pass_by(self, time: timedelta) -> None:
        self._now += time


@asynccontextmanager
async def running_replica(
    database_url: str,
    *,
    issuer: Issuer,
    feed_limits: StreamLimits = STREAM_LIMITS,
    limits: Limits = LIMITS,
    now: Callable[[], datetime] = lambda: NOW,
    hello_every_s: float = HELLO_EVERY_S,
    meter: Meter = OFF,
) -> AsyncIterator[Replica]:
    """Serve status on a database while inside."""
    draining = asyncio.Event()
    verifier = TokenVerifier(KeySet(str(issuer.jwks)), issuer=ISSUER, audience=AUDIENCE, now=now)
    async with AsyncExitStack() as stack, AsyncExitStack() as serving:
        engine = make_engine(database_url, application_name="status-tests")
        stack.push_async_callback(engine.dispose)
        servicer = await stack.enter_async_context(
            status_servicer(
                database_url,
                engine=engine,
                verify=verifier.verify,
                draining=draining,
                now=now,
                limits=feed_limits,
                hello_every_s=hello_every_s,
                meter=meter,
            )
        )
        server = await serving.enter_async_context(
            running_server(
                partial(add_StatusServiceServicer_to_server, servicer),
                address="127.0.0.1:0",
                access=TABLE,
                verifier=verifier,
                draining=draining,
                now=now,
                limits=limits,
                meter=meter,
            )
        )
        yield Replica(port=server.port, issuer=issuer, drain=serving.aclose)


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("status") / "keys", now=lambda: NOW)


@pytest.fixture(scope="session")
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("status")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="session")
async def replica(database: ServiceDatabase, issuer: Issuer) -> AsyncIterator[Replica]:
    async with running_replica(database.runtime_url, issuer=issuer) as running:
        yield running


@pytest.fixture(scope="session")
async def status(replica: Replica) -> AsyncIterator[StatusServiceStub]:
    """Status as the orchestrator calls it."""
    async with replica.connect() as stub:
        yield stub


@pytest.fixture
async def payment(status: StatusServiceStub) -> pb.Payment:
    """A payment at revision 1."""
    return (await status.OpenPayment(open_request())).payment


async def move(status: StatusServiceStub, payment_id: str, *snapshots: Any, expected: int = 1) -> pb.Payment:
    """Record the snapshots one after the other, and return the payment."""
    for index, to in enumerate(snapshots):
        answer = await status.RecordTransition(record_request(payment_id, expected=expected + index, to=to))
    return answer.payment
