"""Whoever floods a server harms no well-behaved caller: not one call fails, no revision is missed, memory is bounded.

The server is a process of its own, with all its limits as they are. What a flood does to the time that others wait is
measured by `python -m bench floods`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from batzen._channel import make_channel
from batzen.status.v1 import status_pb2 as pb
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from bench.machine import peak_bytes, resident_bytes, restart_peak
from local.environments import Stripe, service_environment
from local.issuer import Issuer
from local.ports import HOST, free_ports
from local.processes import Child
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.runtime.flooding import Target, attack
from tests.status.samples import open_request, record_request, snapshot
from tests.status.streaming import add
from tests.status.watching import SMALL_WINDOW, header, revisions, watch

GROWTH_BYTES_MAX: Final = 128 * 1024 * 1024
"""What the process may have more than before a flood; most take less than 20 MB."""
BOMBED_BYTES_MAX: Final = 640 * 1024 * 1024
"""The same of a bomb: gRPC may hold 1.5 MB for a moment of each of the calls that a connection may have at once."""
FLOOD_S_MAX: Final = 5 * WITHIN_S
"""For a machine that does nothing else it is less than one second each."""
TURNS_MIN: Final = 20
"""Of the well-behaved caller, however soon a flood is over."""
WARM_UP_TURNS: Final = 100
ONE_TRY: Final = (("grpc.service_config", "{}"), ("grpc.use_local_subchannel_pool", 1))
"""No retry may mend a failed call."""

GET: Final = "/batzen.status.v1.StatusService/GetPayment"
WATCH: Final = "/batzen.status.v1.StatusService/WatchPayment"
FLOODS: Final = {
    "rapid_reset": (GET, 20_000),
    "endless_calls": (GET, 15_000),
    "unfinished_calls": (WATCH, 30_000),
    "huge_metadata": (GET, 300),
    "metadata_bomb": (GET, 2_000),
    "continuations": (GET, 300_000),
    "pings": (GET, 200_000),
    "settings": (GET, 100_000),
    "priorities": (GET, 300_000),
    "window_updates": (GET, 500_000),
}
"""The method that is called, and how many calls or frames a flood has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """Status in a process of its own."""

    child: Child
    port: int
    issuer: Issuer

    @asynccontextmanager
    async def connect(
        self, subject: str, *, options: Sequence[tuple[str, int | str]] = ()
    ) -> AsyncIterator[StatusServiceStub]:
        authorization = (("authorization", f"Bearer {self.token(subject)}"),)
        async with make_channel(
            f"{HOST}:{self.port}", timeout_s=WITHIN_S, metadata=lambda: authorization, options=(*ONE_TRY, *options)
        ) as channel:
            yield StatusServiceStub(channel)

    def token(self, subject: str) -> str:
        return self.issuer.mint(subject, roles={"service"})

    def target(self, path: str, payment_id: str, *, units: int, connections: int = 1) -> Target:
        return Target(
            port=self.port,
            path=path,
            request=pb.GetPaymentRequest(payment_id=payment_id).SerializeToString(),  # a WatchPaymentRequest, too
            token=self.token("attacker"),
            units=units,
            seconds=FLOOD_S_MAX,
            connections=connections,
        )


class Caller:
    """Moves a payment, watches it and reads it; whatever is not as it should be is raised."""

    def __init__(self, orchestrator: StatusServiceStub, shop: StatusServiceStub, payment: pb.Payment) -> None:
        self.payment_id = payment.payment_id
        self._orchestrator = orchestrator
        self._shop = shop
        self._revision = payment.revision
        self._watching: Any = None

    @classmethod
    @asynccontextmanager
    async def of(cls, server: Server) -> AsyncIterator[Caller]:
        async with server.connect("orchestrator") as orchestrator, server.connect("shop") as shop:
            caller = cls(orchestrator, shop, (await orchestrator.OpenPayment(open_request())).payment)
            async with watch(shop, caller.payment_id, timeout=None) as caller._watching:
                await header(caller._watching)
                yield caller

    async def turn(self, *, reason: str = "") -> None:
        to = snapshot(attempt=self._revision, reason=reason)
        await self._orchestrator.RecordTransition(record_request(self.payment_id, expected=self._revision, to=to))
        self._revision += 1
        assert await revisions(self._watching, upto=self._revision) == [self._revision]
        answer = await self._shop.GetPayment(pb.GetPaymentRequest(payment_id=self.payment_id))
        assert answer.payment.revision == self._revision

    async def until(self, flood: asyncio.Future[Any]) -> None:
        """Go on until a flood is over, and a little longer."""
        turns = 0
        while not flood.done() or turns < TURNS_MIN:
            await self.turn()
            turns += 1


