"""The orchestrator on real channels with everything real behind it: pricing, status, gateway, PostgreSQL, the stand-in.

The clocks of the orchestrator, the gateway and Stripe are moved ahead together. The orchestrator's engine runs when a
test says so. Stripe's webhooks are off: what the gateway would deliver is delivered by the test, when it wants.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from grpc import aio

from batzen._channel import make_channel
from batzen.gateway.v1 import intents_pb2, observation_pb2, sellers_pb2
from batzen.gateway.v1.observation_pb2_grpc import (
    GatewayEventSinkServiceStub,
    add_GatewayEventSinkServiceServicer_to_server,
)
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.booking_check_pb2_grpc import BookingCheckServiceStub
from batzen.orchestrator.v1.notifications_pb2_grpc import (
    NotificationServiceStub,
    add_NotificationServiceServicer_to_server,
)
from batzen.orchestrator.v1.ops_pb2_grpc import (
    OrchestratorOpsServiceStub,
    add_OrchestratorOpsServiceServicer_to_server,
)
from batzen.orchestrator.v1.orchestrator_pb2_grpc import (
    OrchestratorServiceStub,
    add_OrchestratorServiceServicer_to_server,
)
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub, add_PricingServiceServicer_to_server
from batzen.status.v1 import status_pb2
from batzen.status.v1.status_pb2_grpc import StatusServiceStub, add_StatusServiceServicer_to_server
from local.databases import ServiceDatabase
from local.issuer import AUDIENCE, ISSUER, Issuer
from local.ports import free_ports
from sandbox.control import SandboxControl
from sandbox.serving import running as running_sandbox
from services.access import TABLE
from services.gateway.servicers.services import add_gateway_services
from services.gateway.stripe_api import platform_account
from services.gateway.wiring import gateway_parts
from services.orchestrator.__main__ import LIMITS
from services.orchestrator.domain.surplus import SurplusRefund
from services.orchestrator.mail.building import NO_MAILS
from services.orchestrator.mail.settings import MailSettings
from services.orchestrator.webhooks_out.guard import DEVELOPMENT
from services.orchestrator.wiring import Parts, orchestrator_parts
from services.pricing.seed import load_currencies, load_entries
from services.pricing.servicer import PricingServicer
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.storage.store import QuoteStore
from services.runtime.database.connections import DirectConnections, make_engine, plain_dsn
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.followed import Followed
from services.runtime.process.lifecycle import utc_now
from services.runtime.rpc.channels import TokenDirectory, peer_channel
from services.runtime.rpc.identity import TokenVerifier
from services.runtime.rpc.jwks import KeySet
from services.runtime.rpc.limits import Limits
from services.runtime.rpc.server import RunningServer, running_server
from services.runtime.work.dead_letters import depth
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import WorkKind
from services.status.__main__ import status_servicer
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.gateway.stubs import GatewayStubs
from tests.orchestrator.lives import Lives, lives_for
from tests.orchestrator.samples import PAYER, SELLER, VISA, Clock, new_id, scheduled, start, state_of, submit
from tests.orchestrator.shops import Shop
from tests.personal import PERSONAL_KEYS

HOST = "127.0.0.1"
SWEEPS_MAX = 20
NOWHERE = f"{HOST}:1"
"""Where nobody listens."""


Say = Callable[[str], None]
"""Tells whoever runs the tests."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What stands behind an orchestrator, and how to call it."""

    issuer: Issuer
    tokens: TokenDirectory
    ports: dict[str, int]
    clock: Clock
    database_url: str
    pricing_database: ServiceDatabase
    status_database: ServiceDatabase
    gateway_database: ServiceDatabase
    stripe: SandboxControl
    stripe_key: str
    """The gateway's, by which a test does what people do in Stripe's dashboard."""

    def verifier(self) -> TokenVerifier:
        return TokenVerifier(KeySet(str(self.issuer.jwks)), issuer=ISSUER, audience=AUDIENCE, now=utc_now)

    def address(self, service: str) -> str:
        return f"{HOST}:{self.ports[service]}"

    @asynccontextmanager
    async def channel(
        self, port: int, subject: str, *, roles: Sequence[str] = ("service",), tenant: str = "main"
    ) -> AsyncIterator[aio.Channel]:
        """Give a caller who hears of each failure at once, instead of having gRPC try again by itself."""
        authorization = (("authorization", f"Bearer {self.issuer.mint(subject, roles=roles, tenant=tenant)}"),)
        async with make_channel(
            f"{HOST}:{port}",
            timeout_s=WITHIN_S,
            metadata=lambda: authorization,
            options=[("grpc.enable_retries", 0)],
        ) as channel:
            yield channel

    @asynccontextmanager
    async def orchestrator(
        self,
        *,
        address: str | None = None,
        away: frozenset[str] = frozenset(),
        booking_check: BookingCheckServiceStub | None = None,
        allow_on_silence: bool = False,
        surplus_refund: SurplusRefund = SurplusRefund.PERSON,
        declines_max: int = 100_000,
        webhook_keys: Followed[tuple[bytes, ...]] | None = PERSONAL_KEYS,
        mail: MailSettings = NO_MAILS,
        limits: Limits = LIMITS,
        meter: Meter = OFF,
    ) -> AsyncIterator[Orchestrator]:
        """Run one more replica on the same database; it cannot reach the services that are `away`."""
        async with AsyncExitStack() as stack:
            held = await stack.enter_async_context(
                DirectConnections(self.database_url, application_name="tests", size=2)
            )
            channels = {
                service: await stack.enter_async_context(
                    peer_channel(NOWHERE if service in away else self.address(service), tokens=self.tokens)
                )
                for service in ("pricing", "status", "gateway")
            }
            parts = await stack.enter_async_context(
                orchestrator_parts(
                    self.database_url,
                    **channels,
                    booking_check=booking_check,
                    allow_on_silence=allow_on_silence,
                    surplus_refund=surplus_refund,
                    declines_max=declines_max,
                    webhook_keys=webhook_keys,
                    webhook_guard=DEVELOPMENT,
                    mail=mail,
                    clock=self.clock,
                    meter=meter,
                )
            )
            server = await stack.enter_async_context(
                self.serving(
                    partial(add_OrchestratorServiceServicer_to_server, parts.servicer),
                    partial(add_GatewayEventSinkServiceServicer_to_server, parts.sink),
                    partial(add_OrchestratorOpsServiceServicer_to_server, parts.ops),
                    partial(add_NotificationServiceServicer_to_server, parts.notifications),
                    address=address or f"{HOST}:{free_ports()['orchestrator']}",
                    limits=limits,
                    meter=meter,
                )
            )
            yield Orchestrator(world=self, parts=parts, port=server.port, held=held)

    @asynccontextmanager
    async def serving(self, *registrations: Any, address: str, **options: Any) -> AsyncIterator[RunningServer]:
        async with running_server(
            *registrations,
            address=address,
            access=TABLE,
            verifier=self.verifier(),
            draining=asyncio.Event(),
            now=utc_now,
            **options,
        ) as server:
            yield server


