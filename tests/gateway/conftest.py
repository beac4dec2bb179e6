"""The gateway on real channels, with a real PostgreSQL and the stand-in for Stripe; the orchestrator only listens."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from grpc import aio

from batzen._channel import make_channel
from batzen.gateway.v1 import observation_pb2, observation_pb2_grpc
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceStub, add_GatewayOpsServiceServicer_to_server
from local.databases import ServiceDatabase
from local.issuer import AUDIENCE, ISSUER, Issuer
from sandbox.control import SandboxControl
from sandbox.currencies import KNOWN
from sandbox.serving import running
from services.access import TABLE
from services.gateway.call_log import backoff
from services.gateway.servicers.services import add_gateway_services
from services.gateway.stripe_api import platform_account
from services.gateway.wiring import Parts, gateway_parts
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock as ServiceClock
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.server import running_server
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.gateway.clocks import level
from tests.gateway.pages import Pages
from tests.gateway.samples import Payments
from tests.gateway.stubs import GatewayStubs
from tests.personal import PERSONAL_KEYS

TRY_TIMEOUT_S = 3.0
"""Of one try at the stand-in, which answers in milliseconds unless a test has it hold its answer back."""
TOKEN_LIFE = timedelta(days=365)
"""Longer than a test moves the clock between two calls."""


class Authorization:
    """A caller's token, as metadata of its calls: another one once half of its life is over by the gateway's clock."""

    def __init__(self, issuer: Issuer, clock: ServiceClock, subject: str, *, roles: Sequence[str], tenant: str) -> None:
        self._mint = partial(issuer.mint, subject, roles=roles, tenant=tenant, life=TOKEN_LIFE)
        self._clock = clock
        self._token, self._until = "", clock.now()

    def __call__(self) -> tuple[tuple[str, str], ...]:
        if self._until <= self._clock.now():
            self._token, self._until = self._mint(), self._clock.now() + TOKEN_LIFE / 2
        return (("authorization", f"Bearer {self._token}"),)


class Sink(observation_pb2_grpc.GatewayEventSinkServiceServicer):
    """Where the orchestrator would be: keeps what is delivered."""

    def __init__(self) -> None:
        self.delivered: list[observation_pb2.DeliverEventRequest] = []
        self.notices: list[observation_pb2.Notice] = []
        self._news = asyncio.Condition()

    async def DeliverEvent(
        self, request: observation_pb2.DeliverEventRequest, context: Any
    ) -> observation_pb2.DeliverEventResponse:
        async with self._news:
            self.delivered.append(request)
            self._news.notify_all()
        return observation_pb2.DeliverEventResponse()

    async def DeliverNotice(
        self, request: observation_pb2.DeliverNoticeRequest, context: Any
    ) -> observation_pb2.DeliverNoticeResponse:
        self.notices.append(request.notice)
        return observation_pb2.DeliverNoticeResponse()

    def told(self, about: str) -> list[observation_pb2.Notice]:
        """Return the notices of a payment or a seller."""
        return [one for one in self.notices if about == one.payment_id or about in one.seller_ids]

    def of(self, payment_id: str) -> list[observation_pb2.DeliverEventRequest]:
        return [one for one in self.delivered if one.observation.payment_id == payment_id]

    async def hears(
        self, payment_id: str, says: Callable[[observation_pb2.PaymentObservation], bool]
    ) -> observation_pb2.DeliverEventRequest:
        """Wait for a delivery that says this, and return it."""
        async with asyncio.timeout(WITHIN_S), self._news:
            while True:
                for one in self.of(payment_id):
                    if says(one.observation):
                        return one
                await self._news.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A running gateway, and how to call it."""

    parts: Parts
    port: int
    issuer: Issuer

    @asynccontextmanager
    async def connect(
        self, subject: str = "orchestrator", *, roles: Sequence[str] = ("service",), tenant: str = "main"
    ) -> AsyncIterator[GatewayStubs]:
        authorization = Authorization(self.issuer, self.parts.clock, subject, roles=roles, tenant=tenant)
        async with make_channel(f"127.0.0.1:{self.port}", timeout_s=WITHIN_S, metadata=authorization) as channel:
            yield GatewayStubs(channel)

    @asynccontextmanager
    async def connect_ops(self, subject: str = "anna", *, tenant: str = "main") -> AsyncIterator[GatewayOpsServiceStub]:
        """The gateway as an operator calls it."""
        authorization = Authorization(self.issuer, self.parts.clock, subject, roles=["operator"], tenant=tenant)
        async with make_channel(f"127.0.0.1:{self.port}", timeout_s=WITHIN_S, metadata=authorization) as channel:
            yield GatewayOpsServiceStub(channel)


