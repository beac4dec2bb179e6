"""How long a reconciliation of so many payments takes, and how much memory: beside listing the same pages alone.

Charges of the platform's own goods are made at the stand-in, a process of its own, and mirrored, booked and imported as
the gateway does it. Then one run compares them all, in this process; and the same lists are read page by page and
thrown away. What the run adds is what it looks up of ours, compares, and keeps. Memory is that of this process at its
highest within a run, beside what it had before, at several numbers of payments: it must not grow with them.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import grpc
import httpx

from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from bench.database import TENANT, running_postgres
from bench.figures import Figures, Result, times
from bench.machine import peak_bytes, resident_bytes, restart_peak
from local.ports import free_ports
from local.storage import Storage
from sandbox.control import SandboxControl
from services.gateway.intents.domain import Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.reconciliation.position import Position, Span
from services.gateway.reconciliation.theirs import LISTS, Theirs
from services.gateway.stripe_api.intent_objects import attempt_facts
from services.gateway.wiring import MIGRATIONS, Parts, gateway_parts
from services.runtime.database.connections import role_of
from services.runtime.database.lease import patience
from services.runtime.database.migrations import migrate
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.rpc.call_context import acting_for
from services.shared.split import LinePart, Split

PAYMENTS: Final = 3_000
PARTS: Final = (10, 3, 1)
"""Of the payments, what is there when a run is measured."""
AT_ONCE: Final = 16
AMOUNT_MINOR: Final = 10_000
MIB: Final = 1 << 20

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One run over so many payments."""

    payments: int
    run_s: float
    list_s: float
    before_bytes: int
    peak_bytes: int
    matched: int


async def measure(say: Say, payments: int = PAYMENTS) -> Result:
    """Run the bench: about 20 ms for each payment, most of it to make them."""
    rounds: list[Round] = []
    async with _gateway() as (parts, stripe):
        began, made = parts.clock.now() - timedelta(minutes=1), 0
        for part in PARTS:
            say(f"making {payments // part} payments")
            await _pay(parts, payments // part - made)
            made = payments // part
            await stripe.settle()
            with acting_for(TENANT):
                while not await parts.imports.read_on(TENANT):
                    pass
            span = Span(since=began.replace(microsecond=0), until=parts.clock.now() + timedelta(seconds=2))
            say(f"reconciling {made} payments")
            rounds.append(await _round(parts, span, made))
    return Result(title="Reconciliation", tables=[_table(rounds)], rounds=[asdict(one) for one in rounds])


def _table(rounds: list[Round]) -> Figures:
    return Figures(
        title="A run",
        columns=("payments", "run", "for each", "the lists alone", "ratio", "memory before", "more at its highest"),
        rows=[
            (
                f"**{one.payments:,}**",
                f"{one.run_s:.1f} s",
                f"{one.run_s / one.payments * 1e3:.2f} ms",
                f"{one.list_s:.1f} s",
                times(one.run_s / one.list_s),
                f"{one.before_bytes / MIB:.0f} MiB",
                f"{(one.peak_bytes - one.before_bytes) / MIB:.1f} MiB",
            )
            for one in rounds
        ],
        notes=("Each payment has an intent, a charge and a balance transaction; all of them matched.",),
    )


@asynccontextmanager
async def _gateway() -> AsyncIterator[tuple[Parts, SandboxControl]]:
    async with AsyncExitStack() as stack:
        postgres = await stack.enter_async_context(running_postgres("fsync = off", "max_wal_size = '8GB'"))
        storage = Storage(
            admin_url=postgres.server.admin_url, passwords=postgres.directory / "passwords.json", prefix="bench_"
        )

        async def migrated(database: Any) -> None:
            await migrate(database.owner_url, MIGRATIONS, runtime_role=role_of(database.runtime_url))

        database = await storage.database("gateway", fresh=True, migrations=MIGRATIONS, migrate=migrated)
        stripe = await stack.enter_async_context(_stand_in())
        sink = await stack.enter_async_context(grpc.aio.insecure_channel("127.0.0.1:1"))  # nothing is delivered
        parts = await stack.enter_async_context(
            gateway_parts(
                database.runtime_url,
                sink=GatewayEventSinkServiceStub(sink),
                stripe_key="sk_test_bench",
                personal_keys=Followed((bytes(32),)),
                stripe_base=stripe.base_url,
                clock=Clock(),
            )
        )
        yield parts, stripe


@asynccontextmanager
async def _stand_in() -> AsyncIterator[SandboxControl]:
    port = free_ports()["sandbox"]
    environment = {**os.environ, "BATZEN_SANDBOX_LISTEN": f"127.0.0.1:{port}"}
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "sandbox", env=environment)
    try:
        async with SandboxControl(f"http://127.0.0.1:{port}") as control, asyncio.timeout(60):
            while True:
                with suppress(httpx.TransportError):
                    await control.health()
                    break
                await asyncio.sleep(0.1)
        async with SandboxControl(f"http://127.0.0.1:{port}") as control:
            yield control
    finally:
        process.terminate()
        await process.wait()


