"""Builds the gateway from its parts."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final

import stripe
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.gateway.balance.importer import BalanceImport
from services.gateway.balance.store import BalanceStore
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.store import CallStore
from services.gateway.call_log.sweep import CallSweep
from services.gateway.checkout.addresses import PageAddresses
from services.gateway.checkout.create import CreateSession
from services.gateway.contacts.payers import PayerContacts
from services.gateway.customers.changes import CustomerChanges
from services.gateway.customers.operations import Customers
from services.gateway.dead_letters.listing import DeadLetterList
from services.gateway.dead_letters.replays import Replays
from services.gateway.deliveries.outbox import Deliveries
from services.gateway.diagnosis.building import examiner
from services.gateway.disputes.metrics import DisputeMetrics
from services.gateway.disputes.operations import AcceptDispute, SubmitEvidence
from services.gateway.disputes.store import DisputeStore
from services.gateway.disputes.watch import DueWatch
from services.gateway.erasure.delete_customer import DeleteCustomer
from services.gateway.erasure.erasing import Erasing
from services.gateway.imports.building import import_servicer
from services.gateway.intents.cancel import CancelIntent
from services.gateway.intents.capture import CaptureIntent
from services.gateway.intents.confirm import ConfirmIntent
from services.gateway.intents.create import CreateIntent
from services.gateway.intents.creation import Creation
from services.gateway.ledger.closings import Closings
from services.gateway.ledger.store import Ledger
from services.gateway.metrics import UNKNOWN_AFTER_S, GatewayMetrics
from services.gateway.mirror.store import Store
from services.gateway.notices.outbox import Notices
from services.gateway.operations.actions import ActionList
from services.gateway.payment_methods.kept_methods import KeptMethods
from services.gateway.payment_methods.operations import AttachMethod, DetachMethod, SetDefaultMethod
from services.gateway.payment_methods.setup_intents import SetupIntents
from services.gateway.payment_methods.setups import CancelSetup, CreateSetup
from services.gateway.payment_methods.store import MethodStore
from services.gateway.payouts.operations import Payouts
from services.gateway.personal.keys import PersonalKeys, seller_holder_of
from services.gateway.personal.sealed import OF_SELLERS, SealedDetails
from services.gateway.polling.poller import EventPolls
from services.gateway.polling.store import PollStore
from services.gateway.receivables.metrics import ReceivableMetrics
from services.gateway.receivables.store import ReceivableStore
from services.gateway.receivables.write_off import WriteOffs
from services.gateway.reconciliation.building import reconciliations
from services.gateway.reconciliation.runner import Reconciliations
from services.gateway.reconciliation.schedule import ACTOR as SCHEDULE_ACTOR
from services.gateway.refunds.operations import CreateRefund
from services.gateway.retention import FORGET
from services.gateway.sellers.onboarding import Onboarding
from services.gateway.sellers.operations import Sellers
from services.gateway.servicers.checkout import CheckoutServicer
from services.gateway.servicers.contacts import ContactServicer
from services.gateway.servicers.diagnosis import DiagnosisServicer
from services.gateway.servicers.disputes import DisputeServicer
from services.gateway.servicers.intents import IntentServicer
from services.gateway.servicers.ops import GatewayOpsServicer
from services.gateway.servicers.payment_methods import PaymentMethodServicer
from services.gateway.servicers.refunds import RefundServicer
from services.gateway.servicers.sellers import SellerServicer
from services.gateway.servicers.services import GatewayServicers
from services.gateway.servicers.transfers import TransferServicer
from services.gateway.settings import TENANT
from services.gateway.settlement.listing import TransferList
from services.gateway.settlement.metrics import look_at_settlements
from services.gateway.settlement.settler import Settler
from services.gateway.settlement.transfers import CreateTransfer
from services.gateway.settlement.way_back import RefundFee, ReverseTransfer
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.limits import StripeLimits
from services.gateway.stripe_api.platform_account import PlatformAccount, is_live
from services.gateway.stripe_api.transport import TRY_TIMEOUT_S
from services.gateway.sync.movements import MovementReader
from services.gateway.sync.reader import MirrorReader
from services.gateway.sync.sweep import Looker
from services.gateway.webhooks.bodies import Bodies
from services.gateway.webhooks.effects import Effects
from services.gateway.webhooks.inbox import Inbox
from services.gateway.webhooks.listing import EventList
from services.runtime.database.connections import DatabaseUrl, DirectConnections, make_engine
from services.runtime.database.engine_pool import EnginePool
from services.runtime.database.migrations import wait_for_schema
from services.runtime.database.request_expiry import forgetting
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.process.key_ring import KeyRing
from services.runtime.process.service import SCHEMA_WAIT_S
from services.runtime.work.engine import Engine
from services.runtime.work.sampling import sampling, waiting_work

SERVICE: Final = "gateway"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
HELD_CONNECTIONS: Final = 8
"""Every statement takes less than a millisecond, and no call keeps a connection while Stripe works."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The gateway without its ports."""

    clock: Clock
    engine: AsyncEngine
    connections: DirectConnections
    work: Engine
    store: Store
    account: PlatformAccount
    servicers: GatewayServicers
    ops: GatewayOpsServicer
    calls: Calls
    call_store: CallStore
    provider: Provider
    reader: MirrorReader
    imports: BalanceImport
    reconciliations: Reconciliations
    sellers: Sellers
    payouts: Payouts
    customers: Customers
    keys: PersonalKeys
    bodies: Bodies
    methods: KeptMethods
    setups: SetupIntents
    effects: Effects
    inbox: Inbox
    polls: EventPolls
    deliveries: Deliveries
    notices: Notices
    disputes: DisputeStore
    settler: Settler
    receivables: ReceivableStore
    metrics: GatewayMetrics


