"""Sellers' accounts: one each, made or taken over, and paid only while Stripe lets them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import intents_pb2, sellers_pb2, split_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.errors import DependencyUnavailable
from services.gateway.personal.keys import seller_holder_of
from services.gateway.personal.sealed import OF_SELLERS, SealedDetails
from services.gateway.sellers.operations import AccountChanged, Sellers
from services.gateway.sellers.store import FIRST, SellerStore
from services.runtime.database.connections import DirectConnections
from services.runtime.rpc import call_context
from tests.eventually import WITHIN_S
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, chf, new_id, refusal, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_races import connected

ACCOUNTS = "POST /v1/accounts"


async def read_again(replica: Gateway, account_id: str) -> bool:
    """Do as a webhook's job does."""
    with call_context.acting_for("main"):
        return await replica.parts.sellers.read_again("main", account_id)


async def made_elsewhere(stripe: SandboxControl, stripe_key: str) -> str:
    """Return an account that exists at Stripe and is nobody's here."""
    async with httpx.AsyncClient(base_url=stripe.base_url, timeout=WITHIN_S) as client:
        answer = await client.post(
            "/v1/accounts",
            data={"country": "CH", "type": "express"},
            headers={"authorization": f"Bearer {stripe_key}"},
        )
        answer.raise_for_status()
        return str(answer.json()["id"])


async def test_an_account_is_made_once(gateway: GatewayStubs, payments: Payments, stripe: SandboxControl) -> None:
    request = payments.put_seller_request()

    account = (await gateway.PutSellerAccount(request)).account

    assert account.seller_id == request.seller_id
    assert account.stripe_account_id.startswith("acct_")
    assert (await gateway.PutSellerAccount(request)).account == account
    another = payments.put_seller_request(seller_id=request.seller_id)
    assert (await gateway.PutSellerAccount(another)).account == account
    found = await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=request.seller_id))
    assert found.account == account
    assert len(await stripe.objects("account", **{"metadata.seller_id": request.seller_id})) == 1


async def test_puts_at_once_make_one_account(gateway: GatewayStubs, payments: Payments, stripe: SandboxControl) -> None:
    seller_id = new_id("seller")
    puts = [payments.put_seller_request(seller_id=seller_id) for _ in range(10)]

    answers = await asyncio.gather(*(gateway.PutSellerAccount(put) for put in puts))

    assert len({answer.account.stripe_account_id for answer in answers}) == 1
    assert len(await stripe.objects("account", **{"metadata.seller_id": seller_id})) == 1


@pytest.mark.parametrize("kind", [Kind.RESET, Kind.SERVER_ERROR])
async def test_an_account_whose_answer_was_lost_is_not_made_again(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, kind: Kind
) -> None:
    await stripe.fault(kind, route=ACCOUNTS, after=True, stored=False)
    request = payments.put_seller_request()

    await gateway.PutSellerAccount(request)

    assert len(await stripe.objects("account", **{"metadata.seller_id": request.seller_id})) == 1


