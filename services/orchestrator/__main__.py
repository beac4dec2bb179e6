"""Builds the orchestrator and runs it: `python -m services.orchestrator` serves, `… migrate` migrates."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Self

from grpc import aio

from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.observation_pb2_grpc import add_GatewayEventSinkServiceServicer_to_server
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from batzen.orchestrator.v1 import notifications_pb2_grpc, ops_pb2_grpc
from batzen.orchestrator.v1.booking_check_pb2_grpc import BookingCheckServiceStub
from batzen.orchestrator.v1.orchestrator_pb2_grpc import add_OrchestratorServiceServicer_to_server
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from services.access import TABLE
from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.captures import Captures
from services.orchestrator.charging import Charging
from services.orchestrator.commands.registry import Registry, all_commands
from services.orchestrator.domain.policies import ABANDONED_AFTER
from services.orchestrator.domain.surplus import SurplusRefund
from services.orchestrator.due_steps.registry import DueSteps, all_due_steps
from services.orchestrator.event_sink import SinkServicer
from services.orchestrator.held_payments import HeldPayments
from services.orchestrator.metrics import (
    ATTENTION_COUNTED_MAX,
    OPEN_BOOKINGS_COUNTED_MAX,
    PLANNED_COUNTED_MAX,
    UNCOUNTED,
    WAITING_COUNTED_MAX,
    OrchestratorMetrics,
)
from services.orchestrator.peers import Peers
from services.orchestrator.peers.bookings import BookingCheck
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.peers.pricing import Pricing
from services.orchestrator.peers.status import Status
from services.orchestrator.queries import Queries
from services.orchestrator.quote_outbox import QuoteOutbox
from services.orchestrator.request_runner import DRAIN_S, RequestRunner
from services.orchestrator.servicers.ops import OrchestratorOpsServicer
from services.orchestrator.servicers.payments import OrchestratorServicer
from services.orchestrator.sessions import PaymentSessions
from services.orchestrator.steps import Steps
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.orchestrator.storage.figures import FigureStore
from services.orchestrator.storage.start_switches import StartSwitchStore
from services.orchestrator.storage.statements import FORGET
from services.orchestrator.storage.store import Store
from services.orchestrator.surplus import Surplus
from services.orchestrator.sweep import Sweep
from services.orchestrator.syncs import Syncs
from services.orchestrator.transition_outbox import TransitionOutbox
from services.runtime.database.connections import DatabaseUrl, DirectConnections, make_engine
from services.runtime.database.migrations import wait_for_schema
from services.runtime.database.request_expiry import forgetting
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.clock import Clock
from services.runtime.process.lifecycle import until_terminated
from services.runtime.process.program import Program
from services.runtime.process.service import SCHEMA_WAIT_S, ProcessSettings
from services.runtime.process.settings import Reader, address, directory, one_of, whole_number
from services.runtime.rpc.channels import TOKENS_DOC, TokenDirectory, peer_channel
from services.runtime.rpc.limits import Limits
from services.runtime.work.engine import Engine
from services.runtime.work.sampling import sampling, waiting_work

SERVICE: Final = "orchestrator"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
HELD_CONNECTIONS: Final = 8
"""Every statement takes less than a millisecond, and no call keeps a connection between two of them."""
LIMITS: Final = Limits(message_bytes_max=1_536 * 1024)
"""1,000 lines with every field at its longest have 1.2 MB."""
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a serving process needs to know."""

    process: ProcessSettings
    token_directory: Path
    pricing_address: str
    status_address: str
    gateway_address: str
    booking_check_address: str | None
    allow_on_silence: bool
    abandoned_after: timedelta
    surplus_refund: SurplusRefund

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(
            process=ProcessSettings.read(read, listen="127.0.0.1:7001"),
            token_directory=read("BATZEN_TOKEN_DIRECTORY", directory, doc=TOKENS_DOC),
            pricing_address=read("BATZEN_PRICING_ADDRESS", address, doc="Where pricing is called."),
            status_address=read("BATZEN_STATUS_ADDRESS", address, doc="Where status is called."),
            gateway_address=read("BATZEN_GATEWAY_ADDRESS", address, doc="Where the gateway is called."),
            booking_check_address=read(
                "BATZEN_BOOKING_CHECK_ADDRESS",
                address,
                default=None,
                doc="Where the platform's BookingCheckService is called; no booking is checked if unset.",
            ),
            allow_on_silence=read(
                "BATZEN_BOOKING_CHECK_SILENCE",
                one_of("refuse", "allow"),
                default="refuse",
                doc="What happens while the booking check does not answer: the payment waits, or it goes ahead.",
            )
            == "allow",
            abandoned_after=timedelta(
                seconds=read(
                    "BATZEN_ABANDONED_AFTER_S",
                    whole_number(at_least=1, at_most=30 * DAY_S),
                    default=int(ABANDONED_AFTER.total_seconds()),
                    doc="After how many seconds without a payer's step a payment is cancelled.",
                )
            ),
            surplus_refund=SurplusRefund(
                read(
                    "BATZEN_SURPLUS_REFUND",
                    one_of(*SurplusRefund),
                    default=SurplusRefund.PERSON.value,
                    doc="How money that came on an attempt that was given up goes back: by itself, or by a person.",
                )
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a process is made of."""

    store: Store
    peers: Peers
    work: Engine
    payments: HeldPayments
    steps: Steps
    due_steps: DueSteps
    outbox: TransitionOutbox
    commands: Registry
    runner: RequestRunner
    syncs: Syncs
    surplus: Surplus
    sweep: Sweep
    quote_outbox: QuoteOutbox
    servicer: OrchestratorServicer
    sink: SinkServicer
    claim_store: BookingClaimStore
    start_switches: StartSwitchStore
    ops: OrchestratorOpsServicer


def wired(
    store: Store,
    start_switches: StartSwitchStore,
    peers: Peers,
    work: Engine,
    *,
    claim_store: BookingClaimStore,
    clock: Clock,
    abandoned_after: timedelta = ABANDONED_AFTER,
    surplus_refund: SurplusRefund = SurplusRefund.PERSON,
    metrics: OrchestratorMetrics = UNCOUNTED,
) -> Parts:
    """Put the parts together around what keeps and what is called."""
    payments = HeldPayments(store, abandoned_after=abandoned_after, now=clock.now, metrics=metrics)
    outbox = TransitionOutbox(peers.status, peers.gateway, now=clock.now, metrics=metrics)
    claims = BookingClaims(claim_store, now=clock.now)
    steps = Steps(outbox, peers, claims)
    captures = Captures(outbox, peers)
    charging = Charging(steps, outbox, peers, now=clock.now)
    due_steps = all_due_steps(steps, captures, charging, peers, now=clock.now)
    commands = all_commands(
        steps, due_steps, captures, outbox, peers, charging=charging, abandoned_after=abandoned_after, now=clock.now
    )
    runner = RequestRunner(store, payments, steps, outbox, commands, now=clock.now)
    syncs = Syncs(payments, steps, outbox, peers)
    surplus = Surplus(peers, policy=surplus_refund)
    return Parts(
        store=store,
        peers=peers,
        work=work,
        payments=payments,
        steps=steps,
        due_steps=due_steps,
        outbox=outbox,
        commands=commands,
        runner=runner,
        syncs=syncs,
        surplus=surplus,
        sweep=Sweep(store, payments, steps, outbox, runner, due_steps=due_steps, surplus=surplus, metrics=metrics),
        quote_outbox=QuoteOutbox(store, peers.pricing),
        servicer=OrchestratorServicer(  # type: ignore[abstract]  # commands are bound by name; others only announced
            commands, runner, Queries(store, payments, PaymentSessions(outbox, peers), peers, claim_store), syncs
        ),
        sink=SinkServicer(store),
        claim_store=claim_store,
        start_switches=start_switches,
        ops=OrchestratorOpsServicer(start_switches, now=clock.now),  # type: ignore[abstract]  # others only announced
    )


async def look_at_waiting(figures: FigureStore, metrics: OrchestratorMetrics, *, now: Callable[[], datetime]) -> None:
    """Look up what waits for status, for an operator and for its time, and show it."""
    pending, oldest_time = await figures.outbox_waiting(at_most=WAITING_COUNTED_MAX)
    oldest_s = 0.0 if oldest_time is None else max(0.0, (now() - oldest_time).total_seconds())
    attention = await figures.attention(at_most=ATTENTION_COUNTED_MAX)
    metrics.waits(pending=pending, oldest_s=oldest_s, attention=attention)
    planned = await figures.planned(at_most=PLANNED_COUNTED_MAX)
    open_bookings = await figures.open_bookings(at_most=OPEN_BOOKINGS_COUNTED_MAX)
    metrics.plans(planned=planned, now=now(), open_bookings=open_bookings)


@asynccontextmanager
async def orchestrator_parts(
    database_url: DatabaseUrl,
    *,
    pricing: aio.Channel,
    status: aio.Channel,
    gateway: aio.Channel,
    booking_check: BookingCheckServiceStub | None = None,
    allow_on_silence: bool = False,
    clock: Clock,
    abandoned_after: timedelta = ABANDONED_AFTER,
    surplus_refund: SurplusRefund = SurplusRefund.PERSON,
    meter: Meter = OFF,
) -> AsyncIterator[Parts]:
    """Build the service on its migrated database; at the end requests under way get a moment to come to theirs."""
    async with AsyncExitStack() as stack:
        held = await stack.enter_async_context(
            DirectConnections(database_url, application_name=SERVICE, size=HELD_CONNECTIONS)
        )
        metrics = OrchestratorMetrics(meter)
        peers = Peers(
            pricing=Pricing(PricingServiceStub(pricing)),
            status=Status(StatusServiceStub(status)),
            gateway=Gateway(
                intents=IntentServiceStub(gateway),
                checkout=CheckoutServiceStub(gateway),
                refunds=RefundServiceStub(gateway),
            ),
            bookings=BookingCheck(booking_check, allow_on_silence=allow_on_silence, metrics=metrics),
        )
        show_pools(meter, held)
        work = Engine(database_url, held, clock=clock, application_name=SERVICE, meter=meter)
        store = Store(held, clock=clock, wake=work.wake)
        switches = StartSwitchStore(held)
        parts = wired(
            store,
            switches,
            peers,
            work,
            claim_store=BookingClaimStore(held),
            clock=clock,
            abandoned_after=abandoned_after,
            surplus_refund=surplus_refund,
            metrics=metrics,
        )
        work.register(*parts.sweep.kinds, parts.quote_outbox.kind)
        await stack.enter_async_context(parts.runner.draining())
        await stack.enter_async_context(parts.syncs.draining())
        await stack.enter_async_context(forgetting(held, (FORGET,), now=clock.now))
        waiting = waiting_work(held, work.kinds, clock=clock, meter=meter)
        await stack.enter_async_context(
            sampling(
                meter,
                waiting,
                partial(look_at_waiting, FigureStore(held), metrics, now=clock.now),
                partial(look_at_switches, switches, metrics),
            )
        )
        yield parts


async def look_at_switches(switches: StartSwitchStore, metrics: OrchestratorMetrics) -> None:
    """Show whose new payments are stopped."""
    metrics.starts(paused=await switches.paused())


async def _booking_check(
    settings: Settings, tokens: TokenDirectory, stack: AsyncExitStack
) -> BookingCheckServiceStub | None:
    """Return the platform's check of bookings, if it has one."""
    if settings.booking_check_address is None:
        return None
    channel = await stack.enter_async_context(
        peer_channel(settings.booking_check_address, tokens=tokens, tls=settings.process.tls)
    )
    return BookingCheckServiceStub(channel)


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    settings.process.arm()
    async with AsyncExitStack() as stack:
        stack.enter_context(settings.process.observed(SERVICE))
        meter = await stack.enter_async_context(settings.process.metering())
        engine = make_engine(settings.process.database_url, application_name=SERVICE, pool_size=2)
        stack.push_async_callback(engine.dispose)
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        tokens = TokenDirectory(settings.token_directory)
        pricing, status, gateway = [
            await stack.enter_async_context(peer_channel(peer, tokens=tokens, tls=settings.process.tls))
            for peer in (settings.pricing_address, settings.status_address, settings.gateway_address)
        ]
        parts = await stack.enter_async_context(
            orchestrator_parts(
                settings.process.database_url,
                pricing=pricing,
                status=status,
                gateway=gateway,
                booking_check=await _booking_check(settings, tokens, stack),
                allow_on_silence=settings.allow_on_silence,
                clock=Clock(),
                abandoned_after=settings.abandoned_after,
                surplus_refund=settings.surplus_refund,
                meter=meter,
            )
        )
        await stack.enter_async_context(parts.work.running(grace_s=DRAIN_S))
        await stack.enter_async_context(
            settings.process.server(
                partial(add_OrchestratorServiceServicer_to_server, parts.servicer),
                partial(add_GatewayEventSinkServiceServicer_to_server, parts.sink),
                partial(
                    ops_pb2_grpc.add_OrchestratorOpsServiceServicer_to_server,
                    parts.ops,
                ),
                partial(
                    notifications_pb2_grpc.add_NotificationServiceServicer_to_server,
                    notifications_pb2_grpc.NotificationServiceServicer(),  # type: ignore[abstract]
                ),
                access=TABLE,
                engine=engine,
                limits=LIMITS,
                meter=meter,
            )
        )
        await until_terminated()


PROGRAM: Final = Program(service=SERVICE, migrations=MIGRATIONS, read=Settings.read, serve=serve)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])