@asynccontextmanager
async def running_gateway(
    database_url: str,
    *,
    stripe_key: str,
    stripe_base: str,
    sink_address: str,
    issuer: Issuer,
    clock: Clock,
    meter: Meter = OFF,
    works: bool = True,
    polls_every: timedelta | None = None,
) -> AsyncIterator[Gateway]:
    """Serve the gateway on a database while inside, and do its due work; or leave that to `parts.work.once`."""
    async with AsyncExitStack() as stack:
        sink = await stack.enter_async_context(aio.insecure_channel(sink_address))
        parts = await stack.enter_async_context(
            gateway_parts(
                database_url,
                sink=observation_pb2_grpc.GatewayEventSinkServiceStub(sink),
                stripe_key=stripe_key,
                stripe_base=stripe_base,
                personal_keys=PERSONAL_KEYS,
                clock=clock,
                try_timeout_s=TRY_TIMEOUT_S,
                meter=meter,
                polls_every=polls_every,
            )
        )
        if works:
            await stack.enter_async_context(parts.work.running())
        server = await stack.enter_async_context(
            running_server(
                partial(add_gateway_services, parts.servicers),
                partial(add_GatewayOpsServiceServicer_to_server, parts.ops),
                address="127.0.0.1:0",
                access=TABLE,
                verifier=TokenVerifier(KeySet(str(issuer.jwks)), issuer=ISSUER, audience=AUDIENCE, now=clock.now),
                draining=asyncio.Event(),
                now=clock.now,
            )
        )
        yield Gateway(parts=parts, port=server.port, issuer=issuer)


@pytest.fixture(scope="session", autouse=True)
def patient_first_starts() -> Iterator[None]:
    """A gateway whose tenant has no account yet tries to reach Stripe for longer than a busy machine needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(platform_account, "FIRST_START_S", WITHIN_S)
        yield


@pytest.fixture(scope="session")
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory, clock: Clock) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("gateway") / "keys", now=clock.now)


@pytest.fixture(scope="session")
def stripe_key() -> str:
    """An account of its own at the stand-in."""
    return f"sk_test_{secrets.token_hex(16)}"


@pytest.fixture(scope="session")
async def stripe() -> AsyncIterator[SandboxControl]:
    """The running stand-in."""
    async with running() as sandbox, SandboxControl(sandbox.base_url) as control:
        yield control


@pytest.fixture(autouse=True)
async def clocks_together(stripe: SandboxControl, clock: Clock) -> AsyncIterator[None]:
    """A test may move our clock or Stripe's as far as it likes: what comes next finds them together."""
    yield
    await level(clock, stripe)


@pytest.fixture(autouse=True)
async def no_faults_left(stripe: SandboxControl) -> AsyncIterator[None]:
    yield
    await stripe.clear_faults()


@pytest.fixture
def settles_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine beside a test asks about a call without an answer when the clock is moved on, not a second later."""
    monkeypatch.setattr(backoff, "SETTLE_FIRST", backoff.SETTLE_MAX)


@pytest.fixture
async def exchanging(replica: Gateway, stripe: SandboxControl) -> AsyncIterator[None]:
    """Whoever says what the platform settles in: tests after it find each charge settled in its own currency again."""
    yield
    await settle_each_in_its_own(stripe, await replica.parts.provider.own_account_id())


async def settle_each_in_its_own(stripe: SandboxControl, account: str) -> None:
    await stripe.settle_in(account, "chf", currencies=sorted(KNOWN))


@pytest.fixture(scope="session")
async def sink() -> AsyncIterator[tuple[Sink, str]]:
    sink, server = Sink(), aio.server()
    observation_pb2_grpc.add_GatewayEventSinkServiceServicer_to_server(sink, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield sink, f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture(scope="session")
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("gateway")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="session")
def start_gateway(  # noqa: PLR0917 fixtures are found by their names
    database: ServiceDatabase,
    stripe: SandboxControl,
    stripe_key: str,
    sink: tuple[Sink, str],
    issuer: Issuer,
    clock: Clock,
) -> Callable[[], Any]:
    """`async with start_gateway()` runs one more replica on the same database."""
    return partial(
        running_gateway,
        database.runtime_url,
        stripe_key=stripe_key,
        stripe_base=stripe.base_url,
        sink_address=sink[1],
        issuer=issuer,
        clock=clock,
    )


@pytest.fixture(scope="session")
async def replica(start_gateway: Callable[[], Any]) -> AsyncIterator[Gateway]:
    async with start_gateway() as running_one:
        yield running_one


@pytest.fixture(scope="session")
async def gateway(replica: Gateway) -> AsyncIterator[GatewayStubs]:
    """The gateway as the orchestrator calls it."""
    async with replica.connect() as stub:
        yield stub


@pytest.fixture
def delivered(sink: tuple[Sink, str]) -> Sink:
    return sink[0]


@pytest.fixture(scope="session")
async def payments(gateway: GatewayStubs, stripe: SandboxControl) -> Payments:
    """Payments to test with: made through the gateway, of a seller who may be paid."""
    made = Payments(gateway, stripe)
    await made.prepare_seller()
    return made


@pytest.fixture(scope="session")
def pages(payments: Payments) -> Pages:
    """Hosted pages to test with."""
    return Pages(payments)