@dataclass(frozen=True, slots=True, kw_only=True)
class Orchestrator:
    """A running orchestrator."""

    world: World
    parts: Parts
    port: int
    held: DirectConnections
    """Of the engines that tests run."""

    @asynccontextmanager
    async def connect(
        self, subject: str = "shop", *, roles: Sequence[str] = ("service",), tenant: str = "main"
    ) -> AsyncIterator[OrchestratorServiceStub]:
        async with self.world.channel(self.port, subject, roles=roles, tenant=tenant) as channel:
            yield OrchestratorServiceStub(channel)

    @asynccontextmanager
    async def connect_ops(
        self, subject: str = "anna", *, roles: Sequence[str] = ("operator",), tenant: str = "main"
    ) -> AsyncIterator[OrchestratorOpsServiceStub]:
        async with self.world.channel(self.port, subject, roles=roles, tenant=tenant) as channel:
            yield OrchestratorOpsServiceStub(channel)

    @asynccontextmanager
    async def connect_notifications(
        self, subject: str, *, roles: Sequence[str] = ("service",), tenant: str = "main"
    ) -> AsyncIterator[NotificationServiceStub]:
        async with self.world.channel(self.port, subject, roles=roles, tenant=tenant) as channel:
            yield NotificationServiceStub(channel)

    def engine(self, *kinds: WorkKind) -> Engine:
        """Return an engine of some kinds alone, which a test runs once."""
        engine = Engine(self.world.database_url, self.held, clock=self.world.clock, application_name="tests")
        engine.register(*kinds)
        return engine

    async def move(self) -> int:
        """Move the payments that are due, and return how many those were."""
        return await self.engine(*self.parts.sweep.kinds).once()

    async def tell(self) -> int:
        """Tell pricing of the ends of quotes that are due, and return how many those were."""
        return await self.engine(self.parts.quote_outbox.kind).once()

    async def hear(self) -> None:
        """Hear of every tenant's payments what there is to hear."""
        await self.parts.hearing.find()
        follower = self.parts.hearing.follower
        await self.engine(replace(follower.kind, handler=follower.catch_up)).once()

    async def sweep(self) -> None:
        """Move and tell what is due until nothing is; what stays due however often it is moved is a fault."""
        kinds = [*self.parts.sweep.kinds, self.parts.quote_outbox.kind]
        for _ in range(SWEEPS_MAX):
            await self.move()
            await self.tell()
            # What is due is not taken while somebody is just writing to it, so what was taken does not tell.
            depths = [await depth(self.held, kind, shift=self.world.clock.shift) for kind in kinds]
            if not any(one.due for one in depths):
                return
        pytest.fail("the sweep spins")


