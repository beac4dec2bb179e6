"""3-D Secure, through the page a payer sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from sandbox.control import Refused, SandboxControl
from tests.eventually import WITHIN_S
from tests.sandbox.samples import RETURN_URL, Api, paid

CARD = "pm_card_threeDSecure2Required"


@pytest.fixture
async def browser() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as browser:
        yield browser


async def test_the_page_says_what_is_asked_and_both_buttons_work_without_script(
    v1: Api, browser: httpx.AsyncClient
) -> None:
    intent = await paid(v1, card=CARD, amount=12_050)
    assert (intent.status, intent.next_action.type, intent.latest_charge) == (
        "requires_action",
        "redirect_to_url",
        None,
    )

    page = await browser.get(intent.next_action.redirect_to_url.url)

    assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
    for text in ("120.50 CHF", intent.id, 'method="post"', 'value="complete"', 'value="fail"', 'lang="en"'):
        assert text in page.text
    assert "<script" not in page.text


async def test_a_payer_who_passes_has_paid_and_comes_back(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1, card=CARD)

    target = await control.answer_3ds(intent.next_action.redirect_to_url.url, succeed=True)

    assert target.startswith(RETURN_URL)
    assert parse_qs(urlsplit(target).query) == {
        "order": ["7"],
        "payment_intent": [intent.id],
        "payment_intent_client_secret": [intent.client_secret],
        "redirect_status": ["succeeded"],
    }
    intent = await v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})
    assert (intent.status, intent.next_action) == ("succeeded", None)
    assert intent.latest_charge.payment_method_details.card.three_d_secure.result == "authenticated"


async def test_a_payer_who_fails_comes_back_and_may_try_another_card(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1, card=CARD)

    target = await control.answer_3ds(intent.next_action.redirect_to_url.url, succeed=False)

    assert parse_qs(urlsplit(target).query)["redirect_status"] == ["failed"]
    intent = await v1.payment_intents.retrieve_async(intent.id)
    assert (intent.status, intent.payment_method, intent.latest_charge) == ("requires_payment_method", None, None)
    assert intent.last_payment_error.code == "payment_intent_authentication_failure"
    assert (await v1.events.list_async({"limit": 1})).data[0].type == "payment_intent.payment_failed"
    again = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL}
    )
    assert again.status == "succeeded"


async def test_a_bank_may_decline_after_authentication(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1, card="pm_card_authenticationRequiredChargeDeclinedInsufficientFunds")

    target = await control.answer_3ds(intent.next_action.redirect_to_url.url, succeed=True)

    assert parse_qs(urlsplit(target).query)["redirect_status"] == ["failed"]
    intent = await v1.payment_intents.retrieve_async(intent.id)
    assert (intent.status, intent.last_payment_error.decline_code) == ("requires_payment_method", "insufficient_funds")


async def test_a_hold_can_need_authentication_too(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1, card=CARD, capture_method="manual")

    assert (await control.authenticate(intent.id, succeed=True))["status"] == "requires_capture"


async def test_without_a_return_url_the_payers_own_page_asks(v1: Api, control: SandboxControl) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})

    seen = await control.browser_confirm(intent.client_secret, payment_method=CARD)

    assert seen["next_action"]["type"] == "use_stripe_sdk"
    assert (await control.authenticate(intent.id, succeed=False))["status"] == "requires_payment_method"


async def test_where_stripe_js_is_at_hand_it_asks_over_the_page_whatever_the_return_url(v1: Api) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})

    seen = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": CARD, "return_url": "https://shop.example/back", "use_stripe_sdk": True}
    )

    assert seen.next_action is not None
    assert (seen.status, seen.next_action.type) == ("requires_action", "use_stripe_sdk")


async def test_the_answer_counts_once(v1: Api, control: SandboxControl, browser: httpx.AsyncClient) -> None:
    intent = await paid(v1, card=CARD)
    url = intent.next_action.redirect_to_url.url
    await control.answer_3ds(url, succeed=True)

    with pytest.raises(Refused) as caught:
        await control.answer_3ds(url, succeed=False)

    assert caught.value.status == 409
    assert (await browser.get(url)).status_code == 409
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "succeeded"
    with pytest.raises(Refused):
        await control.authenticate(intent.id, succeed=True)


async def test_an_authentication_of_an_intent_cancelled_meanwhile_has_no_effect(
    v1: Api, control: SandboxControl
) -> None:
    intent = await paid(v1, card=CARD)
    await v1.payment_intents.cancel_async(intent.id)

    with pytest.raises(Refused):
        await control.answer_3ds(intent.next_action.redirect_to_url.url, succeed=True)

    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "canceled"


async def test_only_who_holds_the_client_secret_sees_the_page(v1: Api, browser: httpx.AsyncClient) -> None:
    intent = await paid(v1, card=CARD)
    page, _, secret = intent.next_action.redirect_to_url.url.partition("?client_secret=")

    for params in ({}, {"client_secret": f"{intent.id}_secret_guessed"}):
        answer = await browser.get(page, params=params)
        assert (answer.status_code, secret in answer.text) == (404, False)
        assert (await browser.post(page, params=params, data={"outcome": "complete"})).status_code == 404
    assert (await browser.post(f"{page}?client_secret={secret}", data={"outcome": "perhaps"})).status_code == 400
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "requires_action"


async def test_what_a_page_shows_is_escaped(v1: Api, browser: httpx.AsyncClient) -> None:
    intent = await paid(v1, card=CARD)
    host = urlsplit(intent.next_action.redirect_to_url.url)

    answer = await browser.get(f"http://{host.netloc}/3ds/%3Cscript%3E?client_secret=x")

    assert (answer.status_code, "<script" in answer.text) == (404, False)