@pytest.fixture(scope="module")
async def server(databases: Databases, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    database = await databases.create("status")
    folder, ports = tmp_path_factory.mktemp("floods"), free_ports()
    issuer = Issuer(folder / "issuer", now=lambda: datetime.now(UTC))
    environment = service_environment(
        "status", ports=ports, database=database, jwks=issuer.jwks, tokens=folder, stripe=Stripe.stand_in()
    )
    child = Child("services.status", environment=environment, log_file=folder / "status.log")
    await child.start()
    try:
        await child.until_serving(f"{HOST}:{ports['status-health']}")
        server = Server(child=child, port=ports["status"], issuer=issuer)
        async with Caller.of(server) as caller:
            for _ in range(WARM_UP_TURNS):
                await caller.turn()
        quiet_bytes = resident_bytes(child.pid)
        yield server
        kept_bytes = resident_bytes(child.pid) - quiet_bytes
    finally:
        code = await child.stop()
        await databases.drop(database)
    assert code == 0
    assert kept_bytes < BOMBED_BYTES_MAX, "floods leave more and more behind"


@asynccontextmanager
async def unharmed(server: Server, *, growth_bytes_max: int = GROWTH_BYTES_MAX) -> AsyncIterator[Caller]:
    """Call the server while somebody does it harm inside; afterwards it lives and was never much larger than before."""
    async with Caller.of(server) as caller:
        before_bytes = resident_bytes(server.child.pid)
        restart_peak(server.child.pid)
        yield caller
    assert peak_bytes(server.child.pid) - before_bytes < growth_bytes_max


@pytest.mark.faults
@pytest.mark.parametrize("kind", FLOODS)
async def test_a_flood_harms_no_well_behaved_caller(server: Server, kind: str) -> None:
    path, units = FLOODS[kind]
    growth_bytes_max = BOMBED_BYTES_MAX if kind == "metadata_bomb" else GROWTH_BYTES_MAX
    async with (
        unharmed(server, growth_bytes_max=growth_bytes_max) as caller,
        attack(kind, server.target(path, caller.payment_id, units=units)) as flood,
    ):
        await caller.until(flood)
        outcome = await flood

    assert outcome.units == units


@pytest.mark.faults
async def test_watchers_that_never_read_cost_a_bounded_amount_and_nobody_else_anything(server: Server) -> None:
    async with unharmed(server) as caller:
        target = server.target(WATCH, caller.payment_id, units=512, connections=8)
        async with attack("never_reading", target) as flood:
            await caller.until(flood)
            for _ in range(60):
                await caller.turn(reason="x" * 15_000)
            outcome = await flood

    assert outcome.units == 512


@pytest.mark.faults
async def test_a_caller_that_adds_watches_and_never_reads_costs_a_bounded_amount(server: Server) -> None:
    labels = {f"label_{number}": "x" * 500 for number in range(50)}
    async with (
        unharmed(server) as caller,
        server.connect("orchestrator") as orchestrator,
        server.connect("attacker", options=SMALL_WINDOW) as attacker,
    ):
        opened = await asyncio.gather(*(orchestrator.OpenPayment(open_request(labels=labels)) for _ in range(50)))
        adds = pb.WatchManyRequest(commands=[add(answer.payment.payment_id) for answer in opened])
        call = attacker.WatchMany()

        async def flood() -> None:
            for _ in range(1_000):
                await call.write(adds)  # 1,000 times 50 payments of 27 KB are 1.4 GB

        flooding = asyncio.create_task(flood())
        for _ in range(200):
            await caller.turn()
        flooding.cancel()
        call.cancel()
        await asyncio.wait([flooding])