class Journeys:
    """The ways of payments that tests begin with."""

    def __init__(
        self,
        *,
        orchestrator: OrchestratorServiceStub,
        status: StatusServiceStub,
        gateway: GatewayStubs,
        sink: GatewayEventSinkServiceStub,
        stripe: SandboxControl,
    ) -> None:
        self.orchestrator = orchestrator
        self.status = status
        self.gateway = gateway
        self.sink = sink
        self.stripe = stripe

    async def started(self, **changes: Any) -> str:
        return (await self.orchestrator.StartPayment(start(**changes))).session.payment.payment_id

    async def paid(self, **changes: Any) -> str:
        payment_id = await self.started(**changes)
        await self.orchestrator.SubmitPayment(submit(payment_id, VISA))
        return payment_id

    async def scheduled(self, charge_time: datetime | None, card: str = VISA, **changes: Any) -> str:
        """Return a payment whose payer gave a method, which is charged later."""
        request = scheduled(charge_time, **changes)
        payment_id = (await self.orchestrator.StartPayment(request)).session.payment.payment_id
        await self.orchestrator.SubmitPayment(submit(payment_id, card))
        return payment_id

    async def kept_method(self, payment_id: str) -> str:
        """Return the method that is charged later, as Stripe knows it."""
        return (await self.payment(payment_id)).snapshot.method.payment_method_id

    async def held(self, card: str = VISA, **changes: Any) -> str:
        """Return a payment whose money is held."""
        payment_id = await self.started(timing=pb.TIMING_MANUAL_CAPTURE, **changes)
        await self.orchestrator.SubmitPayment(submit(payment_id, card))
        return payment_id

    async def payment(self, payment_id: str) -> status_pb2.Payment:
        """Return what status says."""
        return (await self.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))).payment

    async def transitions(self, payment_id: str) -> Sequence[status_pb2.Transition]:
        answer = await self.status.ListTransitions(status_pb2.ListTransitionsRequest(payment_id=payment_id))
        return answer.transitions

    async def states(self, payment_id: str) -> list[str]:
        """Return the states of a payment's history, which has a revision for each fact and none twice."""
        transitions = await self.transitions(payment_id)
        assert [one.revision for one in transitions] == list(range(1, len(transitions) + 1))
        return [state_of(one) for one in transitions]

    async def plan(self, payment_id: str) -> pb.PaymentPlan:
        return (await self.orchestrator.GetPaymentPlan(pb.GetPaymentPlanRequest(payment_id=payment_id))).plan

    async def seen(self, payment_id: str) -> observation_pb2.PaymentObservation:
        """Return what the gateway knows."""
        request = intents_pb2.GetIntentRequest(payment_id=payment_id)
        return (await self.gateway.GetIntent(request)).observation

    async def synced(self, payment_id: str) -> observation_pb2.PaymentObservation:
        """Have the gateway read Stripe, telling nobody but us."""
        request = intents_pb2.SyncIntentRequest(payment_id=payment_id)
        return (await self.gateway.SyncIntent(request)).observation

    async def deliver(self, observation: observation_pb2.PaymentObservation) -> None:
        """Deliver an observation as the gateway does after a webhook."""
        await self.sink.DeliverEvent(
            observation_pb2.DeliverEventRequest(request_id=new_id(), observation=observation, origin="webhook")
        )

    async def intents(self, payment_id: str) -> list[dict[str, Any]]:
        return await self.stripe.objects("payment_intent", **{"metadata.payment_id": payment_id})

    async def account(self) -> str:
        """Return the account of the shop's seller; other tests have sellers of their own at the same Stripe."""
        [account] = await self.stripe.objects("account", **{"metadata.seller_id": SELLER})
        return str(account["id"])

    async def pages(self, payment_id: str) -> list[dict[str, Any]]:
        """Return the hosted pages of a payment, the first one first."""
        found = await self.stripe.objects("checkout.session", **{"metadata.payment_id": payment_id})
        return sorted(found, key=lambda one: int(one["metadata"]["attempt"]))

    async def silence(self, route: str) -> None:
        """Have Stripe do what it is asked for, and answer nothing that anything could be concluded from."""
        await self.stripe.fault("server_error", route=route, after=True, times=None, should_retry=False)

    async def is_faulty(self) -> bool:
        """Whether a fault that was ordered has struck."""
        return any(fault["hits"] for fault in await self.stripe.faults())

    async def charges(self, payment_id: str) -> list[dict[str, Any]]:
        """Return the charges that took money."""
        return [
            charge
            for intent in await self.intents(payment_id)
            for charge in await self.stripe.objects("charge", payment_intent=intent["id"], status="succeeded")
        ]

    async def refunds(self, payment_id: str) -> list[dict[str, Any]]:
        return [
            one
            for intent in await self.intents(payment_id)
            for one in await self.stripe.objects("refund", payment_intent=intent["id"])
        ]


