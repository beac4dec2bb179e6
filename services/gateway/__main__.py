"""Builds the gateway and runs it: `python -m services.gateway` serves, `… migrate` migrates.

`… repin acct_…` moves a tenant to another Stripe account.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, Self

import stripe
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.gateway.v1 import ops_pb2_grpc
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.access import TABLE
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.store import CallStore
from services.gateway.call_log.sweep import CallSweep
from services.gateway.checkout.addresses import PageAddresses
from services.gateway.checkout.create import CreateSession
from services.gateway.customers.changes import CustomerChanges
from services.gateway.customers.operations import Customers
from services.gateway.dead_letters import DeadLetters
from services.gateway.deliveries.outbox import Deliveries
from services.gateway.intents.cancel import CancelIntent
from services.gateway.intents.capture import CaptureIntent
from services.gateway.intents.confirm import ConfirmIntent
from services.gateway.intents.create import CreateIntent
from services.gateway.intents.creation import Creation
from services.gateway.metrics import STRIPE_KEY_REFUSED, UNKNOWN_AFTER_S, GatewayMetrics
from services.gateway.mirror.store import Store
from services.gateway.payment_methods.kept_methods import KeptMethods
from services.gateway.payment_methods.operations import AttachMethod, DetachMethod, SetDefaultMethod
from services.gateway.payment_methods.setup_intents import SetupIntents
from services.gateway.payment_methods.setups import CancelSetup, CreateSetup
from services.gateway.payment_methods.store import MethodStore
from services.gateway.refunds.operations import CreateRefund
from services.gateway.retention import FORGET
from services.gateway.sellers.operations import Sellers
from services.gateway.servicers.checkout import CheckoutServicer
from services.gateway.servicers.intents import IntentServicer
from services.gateway.servicers.ops import GatewayOpsServicer
from services.gateway.servicers.payment_methods import PaymentMethodServicer
from services.gateway.servicers.refunds import RefundServicer
from services.gateway.servicers.sellers import SellerServicer
from services.gateway.servicers.services import GatewayServicers, add_gateway_services
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.key_rotation import KeyRotation
from services.gateway.stripe_api.limits import Rates, StripeLimits
from services.gateway.stripe_api.platform_account import LIVE_KEYS, TEST_KEYS, PlatformAccount, is_live, repin
from services.gateway.stripe_api.transport import TRY_TIMEOUT_S
from services.gateway.sync.reader import MirrorReader
from services.gateway.sync.sweep import Looker
from services.gateway.webhooks.endpoint import Webhooks, endpoints_of
from services.gateway.webhooks.inbox import Inbox
from services.gateway.webhooks.port import serving
from services.runtime.database.connections import DatabaseUrl, DirectConnections, make_engine
from services.runtime.database.engine_pool import EnginePool
from services.runtime.database.migrations import wait_for_schema
from services.runtime.database.request_expiry import forgetting
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.observability.process_metrics import show_pools
from services.runtime.process.clock import Clock
from services.runtime.process.followed import Followed
from services.runtime.process.lifecycle import StartRefused, until_terminated
from services.runtime.process.program import Command, Program
from services.runtime.process.service import SCHEMA_WAIT_S, ProcessSettings, read_owner_url, read_production
from services.runtime.process.settings import (
    Form,
    Reader,
    Secret,
    address,
    directory,
    each_of,
    secret_text,
    text,
    whole_number,
)
from services.runtime.rpc.channels import TOKENS_DOC, TokenDirectory, peer_channel
from services.runtime.work.engine import Engine
from services.runtime.work.sampling import sampling, waiting_work

SERVICE: Final = "gateway"
MIGRATIONS: Final = Path(__file__).parent / "migrations"
TENANT: Final = "main"
"""A tenant is one Stripe platform account, and a process has the key of one: this one, unless BATZEN_TENANT says so."""
HELD_CONNECTIONS: Final = 8
"""Every statement takes less than a millisecond, and no call keeps a connection while Stripe works."""
STRIPE_RATE_LIVE: Final = 100
STRIPE_RATE_TEST: Final = 25
STRIPE_ENDPOINT_RATE: Final = 25
"""Calls a second that Stripe takes of an account with a live or a test key, and of one endpoint, unless it said that it
takes more. With several replicas BATZEN_STRIPE_RATE and BATZEN_STRIPE_ENDPOINT_RATE have to be each one's part."""
STRIPE_RATE_MAX: Final = 100_000
ACCOUNT_ID: Final = re.compile(r"acct_[A-Za-z0-9]{1,64}")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a serving process needs to know."""

    process: ProcessSettings
    webhook_listen: str
    token_directory: Path
    orchestrator_address: str
    stripe_key: Followed[str]
    stripe_base: str | None
    stripe_rates: Rates
    tenant_id: str
    webhook_secrets: Followed[tuple[str, ...]]
    connect_webhook_secrets: Followed[tuple[str, ...]] | None

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        process = ProcessSettings.read(read, listen="127.0.0.1:7004")
        return cls(
            process=process,
            webhook_listen=read(
                "BATZEN_WEBHOOK_LISTEN", address, default="127.0.0.1:7104", doc="Where webhooks (HTTP) are taken."
            ),
            token_directory=read("BATZEN_TOKEN_DIRECTORY", directory, doc=TOKENS_DOC),
            orchestrator_address=read("BATZEN_ORCHESTRATOR_ADDRESS", address, doc="Where the orchestrator is called."),
            stripe_key=read.secret(
                "STRIPE_API_KEY",
                stripe_key(is_live=process.production),
                doc="Stripe's secret or restricted key, of a live mode in production and of a test mode elsewhere.",
            ),
            stripe_base=read(
                "STRIPE_API_BASE", text, default=None, shown="https://api.stripe.com", doc="Where Stripe is called."
            ),
            stripe_rates=stripe_rates(read, is_live=process.production),
            tenant_id=read_tenant(read),
            webhook_secrets=read.secret(
                "BATZEN_STRIPE_WEBHOOK_SECRETS",
                each_of(secret_text),
                doc="What the events of our own account may be signed with; two while one takes the other's place.",
            ),
            connect_webhook_secrets=read.secret(
                "BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS",
                each_of(secret_text),
                default=None,
                doc="The same for the events of connected accounts; without it their path does not exist.",
            ),
        )


def read_tenant(read: Reader) -> str:
    """Read whose Stripe account the key opens."""
    return read("BATZEN_TENANT", text, default=TENANT, doc="The tenant whose Stripe account the key opens.")


def stripe_key(*, is_live: bool) -> Form[str]:
    """Return the form of a key of the mode."""

    def parse(value: str) -> str:
        if is_live and not value.startswith(LIVE_KEYS):
            raise ValueError("is no live key (sk_live_…, rk_live_…), and BATZEN_ENVIRONMENT is production")
        if not is_live and value.startswith(LIVE_KEYS):
            raise ValueError("is a live key, and BATZEN_ENVIRONMENT is not production")
        if not is_live and not value.startswith(TEST_KEYS):
            raise ValueError("is no test key (sk_test_…, rk_test_…)")
        if not value.isascii() or not value.isprintable() or " " in value:  # two keys, which no request could carry
            raise ValueError("has a character that no key has")
        return Secret(value)

    return Form(parse, "`sk_…` or `rk_…`")


def stripe_rates(read: Reader, *, is_live: bool) -> Rates:
    """Read how many calls a second this process may make: what Stripe takes, divided by the number of replicas."""
    calls_per_s = whole_number(at_least=1, at_most=STRIPE_RATE_MAX)
    return Rates(
        account=read(
            "BATZEN_STRIPE_RATE",
            calls_per_s,
            default=STRIPE_RATE_LIVE if is_live else STRIPE_RATE_TEST,
            shown=f"{STRIPE_RATE_LIVE} in production, {STRIPE_RATE_TEST} elsewhere",
            doc="Calls a second that this process sends to Stripe: what the account may, divided by the replicas.",
        ),
        endpoint=read(
            "BATZEN_STRIPE_ENDPOINT_RATE",
            calls_per_s,
            default=STRIPE_ENDPOINT_RATE,
            doc="The same of one of Stripe's endpoints.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The gateway without its ports."""

    clock: Clock
    engine: AsyncEngine
    work: Engine
    store: Store
    account: PlatformAccount
    servicers: GatewayServicers
    ops: GatewayOpsServicer
    calls: Calls
    call_store: CallStore
    provider: Provider
    reader: MirrorReader
    sellers: Sellers
    customers: Customers
    methods: KeptMethods
    setups: SetupIntents
    inbox: Inbox
    deliveries: Deliveries
    metrics: GatewayMetrics