async def look_at_unanswered(
    calls: CallStore, inbox: Inbox, metrics: GatewayMetrics, *, tenant_id: str, now: Callable[[], datetime]
) -> None:
    """Look up what Stripe did not answer, and what it reported that waits, and show it."""
    count, first_time = await calls.unknown(tenant_id, sent_before=now() - timedelta(seconds=UNKNOWN_AFTER_S))
    metrics.unknown(calls=count, oldest_s=_age_s(first_time, now()))
    pending, oldest_time = await inbox.waiting(tenant_id)
    metrics.webhooks.waits(pending=pending, oldest_s=_age_s(oldest_time, now()))


async def look_at_disputes(disputes: DisputeStore, metrics: DisputeMetrics, *, tenant_id: str) -> None:
    """Look up how many disputes are open, and when the first answer is due, and show it."""
    open_count, due_time = await disputes.figures(tenant_id)
    metrics.stand(open_count=open_count, due_time=due_time)


async def look_at_receivables(receivables: ReceivableStore, metrics: ReceivableMetrics, *, tenant_id: str) -> None:
    """Look up how many receivables are open, and show it."""
    metrics.stand(open_count=await receivables.count(tenant_id))


def _age_s(time: datetime | None, now: datetime) -> float:
    return 0.0 if time is None else max(0.0, (now - time).total_seconds())


