"""How long a good receiver of webhooks waits while bad ones are there, beside the same receivers in peace.

Facts are kept at a steady pace, each of another payment; every one is sent to all receivers. Timed is the way of each
from before it is kept until the good receiver, in a process of its own, has its body. In peace all receivers take what
comes; in trouble all but one do what bad ones do: 500, hang, close, redirect, 10 GB, a private address. Each round has
receivers of its own, none of which rests at its beginning; beside both, once a round, the good one is there alone.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

import grpc
import uvloop

from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from batzen.status.v1 import status_pb2
from bench.arrivals import paced
from bench.database import TENANT, Postgres, running_postgres
from bench.figures import Figures, Result, median, ms, percentile
from bench.goals import COLUMNS, at_most, bounded, judged, shown
from bench.servers.receivers import BAD
from local.databases import ServiceDatabase
from local.processes import ROOT
from local.storage import Storage
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.facts.building import fact_store
from services.orchestrator.facts.domain import Fact, FactKind, fact_id
from services.orchestrator.facts.store import FactStore
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.webhooks_out.actions import Action
from services.orchestrator.webhooks_out.building import Webhooks, sending_webhooks
from services.orchestrator.webhooks_out.domain import Form, Receiver
from services.orchestrator.webhooks_out.guard import DEVELOPMENT, Address
from services.orchestrator.wiring import HELD_CONNECTIONS, MIGRATIONS, SERVICE
from services.runtime.database.connections import DirectConnections, role_of
from services.runtime.database.migrations import migrate
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.work.engine import Engine

loop_factory = uvloop.new_event_loop
ROUNDS: Final = 3
FACTS: Final = 240
PER_S: Final = 15.0
"""Facts a second: seven deliveries each."""
PATIENCE_S: Final = 60.0
PRIVATE: Final = "127.0.0.9"
"""Stands for an address that may not be reached."""
P99: Final = at_most(2)
LOST: Final = at_most(0)

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What the good receiver saw, in seconds."""

    p50_s: float
    p99_s: float
    lost: int
    """Of what was kept, what had not arrived in the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turns:
    """One round of each."""

    alone: Round
    peace: Round
    trouble: Round


async def measure(say: Say) -> Result:
    """Run the bench, in about three minutes."""
    names = list(BAD)
    rounds: list[Turns] = []
    async with running_postgres("max_wal_size = '4GB'") as postgres, _sender(postgres) as (facts, webhooks):
        bench = _Bench(facts, webhooks)
        say("warming up")
        await bench.round(["good"] * len(names), facts=FACTS // 5)
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            rounds.append(
                Turns(
                    alone=await bench.round([]),
                    peace=await bench.round(["good"] * len(names)),
                    trouble=await bench.round(names),
                )
            )
    return Result(
        title="Webhooks to a good receiver, beside bad ones",
        tables=[_table(rounds)],
        rounds=[asdict(turns) for turns in rounds],
    )


class _Bench:
    def __init__(self, facts: FactStore, webhooks: Webhooks) -> None:
        self._facts = facts
        self._webhooks = webhooks

    async def round(self, names: Sequence[str], *, facts: int = FACTS) -> Round:
        """Send facts to the good receiver and to those that are named."""
        async with AsyncExitStack() as stack:
            good = await stack.enter_async_context(_receivers(["good"]))
            others = await stack.enter_async_context(_receivers(names))
            ports = [*good.ports, *others.ports]
            subscribed = [f"r{secrets.token_hex(4)}" for _ in ports]
            for subscription_id, name, port in zip(subscribed, ["good", *names], ports, strict=True):
                url = f"http://{PRIVATE if name == 'private' else '127.0.0.1'}:{port}/"
                await self._put(subscription_id, url)
            await paced(range(facts), self._keep, per_s=PER_S)
            took_s = await good.took_s(facts)
            for subscription_id in subscribed:
                await self._webhooks.subscriptions.delete(_action("delete"), subscription_id)
        return Round(p50_s=percentile(took_s, 0.5), p99_s=percentile(took_s, 0.99), lost=facts - len(took_s))

    async def _put(self, subscription_id: str, url: str) -> None:
        receiver = Receiver(subscription_id=subscription_id, url=url, kinds=frozenset(), form=Form.FULL)
        await self._webhooks.subscriptions.put(_action("put"), receiver)

    async def _keep(self, _: int) -> None:
        await self._facts.keep(TENANT, [_fact()])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Receivers:
    child: asyncio.subprocess.Process
    ports: Sequence[int]

    async def took_s(self, count: int) -> list[float]:
        """Return how long each took, once so many are there, or none has come for long."""
        found: list[float] = []
        until = time.monotonic() + PATIENCE_S
        while len(found) < count and time.monotonic() < until:
            await asyncio.sleep(0.5)
            assert self.child.stdin is not None
            self.child.stdin.write(b"\n")
            found += [took_ns / 1e9 for took_ns in json.loads(await _line(self.child))]
        return found


@asynccontextmanager
async def _receivers(names: Sequence[str]) -> AsyncIterator[_Receivers]:
    pipe = asyncio.subprocess.PIPE
    command = (sys.executable, "-m", "bench.servers.receivers", *names)
    child = await asyncio.create_subprocess_exec(*command, cwd=ROOT, env=dict(os.environ), stdin=pipe, stdout=pipe)
    try:
        yield _Receivers(child=child, ports=json.loads(await _line(child)))
    finally:
        child.kill()
        await child.wait()


async def _line(child: asyncio.subprocess.Process) -> bytes:
    assert child.stdout is not None
    return await child.stdout.readline()


def _may_be_reached(address: Address) -> bool:
    return address != ip_address(PRIVATE)


@asynccontextmanager
async def _sender(postgres: Postgres) -> AsyncIterator[tuple[FactStore, Webhooks]]:
    """Run what keeps facts and sends webhooks, as an orchestrator does."""
    async with AsyncExitStack() as stack:
        url, clock = (await _database(postgres)).runtime_url, Clock()
        held = await stack.enter_async_context(DirectConnections(url, application_name=SERVICE, size=HELD_CONNECTIONS))
        work = Engine(url, held, clock=clock, application_name=SERVICE)
        nobody = await stack.enter_async_context(grpc.aio.insecure_channel("127.0.0.1:9"))  # the full form asks nobody
        webhooks = await stack.enter_async_context(
            sending_webhooks(
                held,
                Gateway(
                    intents=IntentServiceStub(nobody),
                    checkout=CheckoutServiceStub(nobody),
                    refunds=RefundServiceStub(nobody),
                    contacts=ContactServiceStub(nobody),
                ),
                guard=replace(DEVELOPMENT, permits=_may_be_reached),
                keys=Followed((secrets.token_bytes(32),)),
                clock=clock,
                wake=work.wake,
            )
        )
        work.register(webhooks.kind)
        await stack.enter_async_context(work.running())
        yield fact_store(held, sinks=[webhooks.sink], clock=clock, wake=work.wake), webhooks


async def _database(postgres: Postgres) -> ServiceDatabase:
    async def migrated(database: ServiceDatabase) -> None:
        await migrate(database.owner_url, MIGRATIONS, runtime_role=role_of(database.runtime_url))

    storage = Storage(
        admin_url=postgres.server.admin_url, passwords=postgres.directory / "passwords.json", prefix="bench_"
    )
    return await storage.database(SERVICE, fresh=True, migrations=MIGRATIONS, migrate=migrated)


def _action(method: str) -> Action:
    key = RequestKey(tenant_id=TENANT, caller="bench", method=method, request_id=uuid.uuid4())
    return Action(key=key, request_hash=bytes(32), actor_id="bench", reason="measured", time=datetime.now(UTC))


def _fact() -> Fact:
    """Return a fact of a payment that nothing else is of."""
    payment = status_pb2.Payment(payment_id=f"pay_{secrets.token_hex(13)}", revision=1, payer_id="payer_1")
    return Fact(
        tenant_id=TENANT,
        fact_id=fact_id(FactKind.PAYMENT_MOVED, payment.payment_id, "1"),
        kind=FactKind.PAYMENT_MOVED,
        occur_time=datetime.now(UTC),
        payment_id=payment.payment_id,
        revision=1,
        payer_id=payment.payer_id,
        values={"begin_ns": str(time.monotonic_ns())},
        payment=payment.SerializeToString(),
    )


def _table(rounds: Sequence[Turns]) -> Figures:
    trouble, peace, alone = ([getattr(one, name) for one in rounds] for name in ("trouble", "peace", "alone"))
    lost = sum(one.lost for one in trouble)
    return Figures(
        title="From a fact to its receiver",
        columns=COLUMNS,
        rows=[
            shown("p50", _ms(one.p50_s for one in trouble), _ms(one.p50_s for one in peace)),
            judged(
                "**p99**",
                _ms(one.p99_s for one in trouble),
                _ms(one.p99_s for one in peace),
                [one.trouble.p99_s / one.peace.p99_s for one in rounds],
                P99,
            ),
            judged(
                "p99, beside the good one alone",
                _ms(one.p99_s for one in trouble),
                _ms(one.p99_s for one in alone),
                [one.trouble.p99_s / one.alone.p99_s for one in rounds],
                P99,
            ),
            bounded("not arrived", str(lost), lost, LOST),
        ],
        notes=(
            f"{PER_S:g} facts a second to {len(BAD) + 1} receivers; beside it the same in peace. Bad ones rest after"
            " some tries, from when on there is less to send than in peace.",
        ),
    )


def _ms(values_s: Iterable[float]) -> str:
    return f"{ms(median(values_s))} ms"