async def test_a_stored_failure_does_not_stand_in_the_way_for_ever(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    await stripe.fault(Kind.SERVER_ERROR, route=ACCOUNTS, stored=True)

    account = (await gateway.PutSellerAccount(payments.put_seller_request())).account

    assert account.stripe_account_id


async def test_an_existing_account_is_taken_over(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, stripe_key: str
) -> None:
    account_id = await made_elsewhere(stripe, stripe_key)
    request = payments.put_seller_request(stripe_account_id=account_id, country_code="", email="")

    account = (await gateway.PutSellerAccount(request)).account

    assert account.stripe_account_id == account_id


async def test_a_seller_has_one_account_and_an_account_one_seller(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, stripe_key: str
) -> None:
    account_id = await made_elsewhere(stripe, stripe_key)
    taken = payments.put_seller_request(stripe_account_id=account_id)
    await gateway.PutSellerAccount(taken)

    another = payments.put_seller_request(
        seller_id=taken.seller_id, stripe_account_id=await made_elsewhere(stripe, stripe_key)
    )
    assert await refusal(gateway.PutSellerAccount(another)) == (StatusCode.ALREADY_EXISTS, "SELLER_EXISTS")
    twice = payments.put_seller_request(stripe_account_id=account_id)
    assert await refusal(gateway.PutSellerAccount(twice)) == (StatusCode.ALREADY_EXISTS, "SELLER_EXISTS")


async def test_an_account_nobody_knows_is_refused(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.put_seller_request(stripe_account_id="acct_nothing")

    code, reason, _, metadata = await refused(gateway.PutSellerAccount(request))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert metadata["code"]


async def test_a_request_id_is_good_for_one_seller(gateway: GatewayStubs, payments: Payments) -> None:
    request = payments.put_seller_request()
    await gateway.PutSellerAccount(request)
    request.seller_id = new_id("seller")

    assert await refusal(gateway.PutSellerAccount(request)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_a_seller_nobody_knows_is_not_found(gateway: GatewayStubs, payments: Payments) -> None:
    nobody = sellers_pb2.GetSellerAccountRequest(seller_id=new_id("seller"))
    assert await refusal(gateway.GetSellerAccount(nobody)) == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")
    request = payments.create_request(seller_id=new_id("seller"))
    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")


async def test_a_seller_is_paid_as_soon_as_stripe_lets_them(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.enable_account(account.stripe_account_id, enabled=False)
    assert await read_again(replica, account.stripe_account_id)
    request = payments.create_request(seller_id=account.seller_id)

    blocked = await refusal(gateway.CreateIntent(request))
    assert blocked == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE")
    assert await payments.intents(request.payment_id) == []

    await stripe.enable_account(account.stripe_account_id, enabled=True)  # and its event is still on its way
    assert (await gateway.CreateIntent(request)).client_secret
    found = await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id))
    assert found.account.charges_enabled


async def test_an_account_is_mirrored_as_it_is_whatever_made_us_look(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    for enabled in (False, True):
        await stripe.enable_account(account.stripe_account_id, enabled=enabled)
        assert await read_again(replica, account.stripe_account_id)
        found = await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id))
        assert found.account.charges_enabled == enabled

    assert not await read_again(replica, "acct_nothing")


async def test_a_seller_without_transfers_is_not_paid_and_is_told_what_is_missing(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    assert account.transfers_enabled
    await stripe.set_capability(account.stripe_account_id, "transfers", active=False)  # its event is on its way
    request = payments.create_request(seller_id=account.seller_id)

    for _ in range(2):
        code, reason, field, metadata = await refused(gateway.CreateIntent(request))
        assert (code, reason, field) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE", "seller_id")
        assert metadata == {"missing": "transfers", "seller_id": account.seller_id}
    found = await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id))
    assert (found.account.charges_enabled, found.account.transfers_enabled) == (True, False)

    await stripe.set_capability(account.stripe_account_id, "transfers", active=True)
    assert (await gateway.CreateIntent(request)).client_secret
    assert len(await payments.intents(request.payment_id)) == 1


