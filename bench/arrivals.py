"""A gateway alone: payments that change at Stripe, the events of that, and the orchestrator that hears of them.

The stand-in holds back every webhook. What it would send is sent by the bench, which so knows when each is due, and
how long each answer takes.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import asyncpg
from grpc import aio

from batzen._channel import make_channel
from batzen.client import new_request_id
from batzen.gateway.v1 import intents_pb2, observation_pb2, payer_pb2
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.observation_pb2_grpc import (
    GatewayEventSinkServiceServicer,
    add_GatewayEventSinkServiceServicer_to_server,
)
from batzen.type.v1 import money_pb2
from bench.database import Postgres, executed, running_postgres
from bench.shop import SELLER
from local.ports import HOST, free_ports
from local.start import add_seller
from local.suite import Suite, running_suite
from sandbox.control import SandboxControl
from sandbox.delivery import sign
from services.gateway.webhooks.events import subscribed_types
from services.runtime.database.connections import plain_dsn
from tests.suite.journeys import LEFT_TO_DO

One = TypeVar("One")

AMOUNT_MINOR: Final = 10_000
FEE_MINOR: Final = 1_500
REFUNDS_MINOR: Final = (2_000, 3_000)
"""Made at Stripe's dashboard, each with the seller's and the platform's part of it."""
AT_ONCE: Final = 16
"""Stripe's connections in a burst, and calls while payments are made."""
TRIES_MAX: Final = 5
"""Arrivals of one event until it has to be taken."""
DONE_WITHIN_S: Final = 600.0
LOOK_S: Final = 0.05
TIMEOUT_S: Final = 20.0

_FAULTS: Final = (
    "CREATE TABLE bench_faults (event_id text PRIMARY KEY, place text NOT NULL)",
    "CREATE SEQUENCE bench_refused MINVALUE 0 START 0",
    "CREATE SEQUENCE bench_failed MINVALUE 0 START 0",
    """CREATE FUNCTION bench_refuse() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        IF EXISTS (SELECT FROM bench_faults f WHERE f.event_id = NEW.event_id AND f.place = 'ARRIVAL') THEN
            PERFORM nextval('bench_refused');
            RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full';
        END IF;
        RETURN NEW;
    END $$""",
    """CREATE FUNCTION bench_fail() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN
        IF EXISTS (SELECT FROM bench_faults f WHERE f.event_id = NEW.event_id AND f.place = 'WORK')
            AND EXISTS (SELECT FROM event_runs r WHERE r.subject = NEW.subject AND r.failures = 0) THEN
            PERFORM nextval('bench_failed');
            RAISE EXCEPTION 'a bug';
        END IF;
        RETURN NEW;
    END $$""",
    "CREATE TRIGGER bench_refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION bench_refuse()",
    """CREATE TRIGGER bench_fail BEFORE UPDATE ON events FOR EACH ROW
        WHEN (OLD.state = 'WAITING' AND NEW.state <> 'WAITING') EXECUTE FUNCTION bench_fail()""",
)
"""An arrival is refused by a database whose disk is full, until that is mended. Work fails after the event was applied
and before that is noted, so that it is applied once more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """An event as it is sent."""

    event_id: str
    payment_id: str
    body: bytes


class Sink(GatewayEventSinkServiceServicer):
    """An orchestrator that keeps what it hears."""

    def __init__(self) -> None:
        self.first_at: dict[str, float] = {}
        self.last: dict[str, observation_pb2.PaymentObservation] = {}

    async def DeliverEvent(
        self, request: observation_pb2.DeliverEventRequest, context: object
    ) -> observation_pb2.DeliverEventResponse:
        heard = request.observation
        self.first_at.setdefault(heard.payment_id, time.perf_counter())
        before = self.last.get(heard.payment_id)
        if before is None or before.mirror_version < heard.mirror_version:
            self.last[heard.payment_id] = heard
        return observation_pb2.DeliverEventResponse()

    async def DeliverNotice(
        self, request: observation_pb2.DeliverNoticeRequest, context: object
    ) -> observation_pb2.DeliverNoticeResponse:
        return observation_pb2.DeliverNoticeResponse()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A gateway, what it works with, and the hands of the bench on all of it."""

    suite: Suite
    postgres: Postgres
    sink: Sink
    owner: asyncpg.Connection
    intents: IntentServiceStub
    sender: aiohttp.ClientSession
    mending: asyncio.Lock = field(default_factory=asyncio.Lock)
    """A connection takes one statement at a time."""

    @property
    def stripe(self) -> SandboxControl:
        return self.suite.sandbox

    async def events_of(self, payments: int) -> list[Arriving]:
        """Have so many payments paid and refunded in parts at Stripe; return the events of that, which nobody got."""
        payment_of: dict[str, str] = {}
        intents: list[str] = []

        async def paid(_: int) -> None:
            payment_id, intent = await self._paid()
            intents.append(intent["id"])
            payment_of[intent["id"]] = payment_of[intent["latest_charge"]] = payment_id

        await each_of(range(payments), paid)
        await self.stripe.settle()
        for amount_minor in REFUNDS_MINOR:
            await each_of(intents, partial(self._refund, amount_minor))
        await self.stripe.settle()
        types = frozenset(subscribed_types())
        return [
            Arriving(
                event_id=event["id"],
                payment_id=payment_id,
                body=json.dumps(event, indent=2, ensure_ascii=False).encode(),
            )
            for event in await self.stripe.objects("event")
            if event["type"] in types and "account" not in event and (payment_id := _known(payment_of, event))
        ]

    async def _paid(self) -> tuple[str, dict[str, Any]]:
        request = intents_pb2.CreateIntentRequest(
            request_id=new_request_id(),
            payment_id=f"pay_{_letters()}",
            attempt=1,
            payer=payer_pb2.Payer(payer_id=f"payer_{_letters()}", email="payer@example.ch", name="Pia Payer"),
            amount=_chf(AMOUNT_MINOR),
            seller_id=SELLER,
            application_fee=_chf(FEE_MINOR),
            description="A lesson",
        )
        made = await self.intents.CreateIntent(request, timeout=TIMEOUT_S)
        intent_id, _, _ = made.client_secret.partition("_secret")
        return request.payment_id, await self.stripe.succeed(intent_id)

    async def _refund(self, amount_minor: int, intent_id: str) -> None:
        await self.stripe.refund(intent_id, amount=amount_minor, reverse_transfer=True, refund_application_fee=True)

    async def break_for(self, at_arrival: Iterable[Arriving], at_work: Iterable[Arriving]) -> None:
        """Let these fail at first."""
        rows = [(one.event_id, place) for ones, place in ((at_arrival, "ARRIVAL"), (at_work, "WORK")) for one in ones]
        await self.owner.executemany("INSERT INTO bench_faults VALUES ($1, $2)", rows)

    async def failed(self) -> tuple[int, int]:
        """Return how many arrivals were refused so far, and how many runs of a payment's events failed."""
        question = "SELECT last_value + is_called::int FROM {}"
        return tuple([await self.owner.fetchval(question.format(one)) for one in ("bench_refused", "bench_failed")])

    async def take(self, event: Arriving) -> str:
        """Send an event until it is taken, as Stripe does; returns the receipt."""
        secrets = tuple(self.suite.stripe.webhook_secrets.split(","))
        for _ in range(TRIES_MAX):
            headers = {
                "content-type": "application/json; charset=utf-8",
                "stripe-signature": sign(event.body, secrets=secrets, timestamp=int(time.time())),
            }
            async with self.sender.post(self.suite.webhook_url, data=event.body, headers=headers) as answer:
                said = await answer.json()
            if answer.ok:
                return str(said["receipt"])
            async with self.mending:
                await self.owner.execute("DELETE FROM bench_faults WHERE event_id = $1", event.event_id)
        raise AssertionError(f"{event.event_id} was refused {TRIES_MAX} times: {said}")

    async def until_done(self) -> None:
        """Wait until no event and no delivery is left."""
        async with asyncio.timeout(DONE_WITHIN_S):
            for question in LEFT_TO_DO["gateway"].values():
                while await self.owner.fetchval(question):  # noqa: ASYNC110 what is left stands in the database
                    await asyncio.sleep(LOOK_S)


