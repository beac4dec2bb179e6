"""Pricing on a real channel with a real PostgreSQL, one server for all tests; the clock stands still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen._channel import make_channel
from batzen.pricing.v1 import pricing_pb2_grpc
from local.databases import ServiceDatabase
from local.issuer import AUDIENCE, ISSUER, Issuer
from services.access import TABLE
from services.pricing.__main__ import LIMITS
from services.pricing.metrics import PricingMetrics
from services.pricing.seed import load_entries
from services.pricing.servicer import PricingServicer
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.storage.store import QuoteStore
from services.runtime.database.connections import DirectConnections, make_engine
from services.runtime.observability.metrics import Meter
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.server import RunningServer, running_server
from tests.conftest import Databases
from tests.pricing.recomputing import compute_all_again
from tests.pricing.samples import CURRENCIES, NOW, Clock

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
"""Channels of one process to one address share a connection otherwise, and the calls that it may carry at once."""

Stub = pricing_pb2_grpc.PricingServiceStub
CallAs = Callable[..., AbstractAsyncContextManager[Stub]]


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("pricing") / "keys", now=lambda: NOW)


@pytest.fixture(scope="session")
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("pricing")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="session")
def session_clock() -> Clock:
    return Clock()


@pytest.fixture
def clock(session_clock: Clock) -> Iterator[Clock]:
    """The server's clock; back at NOW after the test."""
    yield session_clock
    session_clock.time = NOW


@pytest.fixture(scope="session")
async def engine(database: ServiceDatabase) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(database.runtime_url, application_name="pricing-tests")
    yield engine
    await engine.dispose()


@pytest.fixture(scope="session")
async def held(database: ServiceDatabase) -> AsyncIterator[DirectConnections]:
    async with DirectConnections(database.runtime_url, application_name="pricing-tests", size=4) as held:
        yield held


@pytest.fixture(scope="session")
def store(engine: AsyncEngine, held: DirectConnections) -> QuoteStore:
    return QuoteStore(engine, held=held)


@pytest.fixture(scope="session")
def books(engine: AsyncEngine) -> PriceBookStore:
    return PriceBookStore(engine, seed=load_entries(), currencies=CURRENCIES)


@pytest.fixture(scope="session")
def meter() -> Meter:
    """What the server counts."""
    return Meter()


@pytest.fixture(scope="session")
async def server(
    *,
    engine: AsyncEngine,
    store: QuoteStore,
    books: PriceBookStore,
    issuer: Issuer,
    session_clock: Clock,
    meter: Meter,
) -> AsyncIterator[RunningServer]:
    servicer = PricingServicer(
        engine, store=store, books=books, currencies=CURRENCIES, now=session_clock, metrics=PricingMetrics(meter)
    )
    async with running_server(
        partial(pricing_pb2_grpc.add_PricingServiceServicer_to_server, servicer),
        address="127.0.0.1:0",
        access=TABLE,
        verifier=TokenVerifier(KeySet(str(issuer.jwks)), issuer=ISSUER, audience=AUDIENCE, now=lambda: NOW),
        draining=asyncio.Event(),
        now=lambda: NOW,
        limits=LIMITS,
    ) as running:
        yield running
    await compute_all_again(engine, books=books)  # whatever the tests have asked for


@pytest.fixture(scope="session")
def call_as(server: RunningServer, issuer: Issuer) -> CallAs:
    """`async with call_as("orchestrator", roles={"service"}, tenant="main") as stub`: a caller with a channel."""

    @asynccontextmanager
    async def connect(subject: str, *, roles: set[str], tenant: str = "main") -> AsyncIterator[Stub]:
        authorization = (("authorization", f"Bearer {issuer.mint(subject, roles=roles, tenant=tenant)}"),)
        async with make_channel(
            f"127.0.0.1:{server.port}", timeout_s=60, metadata=lambda: authorization, options=OWN_CONNECTION
        ) as channel:
            yield pricing_pb2_grpc.PricingServiceStub(channel)

    return connect


@pytest.fixture(scope="session")
async def pricing(call_as: CallAs) -> AsyncIterator[Stub]:
    """Pricing as the orchestrator calls it."""
    async with call_as("orchestrator", roles={"service"}) as stub:
        yield stub