async def test_a_seller_needs_no_more_than_what_the_charge_needs(
    payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.enable_account(account.stripe_account_id, enabled=False)
    await stripe.set_capability(account.stripe_account_id, "transfers", active=True)
    assert await read_again(replica, account.stripe_account_id)

    assert await payments.paid(seller_id=account.seller_id)


async def test_an_account_that_is_refused_while_it_looks_payable_is_named(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    route = "POST /v1/payment_intents"
    await stripe.fault(Kind.FORBIDDEN, route=route, status=400, code="account_invalid", stored=True, times=None)

    code, reason, _, metadata = await refused(gateway.CreateIntent(payments.create_request()))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE")
    assert metadata == {"missing": "account_invalid", "seller_id": payments.seller_id}


async def test_an_account_that_is_gone_is_not_paid_until_another_is_put(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.disconnect_account(account.stripe_account_id)
    request = payments.create_request(seller_id=account.seller_id)

    for _ in range(2):
        code, reason, _, metadata = await refused(gateway.CreateIntent(request))
        assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE")
        assert metadata == {"missing": "account", "seller_id": account.seller_id}
    assert await read_again(replica, account.stripe_account_id)
    gone = await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id))
    of_gone = gone.account
    assert not any((of_gone.charges_enabled, of_gone.payouts_enabled, of_gone.transfers_enabled))

    another = (await gateway.PutSellerAccount(payments.put_seller_request(seller_id=account.seller_id))).account
    assert another.stripe_account_id != account.stripe_account_id
    assert (await gateway.CreateIntent(request)).client_secret


async def test_an_account_that_is_gone_is_replaced_by_the_one_that_is_named(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, stripe_key: str
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.disconnect_account(account.stripe_account_id)
    account_id = await made_elsewhere(stripe, stripe_key)
    put = payments.put_seller_request(seller_id=account.seller_id, stripe_account_id=account_id)

    assert (await gateway.PutSellerAccount(put)).account.stripe_account_id == account_id
    assert await payments.paid(seller_id=account.seller_id)


async def test_puts_at_once_after_an_account_is_gone_make_one(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.disconnect_account(account.stripe_account_id)
    assert await read_again(replica, account.stripe_account_id)
    puts = [payments.put_seller_request(seller_id=account.seller_id) for _ in range(8)]

    answers = await asyncio.gather(*(gateway.PutSellerAccount(put) for put in puts))

    assert len({answer.account.stripe_account_id for answer in answers}) == 1
    assert len(await stripe.objects("account", **{"metadata.seller_id": account.seller_id})) == 1


@pytest.mark.parametrize("country_code", ["CH", "DE"])
async def test_an_account_whose_row_was_lost_is_found_by_its_key_or_followed_by_the_next(
    gateway: GatewayStubs,
    payments: Payments,
    database: ServiceDatabase,
    country_code: str,
) -> None:
    request = payments.put_seller_request()
    first = (await gateway.PutSellerAccount(request)).account
    async with connected(database) as connection:  # as after a failover to a standby that lagged behind
        await connection.execute("DELETE FROM seller_accounts WHERE seller_id = $1", request.seller_id)

    again = payments.put_seller_request(seller_id=request.seller_id, country_code=country_code)
    second = (await gateway.PutSellerAccount(again)).account

    assert (second.stripe_account_id == first.stripe_account_id) == (country_code == request.country_code)
    assert (await gateway.PutSellerAccount(request)).account == second


async def test_what_stripe_refuses_of_an_account_is_said_and_may_be_put_right(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    request = payments.put_seller_request(email="seller@localhost")
    for _ in range(2):
        code, reason, _, metadata = await refused(gateway.PutSellerAccount(request))
        assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
        assert metadata == {"code": "email_invalid", "param": "email"}

    right = payments.put_seller_request(seller_id=request.seller_id)
    assert (await gateway.PutSellerAccount(right)).account.stripe_account_id
    assert len(await stripe.objects("account", **{"metadata.seller_id": request.seller_id})) == 1


async def test_a_repeat_is_answered_though_the_seller_can_be_paid_no_more(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    request = payments.create_request(seller_id=account.seller_id)
    first = await gateway.CreateIntent(request)
    await stripe.disconnect_account(account.stripe_account_id)
    assert await read_again(replica, account.stripe_account_id)

    assert await gateway.CreateIntent(request) == first
    other = payments.create_request(seller_id=account.seller_id, request_id=request.request_id)
    assert await refusal(gateway.CreateIntent(other)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


def sellers_of(replica: Gateway, connections: DirectConnections, changed: AccountChanged) -> Sellers:
    """Return sellers that tell a test of what changed."""
    parts = replica.parts
    details = SealedDetails(parts.keys, holder_of=seller_holder_of, field=OF_SELLERS)
    return Sellers(connections, parts.provider, details, clock=parts.clock, wake=parts.work.wake, changed=changed)


async def test_who_waits_for_a_seller_is_told_once_what_was_seen_is_kept(
    payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    told: list[tuple[str, str, bool]] = []
    url = replica.parts.engine.url.render_as_string(hide_password=False)
    async with DirectConnections(url, application_name="sellers", size=1) as connections:

        async def changed(tenant_id: str, seller_id: str) -> None:
            seen = await sellers.get(tenant_id, seller_id)
            told.append((tenant_id, seller_id, not seen.missing))

        sellers = sellers_of(replica, connections, changed)
        with call_context.acting_for("main"):
            for active in (False, True):
                await stripe.set_capability(account.stripe_account_id, "transfers", active=active)
                assert await sellers.read_again("main", account.stripe_account_id)
            assert not await sellers.read_again("main", "acct_nothing")
            await stripe.disconnect_account(account.stripe_account_id)
            assert await sellers.read_again("main", account.stripe_account_id)

    assert told == [("main", account.seller_id, payable) for payable in (False, True, False)]


async def test_who_was_not_told_is_told_when_the_event_is_worked_on_again(payments: Payments, replica: Gateway) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    told: list[str] = []

    async def changed(_: str, seller_id: str) -> None:
        told.append(seller_id)
        if len(told) == 1:
            raise DependencyUnavailable(dependency="database")  # as where the process dies after what it keeps

    url = replica.parts.engine.url.render_as_string(hide_password=False)
    async with DirectConnections(url, application_name="sellers", size=1) as connections:
        sellers = sellers_of(replica, connections, changed)
        with call_context.acting_for("main"):
            with pytest.raises(DependencyUnavailable):
                await sellers.read_again("main", account.stripe_account_id)
            assert await sellers.read_again("main", account.stripe_account_id)  # nothing is new, and it is told again

    assert told == [account.seller_id] * 2


async def test_a_reading_that_began_first_and_comes_last_says_nothing_any_more(
    payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.set_capability(account.stripe_account_id, "transfers", active=False)
    await stripe.fault(Kind.PAUSE, route="GET /v1/accounts/{account}")
    late = asyncio.ensure_future(read_again(replica, account.stripe_account_id))
    await stripe.until_paused()
    url = replica.parts.engine.url.render_as_string(hide_password=False)
    async with DirectConnections(url, application_name="sellers", size=1) as connections:
        store = SellerStore(connections, clock=replica.parts.clock, wake=replica.parts.work.wake)
        before = await store.find("main", account.seller_id)
        assert before is not None
        assert before.transfers_enabled
        reading = await store.begin_reading("main", account.stripe_account_id)
        assert reading is not None
        await store.record("main", before, contact=b"", reading=reading.number)  # as of another event, meanwhile

        await stripe.resume()
        assert await late
        assert await store.find("main", account.seller_id) == await store.record(
            "main", before, contact=b"", reading=FIRST
        )
        seen = await store.find("main", account.seller_id)
        assert seen is not None
        assert seen.transfers_enabled

    assert await read_again(replica, account.stripe_account_id)
    assert not (await replica.parts.sellers.get("main", account.seller_id)).transfers_enabled


async def test_a_cart_with_one_seller_who_cannot_be_paid_is_refused_whole(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    good, stopped = [await payments.prepare_seller(new_id("seller")) for _ in range(2)]
    await stripe.set_capability(stopped.stripe_account_id, "transfers", active=False)
    assert await read_again(replica, stopped.stripe_account_id)

    def cart(*seller_ids: str) -> intents_pb2.CreateIntentRequest:
        parts = [
            split_pb2.SellerPart(
                seller_id=seller_id,
                lines=[
                    split_pb2.LinePart(
                        line_id=f"line-{place}", gross_minor=5_000, seller_minor=4_250, platform_fee_minor=750
                    )
                ],
            )
            for place, seller_id in enumerate(seller_ids)
        ]
        return payments.create_request(amount=chf(10_000), application_fee=chf(0), seller_id="", seller_parts=parts)

    request = cart(good.seller_id, stopped.seller_id)
    code, reason, _, metadata = await refused(gateway.CreateIntent(request))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE")
    assert metadata == {"missing": "transfers", "seller_id": stopped.seller_id}
    assert await payments.intents(request.payment_id) == []

    nobody = new_id("seller")
    code, reason, _, metadata = await refused(gateway.CreateIntent(cart(good.seller_id, nobody)))
    assert (code, reason, metadata) == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND", {"seller_id": nobody})