async def look_at_unanswered(
    calls: CallStore, inbox: Inbox, metrics: GatewayMetrics, *, tenant_id: str, now: Callable[[], datetime]
) -> None:
    """Look up what Stripe did not answer, and what it reported that waits, and show it."""
    count, first_time = await calls.unknown(tenant_id, sent_before=now() - timedelta(seconds=UNKNOWN_AFTER_S))
    metrics.unknown(calls=count, oldest_s=_age_s(first_time, now()))
    pending, oldest_time = await inbox.waiting(tenant_id)
    metrics.webhooks.waits(pending=pending, oldest_s=_age_s(oldest_time, now()))


def _age_s(time: datetime | None, now: datetime) -> float:
    return 0.0 if time is None else max(0.0, (now - time).total_seconds())


@asynccontextmanager
async def gateway_parts(
    database_url: DatabaseUrl,
    *,
    sink: GatewayEventSinkServiceStub,
    stripe_key: str,
    stripe_base: str | None,
    clock: Clock,
    tenant_id: str = TENANT,
    try_timeout_s: float = TRY_TIMEOUT_S,
    stripe_limits: StripeLimits | None = None,
    meter: Meter = OFF,
) -> AsyncIterator[Parts]:
    """Build the gateway on its database, which must be migrated or about to be. Without limits nothing waits."""
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
        store = Store(held, clock=clock, wake=work.wake)
        call_store = CallStore(held)
        payers = MethodStore(held, clock=clock)
        calls = Calls(
            call_store,
            [
                CreateIntent(provider, store),
                CreateSession(provider, store, now=now),
                ConfirmIntent(provider, store, payers),
                CaptureIntent(provider, store),
                CancelIntent(provider, store),
                CreateRefund(provider, store),
                AttachMethod(provider, payers),
                DetachMethod(provider, payers, now=now),
                SetDefaultMethod(payers),
                CreateSetup(provider, payers),
                CancelSetup(provider, payers),
            ],
            now=now,
        )
        reader = MirrorReader(store, calls, provider, now=now)
        sellers = Sellers(held, provider, now=now)
        addresses = PageAddresses(provider)
        customers = Customers(held, provider, CustomerChanges(held, payers, provider), now=now)
        creation = Creation(call_store, calls, customers, sellers)
        kept_methods = KeptMethods(payers, calls, customers, provider, now=now)
        setups = SetupIntents(payers, calls, customers, kept_methods, provider, now=now)
        inbox = Inbox(
            held,
            reader,
            sellers,
            kept_methods,
            setups,
            api_version=stripe.api_version,
            livemode=is_live(stripe_key),
            clock=clock,
            wake=work.wake,
            metrics=metrics.webhooks,
        )
        deliveries = Deliveries(held, sink, now=now, metrics=metrics.deliveries)
        sweep = CallSweep(calls, call_store, is_away=limits.is_away_for)
        work.register(sweep.work, inbox.work, deliveries.work, Looker(held, reader).work)
        await stack.enter_async_context(forgetting(held, FORGET, now=now))
        waiting = waiting_work(held, work.kinds, clock=clock, meter=meter, tenants=[tenant_id])
        unanswered = partial(look_at_unanswered, call_store, inbox, metrics, tenant_id=tenant_id, now=now)
        await stack.enter_async_context(sampling(meter, waiting, unanswered))
        yield Parts(
            clock=clock,
            engine=engine,
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
                sellers=SellerServicer(sellers=sellers, tenant_id=tenant_id),  # type: ignore[abstract]  # as above
            ),
            ops=GatewayOpsServicer(DeadLetters(held, work, clock=clock)),  # type: ignore[abstract]  # as above
            calls=calls,
            call_store=call_store,
            provider=provider,
            reader=reader,
            sellers=sellers,
            customers=customers,
            methods=kept_methods,
            setups=setups,
            inbox=inbox,
            deliveries=deliveries,
            metrics=metrics,
        )