@pytest.fixture(params=[pytest.param(5, id="some places"), pytest.param(1, id="every place", marks=pytest.mark.faults)])
def lives(request: pytest.FixtureRequest) -> Lives:
    """Lives that end at a third of the places, in `make test`; in `make test-faults` there is one for each."""
    return lives_for(request)


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
async def database(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    """The orchestrator's."""
    database = await databases.create("orchestrator")
    yield database
    await databases.drop(database)


@pytest.fixture(scope="session")
async def stripe(clock: Clock) -> AsyncIterator[SandboxControl]:
    async with running_sandbox() as sandbox, SandboxControl(sandbox.base_url) as control:
        sandbox.clock.advance(clock.shift.total_seconds())  # by what tests of the database alone moved it ahead
        clock.followers.append(sandbox.clock.advance)
        yield control


@pytest.fixture(scope="session")
async def world(
    databases: Databases,
    database: ServiceDatabase,
    stripe: SandboxControl,
    clock: Clock,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[World]:
    """Everything but the orchestrator, running."""
    async with running_world(databases, database, stripe, clock, tmp_path_factory.mktemp("orchestrator")) as made:
        yield made


@asynccontextmanager
async def running_world(
    databases: Databases, database: ServiceDatabase, stripe: SandboxControl, clock: Clock, folder: Path
) -> AsyncIterator[World]:
    """Run it beside an orchestrator whose database this is, by a clock that may be a test module's own."""
    issuer = Issuer(folder / "keys", now=utc_now)
    issuer.write_service_tokens(folder / "tokens", services=("orchestrator", "gateway"), tenants=("main", "other"))
    made = {service: await databases.create(service) for service in ("pricing", "status", "gateway")}
    world = World(
        issuer=issuer,
        tokens=TokenDirectory(folder / "tokens" / "orchestrator"),
        ports=free_ports(),
        clock=clock,
        database_url=database.runtime_url,
        pricing_database=made["pricing"],
        status_database=made["status"],
        gateway_database=made["gateway"],
        stripe=stripe,
        stripe_key=f"sk_test_{secrets.token_hex(16)}",
    )
    async with AsyncExitStack() as stack:
        for one in made.values():
            stack.push_async_callback(databases.drop, one)
        for service in (_pricing, _status):
            await stack.enter_async_context(service(world, made))
        sink = await stack.enter_async_context(
            peer_channel(world.address("orchestrator"), tokens=TokenDirectory(folder / "tokens" / "gateway"))
        )
        await stack.enter_async_context(_gateway(world, made, sink))
        yield world


@asynccontextmanager
async def _pricing(world: World, databases: dict[str, ServiceDatabase]) -> AsyncIterator[None]:
    url = databases["pricing"].runtime_url
    async with AsyncExitStack() as stack:
        engine = make_engine(url, application_name="pricing-tests")
        stack.push_async_callback(engine.dispose)
        held = await stack.enter_async_context(DirectConnections(url, application_name="pricing-tests", size=4))
        currencies = load_currencies()
        books = PriceBookStore(engine, seed=load_entries(), currencies=currencies)
        servicer = PricingServicer(
            engine, store=QuoteStore(engine, held=held), books=books, currencies=currencies, now=world.clock.now
        )
        await stack.enter_async_context(
            world.serving(partial(add_PricingServiceServicer_to_server, servicer), address=world.address("pricing"))
        )
        yield


@asynccontextmanager
async def _status(world: World, databases: dict[str, ServiceDatabase]) -> AsyncIterator[None]:
    url = databases["status"].runtime_url
    async with AsyncExitStack() as stack:
        engine = make_engine(url, application_name="status-tests")
        stack.push_async_callback(engine.dispose)
        servicer = await stack.enter_async_context(
            status_servicer(url, engine=engine, verify=world.verifier().verify, draining=asyncio.Event(), now=utc_now)
        )
        await stack.enter_async_context(
            world.serving(partial(add_StatusServiceServicer_to_server, servicer), address=world.address("status"))
        )
        yield


@asynccontextmanager
async def _gateway(world: World, databases: dict[str, ServiceDatabase], sink: aio.Channel) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        parts = await stack.enter_async_context(
            gateway_parts(
                databases["gateway"].runtime_url,
                sink=GatewayEventSinkServiceStub(sink),
                stripe_key=world.stripe_key,
                stripe_base=world.stripe.base_url,
                personal_keys=PERSONAL_KEYS,
                clock=world.clock,
                try_timeout_s=1.0,
            )
        )
        await stack.enter_async_context(parts.work.running())
        await stack.enter_async_context(
            world.serving(partial(add_gateway_services, parts.servicers), address=world.address("gateway"))
        )
        async with world.channel(world.ports["gateway"], "shop") as channel:
            request = sellers_pb2.PutSellerAccountRequest(
                request_id=new_id(), seller_id=SELLER, country_code="CH", email="seller@example.ch"
            )
            account = (await GatewayStubs(channel).PutSellerAccount(request)).account
        await world.stripe.enable_account(account.stripe_account_id, enabled=True)
        yield


@pytest.fixture(scope="session")
async def replica(world: World) -> AsyncIterator[Orchestrator]:
    """The orchestrator that the gateway delivers to."""
    async with world.orchestrator(address=world.address("orchestrator")) as running:
        yield running


@pytest.fixture(scope="session")
async def orchestrator(replica: Orchestrator) -> AsyncIterator[OrchestratorServiceStub]:
    """The orchestrator as a shop calls it."""
    async with replica.connect() as stub:
        yield stub


@pytest.fixture(scope="session")
async def as_payer(replica: Orchestrator) -> AsyncIterator[OrchestratorServiceStub]:
    """The orchestrator as the payer of our payments calls it."""
    async with replica.connect(PAYER, roles=["payer"]) as stub:
        yield stub


@pytest.fixture(scope="session")
async def journeys(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub
) -> AsyncIterator[Journeys]:
    async with travelling(world, replica, orchestrator) as made:
        yield made


@asynccontextmanager
async def travelling(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub
) -> AsyncIterator[Journeys]:
    """Yield what takes payments along their ways in a world."""
    async with (
        world.channel(world.ports["status"], "orchestrator") as status,
        world.channel(world.ports["gateway"], "orchestrator") as gateway,
        world.channel(replica.port, "gateway") as sink,
    ):
        yield Journeys(
            orchestrator=orchestrator,
            status=StatusServiceStub(status),
            gateway=GatewayStubs(gateway),
            sink=GatewayEventSinkServiceStub(sink),
            stripe=world.stripe,
        )


@pytest.fixture
async def shop(
    world: World, replica: Orchestrator, journeys: Journeys, database: ServiceDatabase
) -> AsyncIterator[Shop]:
    async with (
        world.channel(world.ports["pricing"], "orchestrator") as pricing,
        world.channel(world.ports["pricing"], "clerk", roles=["operator"]) as operator,
    ):
        yield Shop(
            replica, journeys, database, pricing=PricingServiceStub(pricing), operator=PricingServiceStub(operator)
        )


@pytest.fixture(autouse=True)
async def nothing_left(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """No test finds another one's faults at Stripe, or its payments due."""
    yield
    if "stripe" in request.fixturenames:
        await request.getfixturevalue("stripe").clear_faults()
    if "database" in request.fixturenames:
        connection = await asyncpg.connect(plain_dsn(request.getfixturevalue("database").owner_url))
        await connection.execute("UPDATE payments SET due_time = NULL")
        await connection.execute("DELETE FROM quote_outbox")
        await connection.close()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Tell whoever runs the tests."""

    def tell(text: str) -> None:
        with capsys.disabled():
            sys.stderr.write(f"\n{text}")

    return tell