async def each_of(ones: Iterable[One], do: Callable[[One], Awaitable[None]]) -> None:
    """Do something with each, `AT_ONCE` at a time."""
    waiting = iter(ones)

    async def loop() -> None:
        for one in waiting:
            await do(one)

    await asyncio.gather(*(loop() for _ in range(AT_ONCE)))


async def paced(ones: Sequence[One], do: Callable[[One], Awaitable[None]], *, per_s: float) -> list[float]:
    """Begin each at its time, whatever became of those before; return how long after that each was done."""
    began = time.perf_counter()

    async def at(number: int, one: One) -> float:
        due = began + number / per_s
        await asyncio.sleep(due - time.perf_counter())
        await do(one)
        return time.perf_counter() - due

    return await asyncio.gather(*(at(number, one) for number, one in enumerate(ones)))


def shuffled(events: Sequence[Arriving], chance: random.Random, *, duplicates: float) -> list[Arriving]:
    """Return the events, a share of them twice, in any order."""
    arriving = [*events, *chance.sample(events, round(len(events) * duplicates))]
    chance.shuffle(arriving)
    return arriving


@asynccontextmanager
async def running_place(folder: Path) -> AsyncIterator[Place]:
    """Run a gateway while inside, beside the stand-in, on a database server of its own."""
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres("max_wal_size = '4GB'"))
        ports = free_ports()
        sink = Sink()
        server = aio.server()
        add_GatewayEventSinkServiceServicer_to_server(sink, server)
        server.add_insecure_port(f"{HOST}:{ports['orchestrator']}")
        await server.start()
        stack.push_async_callback(server.stop, None)
        suite = await stack.enter_async_context(
            running_suite(folder, ports=ports, services=("gateway",), server_url=postgres.server.admin_url)
        )
        await suite.sandbox.webhooks(hold=True)
        await executed(suite.owner_url("gateway"), *_FAULTS)
        owner = await asyncpg.connect(plain_dsn(suite.owner_url("gateway")))
        stack.push_async_callback(owner.close)
        await add_seller(await stack.enter_async_context(suite.client("service", sub="shop")), SELLER)
        token = suite.token("service", sub="orchestrator")
        channel = make_channel(
            suite.addresses.gateway, timeout_s=TIMEOUT_S, metadata=lambda: (("authorization", f"Bearer {token}"),)
        )
        connector = aiohttp.TCPConnector(limit=AT_ONCE)
        yield Place(
            suite=suite,
            postgres=postgres,
            sink=sink,
            owner=owner,
            intents=IntentServiceStub(await stack.enter_async_context(channel)),
            sender=await stack.enter_async_context(aiohttp.ClientSession(connector=connector)),
        )


def _known(payment_of: Mapping[str, str], event: Mapping[str, Any]) -> str | None:
    """Return the payment of an event, by the intent or the charge that it is about."""
    held = event["data"]["object"]
    named = (held.get(name) for name in ("payment_intent", "id", "source_transaction", "charge"))
    return next((payment_of[one] for one in named if one in payment_of), None)


def _letters() -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=24))


def _chf(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="CHF")