async def serve(settings: Settings) -> None:
    """Serve until the process is asked to end."""
    stripe_key = settings.stripe_key.current()
    settings.process.arm(stripe_key=stripe_key)
    clock = Clock()
    async with AsyncExitStack() as stack:
        stack.enter_context(settings.process.observed(SERVICE))
        meter = await stack.enter_async_context(settings.process.metering())
        tokens = TokenDirectory(settings.token_directory)
        orchestrator = await stack.enter_async_context(
            peer_channel(settings.orchestrator_address, tokens=tokens, tls=settings.process.tls)
        )
        parts = await stack.enter_async_context(
            gateway_parts(
                settings.process.database_url,
                sink=GatewayEventSinkServiceStub(orchestrator),
                stripe_key=stripe_key,
                stripe_base=settings.stripe_base,
                tenant_id=settings.tenant_id,
                stripe_limits=StripeLimits(settings.stripe_rates, clock=time.monotonic),
                clock=clock,
                meter=meter,
            )
        )
        rotation = KeyRotation(
            settings.stripe_key,
            parts.provider,
            parts.account,
            in_use=stripe_key,
            is_refused=meter.gauge(STRIPE_KEY_REFUSED),
        )
        await stack.enter_async_context(rotation.following())
        await stack.enter_async_context(parts.work.running())
        endpoints = endpoints_of(
            settings.tenant_id, secrets=settings.webhook_secrets, connect_secrets=settings.connect_webhook_secrets
        )
        webhooks = Webhooks(parts.inbox, endpoints=endpoints, now=clock.now, metrics=parts.metrics.webhooks)
        await stack.enter_async_context(serving(webhooks, listen=settings.webhook_listen))
        await stack.enter_async_context(
            settings.process.server(
                partial(add_gateway_services, parts.servicers),
                partial(ops_pb2_grpc.add_GatewayOpsServiceServicer_to_server, parts.ops),
                access=TABLE,
                engine=parts.engine,
                meter=meter,
            )
        )
        await until_terminated()


@dataclass(frozen=True, slots=True, kw_only=True)
class RepinSettings:
    """What is needed to move a tenant to another account."""

    owner_url: str = field(repr=False)
    tenant_id: str
    livemode: bool

    @classmethod
    def read(cls, read: Reader) -> Self:
        """Read the settings."""
        return cls(owner_url=read_owner_url(read), tenant_id=read_tenant(read), livemode=read_production(read))


async def repin_tenant(settings: RepinSettings, arguments: Sequence[str]) -> None:
    """Do `repin acct_…`: let the next processes take a key of that account for BATZEN_TENANT."""
    if len(arguments) != 1 or not ACCOUNT_ID.fullmatch(arguments[0]):
        raise StartRefused("usage: python -m services.gateway repin acct_…")
    said = await repin(
        settings.owner_url, tenant_id=settings.tenant_id, account_id=arguments[0], livemode=settings.livemode
    )
    _logger.info(said)


PROGRAM: Final = Program(
    service=SERVICE,
    migrations=MIGRATIONS,
    read=Settings.read,
    serve=serve,
    commands={"repin": Command(read=RepinSettings.read, run=repin_tenant)},
)

if __name__ == "__main__":
    PROGRAM.main(sys.argv[1:])
