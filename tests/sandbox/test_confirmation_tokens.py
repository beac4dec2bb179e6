"""Confirmation tokens: what a payer entered confirms once, within hours; who has the intent's secret enters it."""

from __future__ import annotations

import httpx
import pytest
import stripe

from sandbox.control import SandboxControl
from sandbox.state import Sandbox
from tests.eventually import WITHIN_S
from tests.sandbox.samples import RETURN_URL, Api


async def entered(v1: Api, card: str = "pm_card_visa") -> str:
    token = await v1.test_helpers.confirmation_tokens.create_async({"payment_method": card, "return_url": RETURN_URL})
    return str(token.id)


async def intent_of(v1: Api) -> stripe.PaymentIntent:
    return await v1.payment_intents.create_async({"amount": 6000, "currency": "chf"})


async def test_a_token_confirms_once_and_says_what_it_was_used_for(v1: Api) -> None:
    token_id, first, second = await entered(v1), await intent_of(v1), await intent_of(v1)

    paid = await v1.payment_intents.confirm_async(
        first.id, {"confirmation_token": token_id, "return_url": RETURN_URL, "expand": ["payment_method"]}
    )
    token = await v1.confirmation_tokens.retrieve_async(token_id)
    with pytest.raises(stripe.InvalidRequestError, match="was used before"):
        await v1.payment_intents.confirm_async(second.id, {"confirmation_token": token_id, "return_url": RETURN_URL})

    assert (paid.status, paid.payment_method.card.last4) == ("succeeded", "4242")
    assert (token.payment_intent, token.payment_method_preview.card.last4) == (first.id, "4242")
    assert (await v1.payment_intents.retrieve_async(second.id)).status == "requires_payment_method"


async def test_a_token_keeps_a_method(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    setup = await v1.setup_intents.create_async(
        {
            "customer": customer.id,
            "confirm": True,
            "confirmation_token": await entered(v1),
            "return_url": RETURN_URL,
        }
    )

    kept = await v1.customers.payment_methods.list_async(customer.id)
    assert setup.status == "succeeded"
    assert [method.id for method in kept.data] == [setup.payment_method]


async def test_a_declined_card_declines_by_token_too(v1: Api) -> None:
    token_id, intent = await entered(v1, "pm_card_chargeDeclinedInsufficientFunds"), await intent_of(v1)

    with pytest.raises(stripe.CardError) as declined:
        await v1.payment_intents.confirm_async(intent.id, {"confirmation_token": token_id, "return_url": RETURN_URL})

    assert declined.value.error.decline_code == "insufficient_funds"


async def test_a_token_is_too_old_after_half_a_day(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    token_id, intent = await entered(v1), await intent_of(v1)
    await control.advance(12 * 3600)

    with pytest.raises(stripe.InvalidRequestError, match="has expired"):
        await v1.payment_intents.confirm_async(intent.id, {"confirmation_token": token_id, "return_url": RETURN_URL})


async def test_who_has_the_secret_enters_and_nobody_else(v1: Api, sandbox: Sandbox) -> None:
    intent = await intent_of(v1)
    form = {"key": "pk_test_x", "payment_method": "pm_card_visa", "return_url": RETURN_URL}

    async with httpx.AsyncClient(base_url=sandbox.base_url, timeout=WITHIN_S) as browser:
        path = "/v1/test_helpers/confirmation_tokens"
        made = await browser.post(path, data={**form, "client_secret": intent.client_secret})
        refused = await browser.post(path, data={**form, "client_secret": f"{intent.id}_secret_guessed"})
        nobody = await browser.post(path, data=form)

    assert (made.status_code, made.headers["access-control-allow-origin"]) == (200, "*")
    paid = await v1.payment_intents.confirm_async(
        intent.id, {"confirmation_token": made.json()["id"], "return_url": RETURN_URL}
    )
    assert paid.status == "succeeded"
    assert (refused.status_code, nobody.status_code) == (404, 404)


@pytest.mark.parametrize("token_id", ["ctoken_1", "pm_card_visa"])
async def test_what_is_no_token_confirms_nothing(v1: Api, token_id: str) -> None:
    intent = await intent_of(v1)

    with pytest.raises(stripe.InvalidRequestError, match="No such"):
        await v1.payment_intents.confirm_async(intent.id, {"confirmation_token": token_id, "return_url": RETURN_URL})
