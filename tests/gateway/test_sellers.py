"""Sellers' accounts: one each, made or taken over, and paid only while Stripe lets them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import gateway_pb2 as pb
from batzen.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.runtime import calls as calling
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, new_id, refusal, refused

ACCOUNTS = "POST /v1/accounts"


async def read_again(replica: Gateway, account_id: str) -> bool:
    """Do as a webhook's job does."""
    with calling.acting_for("main"):
        return await replica.parts.sellers.read_again("main", account_id)


async def made_elsewhere(stripe: SandboxControl, stripe_key: str) -> str:
    """Return an account that exists at Stripe and is nobody's here."""
    async with httpx.AsyncClient(base_url=stripe.base_url) as client:
        answer = await client.post(
            "/v1/accounts",
            data={"country": "CH", "type": "express"},
            headers={"authorization": f"Bearer {stripe_key}"},
        )
        answer.raise_for_status()
        return str(answer.json()["id"])


async def test_an_account_is_made_once(gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl) -> None:
    request = payments.put_seller_request()

    account = (await gateway.PutSellerAccount(request)).account

    assert account.seller_id == request.seller_id
    assert account.stripe_account_id.startswith("acct_")
    assert (await gateway.PutSellerAccount(request)).account == account
    another = payments.put_seller_request(seller_id=request.seller_id)
    assert (await gateway.PutSellerAccount(another)).account == account
    found = await gateway.GetSellerAccount(pb.GetSellerAccountRequest(seller_id=request.seller_id))
    assert found.account == account
    assert len(await stripe.objects("account", **{"metadata.seller_id": request.seller_id})) == 1


async def test_puts_at_once_make_one_account(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl
) -> None:
    seller_id = new_id("seller")
    puts = [payments.put_seller_request(seller_id=seller_id) for _ in range(10)]

    answers = await asyncio.gather(*(gateway.PutSellerAccount(put) for put in puts))

    assert len({answer.account.stripe_account_id for answer in answers}) == 1
    assert len(await stripe.objects("account", **{"metadata.seller_id": seller_id})) == 1


@pytest.mark.parametrize("kind", [Kind.RESET, Kind.SERVER_ERROR])
async def test_an_account_whose_answer_was_lost_is_not_made_again(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl, kind: Kind
) -> None:
    await stripe.fault(kind, route=ACCOUNTS, after=True, stored=False)
    request = payments.put_seller_request()

    await gateway.PutSellerAccount(request)

    assert len(await stripe.objects("account", **{"metadata.seller_id": request.seller_id})) == 1


async def test_a_stored_failure_does_not_stand_in_the_way_for_ever(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl
) -> None:
    await stripe.fault(Kind.SERVER_ERROR, route=ACCOUNTS, stored=True)

    account = (await gateway.PutSellerAccount(payments.put_seller_request())).account

    assert account.stripe_account_id


async def test_an_existing_account_is_taken_over(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl, stripe_key: str
) -> None:
    account_id = await made_elsewhere(stripe, stripe_key)
    request = payments.put_seller_request(stripe_account_id=account_id, country_code="", email="")

    account = (await gateway.PutSellerAccount(request)).account

    assert account.stripe_account_id == account_id


async def test_a_seller_has_one_account_and_an_account_one_seller(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl, stripe_key: str
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


async def test_an_account_nobody_knows_is_refused(gateway: GatewayServiceStub, payments: Payments) -> None:
    request = payments.put_seller_request(stripe_account_id="acct_nothing")

    code, reason, _, metadata = await refused(gateway.PutSellerAccount(request))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert metadata["code"]


async def test_a_request_id_is_good_for_one_seller(gateway: GatewayServiceStub, payments: Payments) -> None:
    request = payments.put_seller_request()
    await gateway.PutSellerAccount(request)
    request.seller_id = new_id("seller")

    assert await refusal(gateway.PutSellerAccount(request)) == (StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")


async def test_a_seller_nobody_knows_is_not_found(gateway: GatewayServiceStub, payments: Payments) -> None:
    nobody = pb.GetSellerAccountRequest(seller_id=new_id("seller"))
    assert await refusal(gateway.GetSellerAccount(nobody)) == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")
    request = payments.create_request(seller_id=new_id("seller"))
    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")


async def test_a_seller_is_paid_as_soon_as_stripe_lets_them(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl, replica: Gateway
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
    found = await gateway.GetSellerAccount(pb.GetSellerAccountRequest(seller_id=account.seller_id))
    assert found.account.charges_enabled


async def test_an_account_is_mirrored_as_it_is_whatever_made_us_look(
    gateway: GatewayServiceStub, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    for enabled in (False, True):
        await stripe.enable_account(account.stripe_account_id, enabled=enabled)
        assert await read_again(replica, account.stripe_account_id)
        found = await gateway.GetSellerAccount(pb.GetSellerAccountRequest(seller_id=account.seller_id))
        assert found.account.charges_enabled == enabled

    assert not await read_again(replica, "acct_nothing")
