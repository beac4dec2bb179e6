"""Links to Stripe's onboarding: always new, for a seller whose account is there, and what comes of them."""

from __future__ import annotations

import httpx
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import sellers_pb2
from batzen.gateway.v1.observation_pb2 import Notice
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from tests.eventually import WITHIN_S, eventually
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.samples import Payments, new_id, refusal, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_sellers import read_again

LINKS = "POST /v1/account_links"
BACK = "https://shop.example/back"
AGAIN = "https://shop.example/again"
DOCUMENT = "individual.verification.document"
ERROR = {
    "code": "verification_document_expired",
    "reason": "The document has expired.",
    "requirement": DOCUMENT,
}


def asked(seller_id: str, **fields: str) -> sellers_pb2.CreateOnboardingLinkRequest:
    ours = {"seller_id": seller_id, "return_url": BACK, "refresh_url": AGAIN}
    return sellers_pb2.CreateOnboardingLinkRequest(**{**ours, **fields})


async def test_a_seller_who_is_not_ready_is_once_the_page_of_a_link_is_sent_off(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.require(account.stripe_account_id, [DOCUMENT])
    request = payments.create_request(seller_id=account.seller_id)
    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE")

    links = [await gateway.CreateOnboardingLink(asked(account.seller_id)) for _ in range(2)]
    assert links[0].url != links[1].url
    assert links[0].expire_time.seconds > await stripe.now()
    assert await stripe.onboard(links[0].url) == BACK
    assert await stripe.onboard(links[0].url) == AGAIN

    assert (await gateway.CreateIntent(request)).client_secret
    seen = await gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id))
    assert seen.account.capabilities == {"card_payments": "active", "transfers": "active"}
    assert seen.account.details_submitted
    assert not seen.account.requirements.eventually_due
    assert await read_again(replica, account.stripe_account_id)


async def test_what_stripe_wants_to_know_is_said_with_its_time_and_what_was_wrong(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, replica: Gateway, delivered: Sink
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    get = sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id)
    await stripe.require(
        account.stripe_account_id, [DOCUMENT], deadline_s=86_400, pending=["company.tax_id"], errors=[ERROR]
    )
    assert await read_again(replica, account.stripe_account_id)

    waiting = (await gateway.GetSellerAccount(get)).account
    wanted = waiting.requirements
    assert (list(wanted.currently_due), list(wanted.past_due)) == ([DOCUMENT], [])
    assert list(wanted.pending_verification) == ["company.tax_id"]
    assert wanted.due_time.seconds == (await account_at(stripe, account))["requirements"]["current_deadline"]
    assert [(one.code, one.reason, one.requirement) for one in wanted.errors] == [tuple(ERROR.values())]
    assert (list(waiting.requirements_due), waiting.disabled_reason) == ([DOCUMENT], "")
    assert waiting.transfers_enabled
    assert waiting.HasField("observe_time")

    await stripe.require(account.stripe_account_id, [DOCUMENT])
    assert await read_again(replica, account.stripe_account_id)
    stopped = (await gateway.GetSellerAccount(get)).account
    assert (list(stopped.requirements.past_due), stopped.disabled_reason) == ([DOCUMENT], "requirements.past_due")
    assert stopped.capabilities["transfers"] == "inactive"
    assert not stopped.requirements.HasField("due_time")

    await stripe.disconnect_account(account.stripe_account_id)
    assert await read_again(replica, account.stripe_account_id)
    gone = (await gateway.GetSellerAccount(get)).account
    assert (gone.gone, dict(gone.capabilities)) == (True, {})

    await eventually(lambda: len(delivered.told(account.seller_id)) == 3)
    told = delivered.told(account.seller_id)  # in no order
    assert {one.kind for one in told} == {Notice.KIND_ONBOARDING_REQUIRED}
    said = [[one.values[name] for name in ("requirements_count", "past_due_count", "gone")] for one in told]
    assert sorted(said) == [["0", "0", "true"], ["1", "0", "false"], ["1", "1", "false"]]


async def account_at(stripe: SandboxControl, account: sellers_pb2.SellerAccount) -> dict[str, dict[str, int]]:
    (shown,) = await stripe.objects("account", id=account.stripe_account_id)
    return shown


async def test_a_link_whose_answer_was_lost_is_followed_by_another(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.fault(Kind.SERVER_ERROR, route=LINKS, stored=True)

    lost = await refusal(gateway.CreateOnboardingLink(asked(account.seller_id)))
    assert lost == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    link = await gateway.CreateOnboardingLink(asked(account.seller_id))

    async with httpx.AsyncClient(timeout=WITHIN_S) as browser:
        assert (await browser.get(link.url)).status_code == 200


async def test_there_is_no_link_without_an_account(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    nobody = await refusal(gateway.CreateOnboardingLink(asked(new_id("seller"))))
    assert nobody == (StatusCode.NOT_FOUND, "SELLER_NOT_FOUND")

    account = await payments.prepare_seller(new_id("seller"))
    await stripe.disconnect_account(account.stripe_account_id)
    for _ in range(2):
        code, reason, field, metadata = await refused(gateway.CreateOnboardingLink(asked(account.seller_id)))
        assert (code, reason, field) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE", "seller_id")
        assert metadata == {"missing": "account", "seller_id": account.seller_id}
    get = sellers_pb2.GetSellerAccountRequest(seller_id=account.seller_id)
    assert (await gateway.GetSellerAccount(get)).account.gone


async def test_what_stripe_refuses_of_a_link_is_said(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await stripe.fault(Kind.INVALID, route=LINKS, code="url_invalid", param="return_url")

    code, reason, _, metadata = await refused(gateway.CreateOnboardingLink(asked(account.seller_id)))

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert (metadata["code"], metadata["param"]) == ("url_invalid", "return_url")


@pytest.mark.parametrize("field", ["return_url", "refresh_url"])
@pytest.mark.parametrize("value", ["", "shop.example", "http://shop.example/", "javascript:alert(1)"])
async def test_a_seller_is_sent_to_https_alone(gateway: GatewayStubs, field: str, value: str) -> None:
    code, reason, named, _ = await refused(gateway.CreateOnboardingLink(asked("seller_of_nobody", **{field: value})))

    assert (code, reason) == (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID" if value else "FIELD_MISSING")
    assert named == field