async def _pay(parts: Parts, number: int) -> None:
    left = iter(range(number))

    async def some() -> None:
        with acting_for(TENANT):
            for _ in left:
                await _paid(parts)

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))


async def _paid(parts: Parts) -> None:
    """Pay once at the stand-in, and keep that as the gateway does."""
    payment_id, now = f"pay_{uuid.uuid4().hex[:26]}", parts.clock.now()
    line = LinePart(
        line_id="line", seller_id=TENANT, gross_minor=AMOUNT_MINOR, seller_minor=AMOUNT_MINOR, is_platform=True
    )
    intent = Intent(
        attempt=1,
        amount_minor=AMOUNT_MINOR,
        application_fee_minor=0,
        create_time=now,
        split=Split(lines=(line,), step_minor=1),
    )
    new = MirroredPayment.new(TENANT, payment_id, payer_id="payer", seller_id="", currency_code="CHF")
    await parts.store.begin(new, now=now)
    params = {
        "amount": AMOUNT_MINOR,
        "currency": "chf",
        "payment_method": "pm_card_visa",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "confirm": True,
        "expand": ["latest_charge"],
        "metadata": {"payment_id": payment_id},
    }
    shown = await parts.provider.intents.create(params, key=payment_id)
    held = await parts.store.leases.acquire((TENANT, payment_id), until=patience(wait_max_s=10))
    async with parts.store.leases.holding(held):
        held.intents[1] = intent
        held.apply_intent(1, attempt_facts(shown))
        await parts.store.save(held, point="bench.save", now=now, release=True)


async def _round(parts: Parts, span: Span, payments: int) -> Round:
    gc.collect()
    before = resident_bytes(os.getpid())
    restart_peak(os.getpid())
    begun = time.perf_counter()
    runs, request_id = parts.reconciliations, uuid.uuid4()
    reconciliation_id = await runs.begin(
        TENANT, span, request_id=request_id, request_hash=request_id.bytes, repairs=False, actor_id="bench"
    )
    async with parts.work.running():
        run = await runs.store.require(TENANT, reconciliation_id)
        while run.position is not None:
            await asyncio.sleep(0.05)
            run = await runs.store.require(TENANT, reconciliation_id)
    run_s, peak = time.perf_counter() - begun, peak_bytes(os.getpid())
    found = await runs.store.tallies(TENANT, reconciliation_id)
    if found:
        raise RuntimeError(f"what was made is not the same on both sides: {found}")
    begun = time.perf_counter()
    await _list(parts, span)
    matched = sum(four[0] for one in run.counted.values() for four in one.values())
    return Round(
        payments=payments,
        run_s=run_s,
        list_s=time.perf_counter() - begun,
        before_bytes=before,
        peak_bytes=peak,
        matched=matched,
    )


async def _list(parts: Parts, span: Span) -> None:
    """Read the same pages, and no more."""
    theirs = Theirs(parts.provider)
    with acting_for(TENANT):
        for day in map(span.day, range(span.days)):
            for stage in LISTS:
                position = Position(stage=stage)
                while not position.is_read:
                    position = position.page(await theirs.page(position, day), window=())
