"""A process has the key of one tenant's account: for that one it speaks to Stripe, and under no other account's key."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import pytest
from google.protobuf.message import Message
from grpc import aio

from batzen.gateway.v1 import (
    intents_pb2,
    observation_pb2_grpc,
    payer_pb2,
    payment_methods_pb2,
    refunds_pb2,
    sellers_pb2,
)
from local.databases import ServiceDatabase
from local.personal_key import new_personal_key
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.errors import StripeUnavailable
from services.gateway.sellers.domain import Particulars
from services.gateway.servicers.intents import IntentServicer
from services.gateway.servicers.payment_methods import PaymentMethodServicer
from services.gateway.servicers.refunds import RefundServicer
from services.gateway.servicers.sellers import SellerServicer
from services.gateway.settings import Settings
from services.gateway.stripe_api import platform_account
from services.gateway.stripe_api.own_account import KeyNotTaken
from services.gateway.stripe_api.platform_account import AccountTaken, NeverReached, RepinRefused, WrongAccount, repin
from services.gateway.stripe_api.transport import TRY_TIMEOUT_S
from services.gateway.webhooks.endpoint import endpoints_of
from services.gateway.wiring import Parts, gateway_parts
from services.runtime.database.connections import plain_dsn
from services.runtime.process.settings import SettingsError, settings_from
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import WITHIN_S, eventually
from tests.gateway.conftest import Gateway
from tests.gateway.samples import AMOUNT_MINOR, REFUND, Payments, new_id, new_request_id, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_payment_methods import Wallet
from tests.personal import PERSONAL_KEYS

LATER = timedelta(seconds=5)
"""When a call without an answer is due again."""
OWN_ACCOUNT = "GET /v1/account"
Connect = Callable[..., Any]


def key_of(account: str, *, prefix: str = "sk_test_") -> str:
    """Return one of any number of keys of an account of the stand-in."""
    return f"{prefix}{account}_{secrets.token_hex(8)}"


@pytest.fixture
async def empty(databases: Databases) -> AsyncIterator[ServiceDatabase]:
    made = await databases.create("gateway")
    yield made
    await databases.drop(made)


@pytest.fixture
def start(stripe: SandboxControl, clock: Clock) -> Connect:
    """`async with start(database, …)` builds a gateway whose orchestrator is away."""

    @asynccontextmanager
    async def started(
        database: ServiceDatabase,
        *,
        stripe_key: str,
        tenant_id: str = "main",
        later: timedelta = timedelta(),
        stripe_base: str = "",
    ) -> AsyncIterator[Parts]:
        async with AsyncExitStack() as stack:
            nowhere = await stack.enter_async_context(aio.insecure_channel("127.0.0.1:1"))
            yield await stack.enter_async_context(
                gateway_parts(
                    database.runtime_url,
                    sink=observation_pb2_grpc.GatewayEventSinkServiceStub(nowhere),
                    stripe_key=stripe_key,
                    stripe_base=stripe_base or stripe.base_url,
                    personal_keys=PERSONAL_KEYS,
                    clock=Clock(shift=clock.shift + later),
                    tenant_id=tenant_id,
                )
            )

    return started


def speaks(parts: Parts) -> bool:
    """Whether it would send something to Stripe for its tenant."""
    try:
        with call_context.acting_for("main"):
            parts.account.require()
    except StripeUnavailable:
        return False
    return True


# Whom it serves.

REQUESTS: dict[str, Callable[[Payments, str, str], Message]] = {
    "CreateIntent": lambda payments, _payment, _refund: payments.create_request(),
    "ConfirmIntent": lambda payments, payment_id, _: payments.confirm_request(payment_id),
    "CaptureIntent": lambda payments, payment_id, _: payments.capture_request(payment_id),
    "CancelIntent": lambda payments, payment_id, _: payments.cancel_request(payment_id),
    "CreateRefund": lambda payments, payment_id, _: payments.refund_request(payment_id, 100),
    "SyncIntent": lambda _, payment_id, _refund: intents_pb2.SyncIntentRequest(payment_id=payment_id),
    "GetIntent": lambda _, payment_id, _refund: intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True),
    "GetLimits": lambda *_: intents_pb2.GetLimitsRequest(currency_code="CHF"),
    "GetRefund": lambda _, _payment, refund_id: refunds_pb2.GetRefundRequest(refund_id=refund_id),
    "ListRefunds": lambda _, payment_id, _refund: refunds_pb2.ListRefundsRequest(payment_id=payment_id),
    "PutSellerAccount": lambda payments, *_: payments.put_seller_request(),
    "GetSellerAccount": lambda payments, *_: sellers_pb2.GetSellerAccountRequest(seller_id=payments.seller_id),
    "CreateOnboardingLink": lambda payments, *_: sellers_pb2.CreateOnboardingLinkRequest(
        seller_id=payments.seller_id, return_url="https://shop.example/", refresh_url="https://shop.example/again"
    ),
    "ListPayouts": lambda payments, *_: sellers_pb2.ListPayoutsRequest(seller_id=payments.seller_id),
}
OF_METHODS: dict[str, Callable[[Wallet], Message]] = {
    "CreateSetupIntent": lambda wallet: payment_methods_pb2.CreateSetupIntentRequest(
        request_id=new_request_id(), payer=payer_pb2.Payer(payer_id=wallet.payer_id)
    ),
    "GetSetupIntent": lambda _: payment_methods_pb2.GetSetupIntentRequest(setup_intent_id="seti_1", with_secret=True),
    "CancelSetupIntent": lambda _: payment_methods_pb2.CancelSetupIntentRequest(
        request_id=new_request_id(), setup_intent_id="seti_1"
    ),
    "ListPaymentMethods": lambda wallet: payment_methods_pb2.ListPaymentMethodsRequest(payer_id=wallet.payer_id),
    "AttachPaymentMethod": lambda wallet: wallet.attach_request(),
    "DetachPaymentMethod": lambda wallet: wallet.detach_request("pm_card_visa"),
    "SetDefaultPaymentMethod": lambda wallet: wallet.default_request("pm_card_visa"),
}
READINGS = {"GetLimits", "GetRefund", "ListRefunds", "GetSellerAccount"}
"""Of our own tables: they ask Stripe nothing, and find another tenant's rows alone."""
IMPLEMENTED = [
    name
    for servicer in (IntentServicer, RefundServicer, SellerServicer)
    for name in vars(servicer)
    if name[0].isupper()
]