@asynccontextmanager
async def gateway_parts(
    database_url: DatabaseUrl,
    *,
    sink: GatewayEventSinkServiceStub,
    stripe_key: str,
    stripe_base: str | None,
    personal_keys: Followed[tuple[bytes, ...]],
    clock: Clock,
    tenant_id: str = TENANT,
    try_timeout_s: float = TRY_TIMEOUT_S,
    stripe_limits: StripeLimits | None = None,
    reads_balance: bool = False,
    polls_every: timedelta | None = None,
    meter: Meter = OFF,
) -> AsyncIterator[Parts]:
    """Build the gateway on its database, which must be migrated or about to be. Without limits nothing waits.

    `reads_balance`: the platform's balance transactions are read by themselves, and not only where that is asked for.
    `polls_every`: Stripe's events are read, with that rest between two readings, and not only taken as they are sent.
    """
    now = clock.now
    async with AsyncExitStack() as stack:
        engine = make_engine(database_url, application_name=SERVICE)
        stack.push_async_callback(engine.dispose)
        held = await stack.enter_async_context(
            DirectConnections(database_url, application_name=SERVICE, size=HELD_CONNECTIONS)
        )
        await wait_for_schema(engine, MIGRATIONS, timeout_s=SCHEMA_WAIT_S)
        account = PlatformAccount(held, tenant_id=tenant_id, livemode=is_live(stripe_key), now=now)
        limits = stripe_limits or StripeLimits(None, clock=time.monotonic, failures_max=sys.maxsize)
        metrics = GatewayMetrics(meter)
        metrics.stripe.show(limits)
        provider = Provider(
            stripe_key,
            api_base=stripe_base,
            try_timeout_s=try_timeout_s,
            require=account.require,
            limits=limits,
            metrics=metrics.stripe,
        )
        stack.push_async_callback(provider.close)
        await stack.enter_async_context(account.verifying(provider))
        show_pools(meter, held, EnginePool(engine))
        work = Engine(database_url, held, clock=clock, application_name=SERVICE, tenants=[tenant_id], meter=meter)
        imports = BalanceImport(BalanceStore(held, clock=clock), provider, now=now)
        store = Store(held, clock=clock, wake=work.wake, metrics=metrics.ledger, moved=imports.hint)
        call_store, payers = CallStore(held), MethodStore(held, clock=clock)
        keys = PersonalKeys(held, KeyRing(personal_keys), now=now, metrics=metrics.personal)
        bodies, details, seller_details = (
            Bodies(held, keys),
            SealedDetails(keys),
            SealedDetails(keys, holder_of=seller_holder_of, field=OF_SELLERS),
        )
        calls = Calls(
            call_store,
            [
                CreateIntent(provider, store),
                CreateSession(provider, store, now=now),
                ConfirmIntent(provider, store, payers),
                CaptureIntent(provider, store),
                CancelIntent(provider, store),
                CreateRefund(provider, store),
                CreateTransfer(provider, store, now=now),
                ReverseTransfer(provider, store, now=now),
                RefundFee(provider, store, now=now),
                SubmitEvidence(provider, store),
                AcceptDispute(provider, store),
                AttachMethod(provider, payers),
                DetachMethod(provider, payers, now=now),
                SetDefaultMethod(payers),
                CreateSetup(provider, payers),
                CancelSetup(provider, payers),
                DeleteCustomer(provider, payers),
            ],
            now=now,
        )
        sellers = Sellers(held, provider, seller_details, clock=clock, wake=work.wake, changed=store.wake_settlements)
        reader = MirrorReader(store, calls, provider, MovementReader(provider, sellers), now=now)
        payouts = Payouts(held, sellers, provider, clock=clock, wake=work.wake)
        addresses = PageAddresses(provider)
        customers = Customers(held, provider, CustomerChanges(held, payers, provider, details), details, now=now)
        creation = Creation(call_store, calls, customers, sellers)
        kept_methods = KeptMethods(payers, calls, customers, provider, now=now)
        setups = SetupIntents(payers, calls, customers, kept_methods, provider, now=now)
        effects = Effects(
            reader,
            sellers=sellers,
            payouts=payouts,
            methods=kept_methods,
            setups=setups,
            api_version=stripe.api_version,
            now=now,
        )
        inbox = Inbox(
            held,
            reader,
            effects,
            bodies,
            api_version=stripe.api_version,
            livemode=is_live(stripe_key),
            clock=clock,
            wake=work.wake,
            metrics=metrics.webhooks,
        )
        polls = EventPolls(
            PollStore(held, clock=clock), provider, inbox, sellers, every=polls_every, now=now, metrics=metrics.polling
        )
        erasing = Erasing(held, store, calls, customers, kept_methods, keys, clock=clock, metrics=metrics.personal)
        deliveries, notices = (
            Deliveries(held, sink, now=now, metrics=metrics.deliveries),
            Notices(held, sink, now=now, metrics=metrics.notices),
        )
        disputes, receivables = DisputeStore(held), ReceivableStore(held)
        ledger, closings = (
            Ledger(held, clock=clock, metrics=metrics.ledger),
            Closings(held, clock=clock, metrics=metrics.ledger),
        )
        runs = reconciliations(
            held,
            payments=store,
            imports=imports,
            reader=reader,
            closings=closings,
            provider=provider,
            clock=clock,
            wake=work.wake,
            metrics=metrics.reconciliations,
        )
        settler = Settler(store, calls, sellers, provider, now=now)
        work.register(
            CallSweep(calls, call_store, is_away=limits.is_away_for).work,
            settler.work,
            inbox.work,
            deliveries.work,
            notices.work,
            Looker(held, reader).work,
            DueWatch(reader, clock=clock).work,
            closings.work,
            imports.work,
            runs.work,
            erasing.work,
            *polls.work,
        )
        await closings.begin(tenant_id)
        if reads_balance:
            await stack.enter_async_context(imports.reading(tenant_id))
        await polls.begin(tenant_id)
        await stack.enter_async_context(forgetting(held, FORGET, now=now))
        await stack.enter_async_context(keys.tended())
        waiting = waiting_work(held, work.kinds, clock=clock, meter=meter, tenants=[tenant_id])
        unanswered = partial(look_at_unanswered, call_store, inbox, metrics, tenant_id=tenant_id, now=now)
        await stack.enter_async_context(
            sampling(
                meter,
                waiting,
                unanswered,
                partial(look_at_disputes, disputes, metrics.disputes, tenant_id=tenant_id),
                partial(look_at_receivables, receivables, metrics.receivables, tenant_id=tenant_id),
                partial(payouts.look, tenant_id, metrics.payouts),
                partial(look_at_settlements, held, metrics.settlement, tenant_id=tenant_id, now=now),
                partial(imports.look, tenant_id, metrics.balance),
                partial(runs.show, tenant_id),
                partial(polls.look, tenant_id),
            )
        )
        yield Parts(
            clock=clock,
            engine=engine,
            connections=held,
            work=work,
            store=store,
            account=account,
            servicers=GatewayServicers(
                intents=IntentServicer(
                    payments=store,
                    calls=calls,
                    reader=reader,
                    creation=creation,
                    addresses=addresses,
                    provider=provider,
                    tenant_id=tenant_id,
                ),
                checkout=CheckoutServicer(
                    payments=store, calls=calls, creation=creation, addresses=addresses, tenant_id=tenant_id
                ),
                payment_methods=PaymentMethodServicer(kept=kept_methods, setups=setups, now=now, tenant_id=tenant_id),
                refunds=RefundServicer(payments=store, calls=calls, tenant_id=tenant_id),
                disputes=DisputeServicer(
                    payments=store, disputes=disputes, calls=calls, provider=provider, tenant_id=tenant_id
                ),
                sellers=SellerServicer(
                    sellers=sellers, onboarding=Onboarding(sellers, provider), payouts=payouts, tenant_id=tenant_id
                ),
                transfers=TransferServicer(
                    payments=store,
                    calls=calls,
                    sellers=sellers,
                    settler=settler,
                    transfers=TransferList(held),
                    tenant_id=tenant_id,
                ),
                diagnosis=DiagnosisServicer(
                    examiner=examiner(held, store, provider, sellers, clock=clock), tenant_id=tenant_id
                ),
                contacts=ContactServicer(
                    payers=PayerContacts(held, customers, provider, details, now=now),
                    customers=customers,
                    sellers=sellers,
                    tenant_id=tenant_id,
                ),
                imports=import_servicer(held, store, clock=clock, tenant_id=tenant_id),
            ),
            ops=GatewayOpsServicer(
                DeadLetterList(held, work, bodies),
                Replays(held, work, clock=clock),
                ledger,
                erasing,
                actions=ActionList(held, nobody=SCHEDULE_ACTOR),
                payments=store,
                calls=call_store,
                events=EventList(held),
                receivables=receivables,
                write_offs=WriteOffs(store, calls, now=now),
                reconciliations=runs,
                reconciliation_store=runs.store,
            ),
            calls=calls,
            call_store=call_store,
            provider=provider,
            reader=reader,
            imports=imports,
            reconciliations=runs,
            sellers=sellers,
            payouts=payouts,
            customers=customers,
            keys=keys,
            bodies=bodies,
            methods=kept_methods,
            setups=setups,
            effects=effects,
            inbox=inbox,
            polls=polls,
            deliveries=deliveries,
            notices=notices,
            disputes=disputes,
            settler=settler,
            receivables=receivables,
            metrics=metrics,
        )
