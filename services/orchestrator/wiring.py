"""Builds the orchestrator from its parts."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

from grpc import aio

from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.gateway.v1.diagnosis_pb2_grpc import DiagnosisServiceStub
from batzen.gateway.v1.imports_pb2_grpc import ImportServiceStub
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from batzen.gateway.v1.sellers_pb2_grpc import SellerServiceStub
from batzen.orchestrator.v1.booking_check_pb2_grpc import BookingCheckServiceStub
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from services.orchestrator.booking_claims import BookingClaims
from services.orchestrator.captures import Captures
from services.orchestrator.charging import Charging
from services.orchestrator.commands.registry import Registry, all_commands
from services.orchestrator.decline_limits import DeclineLimits
from services.orchestrator.diagnosis.building import Diagnoses, diagnosing
from services.orchestrator.domain.decline_limits import DECLINES_MAX
from services.orchestrator.domain.policies import ABANDONED_AFTER
from services.orchestrator.domain.surplus import SurplusRefund
from services.orchestrator.due_steps.registry import DueSteps, all_due_steps
from services.orchestrator.event_sink import SinkServicer
from services.orchestrator.facts.building import Hearing, fact_store, hearing
from services.orchestrator.facts.reminders import BEFORE as REMINDED_BEFORE
from services.orchestrator.facts.sink import FactSink
from services.orchestrator.facts.store import FORGET as FORGET_FACTS
from services.orchestrator.facts.store import FactStore
from services.orchestrator.figures.sink import FigureSink
from services.orchestrator.fraud_refunds import FraudRefunds
from services.orchestrator.held_payments import HeldPayments
from services.orchestrator.imports.building import importing
from services.orchestrator.imports.importer import Imports
from services.orchestrator.mail.building import NO_MAILS, Mails, mails, unsubscribe_tokens
from services.orchestrator.mail.settings import MailSettings
from services.orchestrator.mail.store import FORGET as FORGET_MAILS
from services.orchestrator.metrics import (
    ATTENTION_COUNTED_MAX,
    OPEN_BOOKINGS_COUNTED_MAX,
    PLANNED_COUNTED_MAX,
    UNCOUNTED,
    WAITING_COUNTED_MAX,
    OrchestratorMetrics,
)
from services.orchestrator.notifications.building import Notifications, notifications
from services.orchestrator.notifications.store import FORGET as FORGET_NOTIFICATIONS
from services.orchestrator.operations.attention_sink import AttentionSink
from services.orchestrator.operations.building import operator_side
from services.orchestrator.operations.resolving import Resolving
from services.orchestrator.operations.servicer import Operations
from services.orchestrator.peers import Peers
from services.orchestrator.peers.bookings import BookingCheck
from services.orchestrator.peers.contacts import GatewayContacts
from services.orchestrator.peers.examinations import Examinations
from services.orchestrator.peers.feed import Feed
from services.orchestrator.peers.gateway import Gateway
from services.orchestrator.peers.imports import ImportPeers
from services.orchestrator.peers.pricing import Pricing
from services.orchestrator.peers.sellers import ReceiptSellers
from services.orchestrator.peers.status import Status
from services.orchestrator.queries import Queries
from services.orchestrator.quote_outbox import QuoteOutbox
from services.orchestrator.receipts import Receipts
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.servicers.notifications import NotificationServicer
from services.orchestrator.servicers.ops import OrchestratorOpsServicer
from services.orchestrator.servicers.payments import OrchestratorServicer, rpc_of
from services.orchestrator.sessions import PaymentSessions
from services.orchestrator.steps import Steps
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.orchestrator.storage.declines import DeclineStore
from services.orchestrator.storage.figures import FigureStore
from services.orchestrator.storage.money_policies import MoneyPolicyStore
from services.orchestrator.storage.start_switches import StartSwitchStore
from services.orchestrator.storage.statements import FORGET
from services.orchestrator.storage.store import Store
from services.orchestrator.surplus import Surplus
from services.orchestrator.sweep import Sweep
from services.orchestrator.syncs import Syncs
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.webhooks_out.building import Webhooks, sending_webhooks
from services.orchestrator.webhooks_out.guard import Guard
from services.runtime.database.connections import DatabaseUrl, DirectConnections
from services.runtime.database.request_expiry import forgetting
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.work.engine import Engine
from services.runtime.work.sampling import sampling, waiting_work

SERVICE: Final = "orchestrator"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
HELD_CONNECTIONS: Final = 8
"""Every statement takes less than a millisecond, and no call keeps a connection between two of them."""


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
    facts: FactStore
    hearing: Hearing
    webhooks: Webhooks
    telling: Notifications
    mailing: Mails
    receipts: Receipts
    notifications: NotificationServicer
    claim_store: BookingClaimStore
    decline_store: DeclineStore
    diagnoses: Diagnoses
    imports: Imports
    start_switches: StartSwitchStore
    policies: MoneyPolicyStore
    fraud_refunds: FraudRefunds
    ops: OrchestratorOpsServicer


def wired(
    store: Store,
    start_switches: StartSwitchStore,
    policies: MoneyPolicyStore,
    peers: Peers,
    work: Engine,
    *,
    facts: FactStore,
    hearing: Hearing,
    webhooks: Webhooks,
    telling: Notifications,
    mailing: Mails,
    receipts: Receipts,
    claim_store: BookingClaimStore,
    decline_store: DeclineStore,
    diagnoses: Diagnoses,
    operations: Operations,
    imports: Imports,
    clock: Clock,
    abandoned_after: timedelta = ABANDONED_AFTER,
    surplus_refund: SurplusRefund = SurplusRefund.PERSON,
    declines_max: int = DECLINES_MAX,
    metrics: OrchestratorMetrics = UNCOUNTED,
) -> Parts:
    """Put the parts together around what keeps and what is called."""
    payments = HeldPayments(store, abandoned_after=abandoned_after, now=clock.now, metrics=metrics)
    outbox = TransitionOutbox(peers.status, peers.gateway, now=clock.now, metrics=metrics)
    claims = BookingClaims(claim_store, now=clock.now)
    declines = DeclineLimits(decline_store, declines_max=declines_max, now=clock.now)
    steps = Steps(outbox, peers, claims)
    captures = Captures(outbox, peers)
    charging = Charging(steps, outbox, peers, now=clock.now)
    due_steps = all_due_steps(steps, captures, charging, peers, now=clock.now)
    surplus, fraud_refunds = Surplus(peers, policy=surplus_refund), FraudRefunds(peers)
    resolving = Resolving(
        store, steps, captures, outbox, peers, due_steps=due_steps, surplus=surplus, fraud_refunds=fraud_refunds
    )
    commands = all_commands(
        steps,
        due_steps,
        captures,
        outbox,
        peers,
        store=store,
        charging=charging,
        resolving=resolving,
        declines=declines,
        abandoned_after=abandoned_after,
        now=clock.now,
    )
    runner = RequestRunner(store, payments, steps, outbox, commands, now=clock.now)
    syncs = Syncs(payments, steps, outbox, peers)
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
        sweep=Sweep(
            store,
            payments,
            steps,
            outbox,
            runner,
            due_steps=due_steps,
            surplus=surplus,
            fraud_refunds=fraud_refunds,
            metrics=metrics,
        ),
        quote_outbox=QuoteOutbox(store, peers.pricing),
        servicer=OrchestratorServicer(  # type: ignore[abstract]  # commands are bound by name; others only announced
            commands,
            runner,
            Queries(store, payments, PaymentSessions(store, outbox, peers), peers, claim_store, now=clock.now),
            syncs,
            receipts,
        ),
        sink=SinkServicer(store, facts),
        facts=facts,
        hearing=hearing,
        webhooks=webhooks,
        telling=telling,
        mailing=mailing,
        receipts=receipts,
        notifications=NotificationServicer(
            telling.store, telling.policies, telling.watches, tokens=telling.tokens, now=clock.now
        ),
        claim_store=claim_store,
        decline_store=decline_store,
        diagnoses=diagnoses,
        imports=imports,
        start_switches=start_switches,
        policies=policies,
        fraud_refunds=fraud_refunds,
        ops=OrchestratorOpsServicer(
            start_switches,
            policies,
            diagnoses,
            operations,
            webhooks,
            mailing=mailing,
            notification_policies=telling.policies,
            imports=imports,
            resolve=rpc_of(commands["ResolvePayment"], runner),
            now=clock.now,
        ),
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
    declines_max: int = DECLINES_MAX,
    reminded_before: timedelta = REMINDED_BEFORE,
    webhook_keys: Followed[tuple[bytes, ...]] | None = None,
    webhook_guard: Guard = Guard(),  # noqa: B008 immutable
    mail: MailSettings = NO_MAILS,
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
                contacts=ContactServiceStub(gateway),
            ),
            bookings=BookingCheck(booking_check, allow_on_silence=allow_on_silence, metrics=metrics),
        )
        show_pools(meter, held)
        work = Engine(database_url, held, clock=clock, application_name=SERVICE, meter=meter)
        store = Store(held, clock=clock, wake=work.wake)
        webhooks = await stack.enter_async_context(
            sending_webhooks(
                held,
                peers.gateway,
                guard=webhook_guard,
                keys=webhook_keys,
                clock=clock,
                wake=work.wake,
                meter=meter,
            )
        )
        telling = notifications(held, tokens=unsubscribe_tokens(mail), clock=clock, meter=meter)
        receipts = Receipts(store, peers, ReceiptSellers(SellerServiceStub(gateway)), telling.policies.current)
        contacts = GatewayContacts(ContactServiceStub(gateway))
        mailing = mails(held, contacts, mail, receipts=receipts, clock=clock, meter=meter)
        sinks: list[FactSink] = [telling.sink, AttentionSink(), webhooks.sink]
        facts = fact_store(held, sinks=sinks, clock=clock, wake=work.wake, meter=meter)
        heard = hearing(
            held,
            Feed(StatusServiceStub(status)),
            facts,
            moves=FigureSink(),
            clock=clock,
            work=work,
            reminded_before=reminded_before,
            meter=meter,
        )
        switches = StartSwitchStore(held)
        parts = wired(
            store,
            switches,
            MoneyPolicyStore(held),
            peers,
            work,
            facts=facts,
            hearing=heard,
            webhooks=webhooks,
            telling=telling,
            mailing=mailing,
            receipts=receipts,
            claim_store=BookingClaimStore(held),
            decline_store=DeclineStore(held),
            diagnoses=diagnosing(
                held, store, peers, Examinations(DiagnosisServiceStub(gateway)), clock=clock, meter=meter
            ),
            operations=operator_side(held, store, peers, clock=clock),
            imports=importing(
                held,
                ImportPeers(gateway=ImportServiceStub(gateway), status=StatusServiceStub(status)),
                clock=clock,
                meter=meter,
            ),
            clock=clock,
            abandoned_after=abandoned_after,
            surplus_refund=surplus_refund,
            declines_max=declines_max,
            metrics=metrics,
        )
        work.register(
            *parts.sweep.kinds,
            parts.quote_outbox.kind,
            *heard.kinds,
            mailing.outbox.kind,
            webhooks.kind,
            parts.diagnoses.rounds.kind,
        )
        await stack.enter_async_context(parts.runner.draining())
        await stack.enter_async_context(parts.syncs.draining())
        await stack.enter_async_context(webhooks.upkeep.tended())
        await stack.enter_async_context(
            forgetting(held, (FORGET, FORGET_FACTS, FORGET_MAILS, FORGET_NOTIFICATIONS), now=clock.now)
        )
        await stack.enter_async_context(heard.running())
        await stack.enter_async_context(telling.watches.running())
        await stack.enter_async_context(parts.diagnoses.rounds.running())
        waiting = waiting_work(held, work.kinds, clock=clock, meter=meter)
        await stack.enter_async_context(
            sampling(
                meter,
                waiting,
                partial(look_at_waiting, FigureStore(held), metrics, now=clock.now),
                partial(look_at_switches, switches, metrics),
                heard.look,
                webhooks.upkeep.look,
                mailing.look,
                parts.diagnoses.rounds.look,
            )
        )
        yield parts


async def look_at_switches(switches: StartSwitchStore, metrics: OrchestratorMetrics) -> None:
    """Show whose new payments are stopped."""
    metrics.starts(paused=await switches.paused())