@pytest.mark.parametrize("method", IMPLEMENTED)
async def test_nothing_is_asked_of_stripe_for_a_tenant_whose_key_is_not_here(
    method: str, replica: Gateway, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payment_id = await payments.paid()
    refund_id = (await gateway.CreateRefund(payments.borne_refund_request(payment_id, 100))).refund.refund_id
    request = REQUESTS[method](payments, payment_id, refund_id)

    async with replica.connect(tenant="other") as stranger:

        async def asks() -> None:
            call = getattr(stranger, method)(request)
            if method == "GetLimits":
                await call
                return
            status, reason, _, _ = await refused(call)
            found = (status.name, reason)
            assert found == ("FAILED_PRECONDITION", "TENANT_NOT_SERVED") or (
                method in READINGS and found[0] == "NOT_FOUND"
            )

        await nothing_is_asked(stripe, asks)


async def nothing_is_asked(stripe: SandboxControl, of: Callable[[], Awaitable[None]]) -> None:
    """Check that Stripe is asked nothing; now and then due work asks it something for others."""

    async def is_quiet() -> bool:
        await stripe.clear_metrics()
        await of()
        return not await stripe.metrics()

    await eventually(is_quiet, what="Stripe is asked nothing")


@pytest.mark.parametrize("method", [name for name in vars(PaymentMethodServicer) if name[0].isupper()])
async def test_nothing_is_asked_about_methods_of_a_tenant_whose_key_is_not_here(
    method: str, replica: Gateway, gateway: GatewayStubs, stripe: SandboxControl
) -> None:
    request = OF_METHODS[method](Wallet(gateway))

    async with replica.connect(tenant="other") as stranger:

        async def asks() -> None:
            status, reason, _, _ = await refused(getattr(stranger, method)(request))
            assert (status.name, reason) == ("FAILED_PRECONDITION", "TENANT_NOT_SERVED")

        await nothing_is_asked(stripe, asks)


async def test_no_process_settles_what_another_tenants_key_was_used_for(  # noqa: PLR0917 fixtures
    gateway: GatewayStubs,
    payments: Payments,
    stripe: SandboxControl,
    clock: Clock,
    database: ServiceDatabase,
    start: Connect,
) -> None:
    payment_id = await payments.paid()
    await stripe.fault("server_error", route=REFUND, after=True, times=1, should_retry=False)

    async with start(database, stripe_key=key_of(secrets.token_hex(8)), tenant_id="other", later=LATER) as other:
        given = await gateway.CreateRefund(payments.refund_request(payment_id, 5_000))
        assert given.refund.state == refunds_pb2.Refund.STATE_PENDING
        assert await other.work.once() == 0
    clock.advance(LATER)

    refund = (await gateway.ListRefunds(refunds_pb2.ListRefundsRequest(payment_id=payment_id))).refunds[0]
    assert refund.state in (refunds_pb2.Refund.STATE_PENDING, refunds_pb2.Refund.STATE_SUCCEEDED)
    assert (await payments.seen(payment_id)).refundable_minor == AMOUNT_MINOR - 5_000
    assert sum(one["amount"] for one in await payments.refunds(payment_id)) == 5_000


async def test_work_of_another_tenant_that_comes_as_far_as_stripe_is_stopped_there(replica: Gateway) -> None:
    with call_context.acting_for("other"), pytest.raises(StripeUnavailable):
        await replica.parts.provider.intents.retrieve("pi_1")


# Whose key it has.


async def test_the_first_key_pins_its_account_and_any_other_key_of_it_will_do(
    empty: ServiceDatabase, start: Connect
) -> None:
    account = secrets.token_hex(8)

    for prefix in ("sk_test_", "sk_test_", "rk_test_"):
        async with start(empty, stripe_key=key_of(account, prefix=prefix)) as parts:
            assert speaks(parts)


async def test_the_key_of_another_account_does_not_start(empty: ServiceDatabase, start: Connect) -> None:
    async with start(empty, stripe_key=key_of("ours")) as parts:
        assert speaks(parts)
    wrong_key = key_of("theirs")

    with pytest.raises(WrongAccount, match=r"opens account acct_1\w+ .*main is pinned to acct_1\w+ .*repin") as caught:
        async with start(empty, stripe_key=wrong_key):
            pass

    assert wrong_key not in str(caught.value)


async def test_an_account_is_one_tenants_alone(empty: ServiceDatabase, start: Connect) -> None:
    async with start(empty, stripe_key=key_of("shared")):
        pass

    with pytest.raises(AccountTaken, match="which is that of tenant main"):
        async with start(empty, stripe_key=key_of("shared"), tenant_id="other"):
            pass


async def test_processes_that_start_at_once_pin_one_account(empty: ServiceDatabase, start: Connect) -> None:
    async def started(account: str) -> str:
        try:
            async with start(empty, stripe_key=key_of(account)):
                return account
        except WrongAccount:
            return ""

    served = await asyncio.gather(*(started(account) for account in ("one", "two") * 4))

    assert len(set(served) - {""}) == 1


async def test_the_pin_is_not_changed_by_the_role_that_serves(empty: ServiceDatabase, start: Connect) -> None:
    async with start(empty, stripe_key=key_of("ours")):
        pass
    connection = await asyncpg.connect(plain_dsn(empty.runtime_url))
    try:
        for change in ("UPDATE stripe_accounts SET livemode = true", "DELETE FROM stripe_accounts"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(change)
    finally:
        await connection.close()


async def test_an_operator_moves_a_tenant_to_another_account(empty: ServiceDatabase, start: Connect) -> None:
    async with start(empty, stripe_key=key_of("ours")):
        pass
    with pytest.raises(WrongAccount) as caught:
        async with start(empty, stripe_key=key_of("theirs")):
            pass
    account_id = str(caught.value).rsplit("repin ", 1)[1].rstrip("`.")

    said = await repin(empty.owner_url, tenant_id="main", account_id=account_id, livemode=False)

    assert account_id in said
    async with start(empty, stripe_key=key_of("theirs")) as parts:
        assert speaks(parts)
    with pytest.raises(WrongAccount):
        async with start(empty, stripe_key=key_of("ours")):
            pass


async def test_a_tenant_is_not_moved_while_a_call_has_no_answer_nor_to_anothers_account(
    empty: ServiceDatabase, start: Connect
) -> None:
    async with start(empty, stripe_key=key_of("ours")):
        pass
    move = {"account_id": "acct_2", "livemode": False}
    await repin(empty.owner_url, tenant_id="other", **move)

    with pytest.raises(RepinRefused, match="another tenant"):
        await repin(empty.owner_url, tenant_id="main", **move)
    owner = await asyncpg.connect(plain_dsn(empty.owner_url))
    await owner.execute(
        """INSERT INTO calls (tenant_id, call_id, operation, request_id, request_hash, subject_type, subject_id,
               params, state, create_time)
           VALUES ('main', gen_random_uuid(), 'refund.create', gen_random_uuid(), '', 'payment', 'pay_1', '{}',
               'UNKNOWN', now())"""
    )
    await owner.close()
    with pytest.raises(RepinRefused, match="1 calls of tenant main"):
        await repin(empty.owner_url, tenant_id="main", account_id="acct_3", livemode=False)


async def test_a_key_that_stripe_does_not_take_does_not_start(empty: ServiceDatabase, start: Connect) -> None:
    key = f"sk_live_{secrets.token_hex(8)}"  # the stand-in takes none of these

    with pytest.raises(KeyNotTaken, match="STRIPE_API_KEY") as caught:
        async with start(empty, stripe_key=key):
            pass

    assert key not in str(caught.value)


# While Stripe is away.


async def test_nothing_is_asked_of_stripe_before_the_account_was_read(
    empty: ServiceDatabase, start: Connect, stripe: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_account, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr(platform_account, "RETRY_MAX_S", 0.01)
    async with start(empty, stripe_key=key_of("late")):
        pass
    await stripe.fault(Kind.SERVER_ERROR, route=OWN_ACCOUNT, times=None)

    async with start(empty, stripe_key=key_of("late")) as parts:
        assert not speaks(parts)
        with call_context.acting_for("main"), pytest.raises(StripeUnavailable):
            await parts.sellers.put(
                "main",
                new_id("seller"),
                request_id=uuid.uuid4(),
                request_hash=b"",
                country_code="CH",
                email="seller@example.org",
                stripe_account_id="",
                particulars=Particulars(),
            )
        await stripe.clear_faults()
        await eventually(lambda: speaks(parts))


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("", "it answers 500"),
        ("http://127.0.0.1:1", "there is no connection to it"),
        ("http://stripe.invalid", "its name is not known here"),
        ("https://{stand_in}", "there is no TLS with it"),
    ],
)
async def test_a_first_start_that_does_not_reach_stripe_says_why_and_ends(  # noqa: PLR0917 fixtures
    base: str,
    why: str,
    empty: ServiceDatabase,
    start: Connect,
    stripe: SandboxControl,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(platform_account, "FIRST_START_S", platform_account.LAST_TRY_MIN_S + 0.05)
    monkeypatch.setattr(platform_account, "RETRY_FIRST_S", 0.01)
    await stripe.fault(Kind.SERVER_ERROR, route=OWN_ACCOUNT, times=None)
    base = base.format(stand_in=stripe.base_url.removeprefix("http://")) or stripe.base_url

    with pytest.raises(NeverReached) as caught:
        async with start(empty, stripe_key=key_of("away"), stripe_base=base):
            pass

    assert str(caught.value) == (
        f"STRIPE_API_KEY could not be tried at {base}: {why}; and tenant main has no account yet that could be served"
        " meanwhile."
    )


async def test_the_last_try_of_a_first_start_takes_no_longer_than_what_is_left(
    empty: ServiceDatabase, start: Connect, stripe: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_account, "FIRST_START_S", 0.5)
    await stripe.fault(Kind.PAUSE, route=OWN_ACCOUNT, times=None)  # nothing is answered any more
    try:
        async with asyncio.timeout(TRY_TIMEOUT_S - 1):  # less than a whole try
            with pytest.raises(NeverReached) as caught:
                async with start(empty, stripe_key=key_of("silent"), stripe_base=stripe.base_url):
                    pass
    finally:
        await stripe.clear_faults()
        await stripe.resume()

    assert "there is no answer in time" in str(caught.value)


async def test_a_first_start_waits_a_moment_for_its_network(
    empty: ServiceDatabase, start: Connect, stripe: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform_account, "RETRY_FIRST_S", 0.01)
    await stripe.fault(Kind.SERVER_ERROR, route=OWN_ACCOUNT, times=2)

    async with start(empty, stripe_key=key_of("soon")) as parts:
        assert speaks(parts)


async def test_a_start_after_the_first_serves_whatever_keeps_stripe_away(
    empty: ServiceDatabase, start: Connect
) -> None:
    async with start(empty, stripe_key=key_of("known")):
        pass

    async with start(empty, stripe_key=key_of("known"), stripe_base="http://stripe.invalid") as parts:
        assert not speaks(parts)


async def test_a_wrong_account_that_is_seen_only_later_ends_the_process(
    empty: ServiceDatabase, start: Connect, stripe: SandboxControl, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with start(empty, stripe_key=key_of("ours")):
        pass
    failed: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(platform_account, "RETRY_FIRST_S", 0.01)
    monkeypatch.setattr("services.runtime.process.ending.fail", failed.set_result)
    await stripe.fault(Kind.SERVER_ERROR, route=OWN_ACCOUNT, times=1)

    async with start(empty, stripe_key=key_of("theirs")) as parts, asyncio.timeout(WITHIN_S):
        assert isinstance(await failed, WrongAccount)
        assert not speaks(parts)


# Which keys may be used where.


@pytest.mark.parametrize(
    ("environment", "key", "problem"),
    [
        ("production", "sk_live_1", None),
        ("production", "rk_live_1", None),
        ("production", "sk_test_1", "is no live key"),
        ("production", "rk_test_1", "is no live key"),
        ("production", "sk_1", "is no live key"),
        ("development", "sk_test_1", None),
        ("development", "rk_test_1", None),
        ("development", "sk_live_1", "is a live key"),
        ("development", "rk_live_1", "is a live key"),
        ("development", "pk_test_1", "is no test key"),
        ("development", "whsec_1", "is no test key"),
        ("development", "sk_test_1\nsk_test_2", "has a character that no key has"),
        ("development", "sk_test_1 sk_test_2", "has a character that no key has"),
        ("production", "sk_live_1\x00", "has a character that no key has"),
    ],
)
def test_live_keys_are_for_production_and_test_keys_for_elsewhere(
    tmp_path: Any, environment: str, key: str, problem: str | None
) -> None:
    environ = {
        "BATZEN_ENVIRONMENT": environment,
        "BATZEN_RUNTIME_DATABASE_URL": "postgresql+asyncpg://user:password@localhost/gateway",
        "BATZEN_ORCHESTRATOR_ADDRESS": "localhost:7001",
        "BATZEN_TOKEN_DIRECTORY": str(tmp_path),
        "BATZEN_STRIPE_WEBHOOK_SECRETS": "whsec_x",
        "BATZEN_PERSONAL_KEY": new_personal_key(),
        "STRIPE_API_KEY": key,
        "BATZEN_JWKS": str(tmp_path / "jwks.json"),
        "BATZEN_TOKEN_ISSUER": "https://issuer.example",
        "BATZEN_TOKEN_AUDIENCE": "batzen",
    }

    if problem is None:
        assert settings_from(environ, Settings.read).stripe_key.current() == key
    else:
        with pytest.raises(SettingsError, match=f"^STRIPE_API_KEY {problem}") as caught:
            settings_from(environ, Settings.read)
        assert key not in str(caught.value).replace(f"{key}…", "")


def test_events_are_sent_or_read_and_a_gateway_that_gets_none_does_not_start(tmp_path: Any) -> None:
    environ = {
        "BATZEN_ENVIRONMENT": "development",
        "BATZEN_RUNTIME_DATABASE_URL": "postgresql+asyncpg://user:password@localhost/gateway",
        "BATZEN_ORCHESTRATOR_ADDRESS": "localhost:7001",
        "BATZEN_TOKEN_DIRECTORY": str(tmp_path),
        "BATZEN_PERSONAL_KEY": new_personal_key(),
        "STRIPE_API_KEY": "sk_test_1",
        "BATZEN_JWKS": str(tmp_path / "jwks.json"),
        "BATZEN_TOKEN_ISSUER": "https://issuer.example",
        "BATZEN_TOKEN_AUDIENCE": "batzen",
    }

    with pytest.raises(SettingsError, match="no event would ever arrive"):
        settings_from(environ, Settings.read)
    read = settings_from(environ | {"BATZEN_STRIPE_POLL_EVERY_S": "2"}, Settings.read)
    sent = settings_from(environ | {"BATZEN_STRIPE_WEBHOOK_SECRETS": "whsec_x"}, Settings.read)

    assert (read.polls_every, read.webhook_secrets) == (timedelta(seconds=2), None)
    assert endpoints_of("main", secrets=read.webhook_secrets) == []
    assert sent.polls_every is None
