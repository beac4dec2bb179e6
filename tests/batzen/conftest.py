"""Status as it is deployed, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from batzen.client import Addresses, Client
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.watching import WatchLimits
from local.databases import ServiceDatabase
from local.issuer import TOKEN_LIFE, Issuer
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.status.conftest import Replica, move, running_replica
from tests.status.samples import NOW, open_request, snapshot

LIMITS = WatchLimits(
    reconnect_min_s=0.01,
    reconnect_max_s=0.05,
    poll_every_s=0.02,
    polls_per_s=1_000,
    renew_every_s=0.01,
    renew_parts=1,
    patience_s=WITHIN_S,
)
"""As a client has them, but for the pauses."""
STEPS = [snapshot(attempt=attempt) for attempt in range(1, 400)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """A status service, and who writes to it."""

    replica: Replica
    stub: StatusServiceStub

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.replica.port}"

    def token(self, subject: str, role: str, *, life: timedelta = TOKEN_LIFE) -> str:
        return self.replica.issuer.mint(subject, roles=[role], life=life)

    @asynccontextmanager
    async def client(
        self,
        subject: str = "bff",
        role: str = "service",
        *,
        address: str = "",
        limits: WatchLimits = LIMITS,
        **own: Any,
    ) -> AsyncIterator[Client]:
        token = own.pop("token", None) or self.token(subject, role)
        addresses = Addresses(status=address or self.address)
        async with Client(token=token, addresses=addresses, watch_limits=limits, **own) as client:
            yield client

    async def open(self, **fields: Any) -> str:
        """Open a payment of payer_1, and return its id."""
        return (await self.stub.OpenPayment(open_request(**fields))).payment.payment_id

    async def move(self, payment_id: str, *, to: int) -> None:
        """Move a payment, however far it is, up to a revision."""
        payment = (await self.stub.GetPayment(pb.GetPaymentRequest(payment_id=payment_id))).payment
        await move(self.stub, payment_id, *STEPS[payment.revision : to], expected=payment.revision)


@asynccontextmanager
async def serving(database: ServiceDatabase, issuer: Issuer, **settings: Any) -> AsyncIterator[Status]:
    """Serve status while inside."""
    async with (
        running_replica(database.runtime_url, issuer=issuer, **settings) as replica,
        replica.connect(life=TOKEN_LIFE * 9) as stub,
    ):
        yield Status(replica=replica, stub=stub)


@pytest.fixture(scope="session")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer(tmp_path_factory.mktemp("batzen") / "keys", now=lambda: NOW)


@pytest.fixture(scope="session")
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    database = await databases.create("status")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="session")
async def status(database: ServiceDatabase, issuer: Issuer) -> AsyncIterator[Status]:
    async with serving(database, issuer) as running:
        yield running


@pytest.fixture
async def batzen(status: Status) -> AsyncIterator[Client]:
    """A client of a service."""
    async with status.client() as client:
        yield client
