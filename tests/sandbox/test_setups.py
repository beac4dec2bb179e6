"""SetupIntents: methods that are kept for later, through the official client."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.eventually import WITHIN_S
from tests.sandbox.samples import RETURN_URL, Api, paid, set_up

CARD_ASKING = "pm_card_authenticationRequiredOnSetup"
MANDATE = {"customer_acceptance": {"type": "online", "online": {"ip_address": "127.0.0.1", "user_agent": "tests"}}}


async def _types(v1: Api, *, since: str) -> list[str]:
    """Return the types of events of an account, oldest first, from the first of type `since` on."""
    types = [event.type for event in reversed((await v1.events.list_async({"limit": 100})).data)]
    return types[types.index(since) :]


async def test_a_setup_keeps_a_method_with_its_customer(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    setup = await v1.setup_intents.create_async(
        {"customer": customer.id, "automatic_payment_methods": {"enabled": True}, "metadata": {"payment_id": "p"}}
    )
    assert (setup.status, setup.usage, setup.payment_method) == ("requires_payment_method", "off_session", None)

    setup = await v1.setup_intents.confirm_async(
        setup.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL, "expand": ["payment_method"]}
    )

    assert (setup.status, setup.payment_method.customer, setup.last_setup_error) == ("succeeded", customer.id, None)
    assert (await v1.setup_intents.retrieve_async(setup.id)).metadata["payment_id"] == "p"
    assert await _types(v1, since="setup_intent.created") == [
        "setup_intent.created",
        "payment_method.attached",
        "setup_intent.succeeded",
    ]
    assert (await paid(v1, card=setup.payment_method.id, customer=customer.id, off_session=True)).status == "succeeded"


async def test_a_setup_asks_for_authentication_once_and_never_again_off_session(
    v1: Api, control: SandboxControl
) -> None:
    customer = await v1.customers.create_async({})
    setup = await set_up(v1, customer=customer.id, card=CARD_ASKING)
    assert (setup.status, setup.next_action.type) == ("requires_action", "redirect_to_url")

    target = await control.answer_3ds(setup.next_action.redirect_to_url.url, succeed=True)

    assert parse_qs(urlsplit(target).query) == {
        "order": ["7"],
        "setup_intent": [setup.id],
        "setup_intent_client_secret": [setup.client_secret],
        "redirect_status": ["succeeded"],
    }
    setup = await v1.setup_intents.retrieve_async(setup.id)
    assert (setup.status, setup.next_action) == ("succeeded", None)
    assert await _types(v1, since="setup_intent.requires_action") == [
        "setup_intent.requires_action",
        "payment_method.attached",
        "setup_intent.succeeded",
    ]
    intent = await paid(v1, card=setup.payment_method, customer=customer.id, off_session=True)
    assert intent.status == "succeeded"


async def test_a_payer_who_fails_may_try_another_method(v1: Api, control: SandboxControl) -> None:
    customer = await v1.customers.create_async({})
    setup = await set_up(v1, customer=customer.id, card=CARD_ASKING)

    await control.authenticate(setup.id, succeed=False)

    setup = await v1.setup_intents.retrieve_async(setup.id)
    assert (setup.status, setup.payment_method) == ("requires_payment_method", None)
    assert setup.last_setup_error.code == "setup_intent_authentication_failure"
    assert (await v1.events.list_async({"limit": 1})).data[0].type == "setup_intent.setup_failed"
    assert (await v1.payment_methods.list_async({"customer": customer.id})).data == []
    again = await v1.setup_intents.confirm_async(
        setup.id, {"payment_method": "pm_card_mastercard", "return_url": RETURN_URL}
    )
    assert (again.status, again.last_setup_error) == ("succeeded", None)


async def test_a_declined_setup_is_a_402_and_stays_open(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    setup = await v1.setup_intents.create_async({"customer": customer.id})

    with pytest.raises(stripe.CardError) as caught:
        await v1.setup_intents.confirm_async(
            setup.id, {"payment_method": "pm_card_chargeDeclinedLostCard", "return_url": RETURN_URL}
        )

    assert (caught.value.code, caught.value.error.decline_code) == ("card_declined", "lost_card")
    assert caught.value.error.setup_intent.id == setup.id
    setup = await v1.setup_intents.retrieve_async(setup.id)
    assert (setup.status, setup.last_setup_error.decline_code) == ("requires_payment_method", "lost_card")
    assert await _types(v1, since="setup_intent.created") == ["setup_intent.created", "setup_intent.setup_failed"]


async def test_a_card_may_be_kept_that_is_declined_later(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    setup = await set_up(v1, customer=customer.id, card="pm_card_chargeCustomerFail")
    assert setup.status == "succeeded"

    with pytest.raises(stripe.CardError):
        await paid(v1, card=setup.payment_method, customer=customer.id, off_session=True)


async def test_a_debit_is_set_up_with_its_mandate(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    setup = await v1.setup_intents.create_async({"customer": customer.id})
    given = {"payment_method": "pm_sepaDebit_success_de", "return_url": RETURN_URL}
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.setup_intents.confirm_async(setup.id, given)
    assert caught.value.code == "setup_intent_mandate_invalid"

    setup = await v1.setup_intents.confirm_async(setup.id, {**given, "mandate_data": MANDATE, "expand": ["mandate"]})

    assert (setup.status, setup.mandate.type, setup.mandate.payment_method) == (
        "succeeded",
        "multi_use",
        setup.payment_method,
    )
    intent = await paid(v1, card=setup.payment_method, customer=customer.id, currency="eur", off_session=True)
    assert intent.status == "processing"


async def test_a_method_that_cannot_be_kept_is_refused(v1: Api) -> None:
    setup = await v1.setup_intents.create_async({})

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.setup_intents.confirm_async(setup.id, {"payment_method": "pm_twint", "return_url": RETURN_URL})

    assert caught.value.code == "setup_intent_incompatible_payment_method"


async def test_a_setup_is_cancelled_and_stays_so(v1: Api) -> None:
    setup = await v1.setup_intents.create_async({})
    setup = await v1.setup_intents.cancel_async(setup.id, {"cancellation_reason": "abandoned"})
    assert (setup.status, setup.cancellation_reason) == ("canceled", "abandoned")
    done = await set_up(v1)

    for call in (
        v1.setup_intents.cancel_async(setup.id),
        v1.setup_intents.cancel_async(done.id),
        v1.setup_intents.confirm_async(done.id, {"return_url": RETURN_URL}),
        v1.setup_intents.update_async(setup.id, {"payment_method": "pm_card_visa"}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await call
        assert caught.value.code == "setup_intent_unexpected_state"
        assert caught.value.error.setup_intent.id in (setup.id, done.id)
    assert (await v1.events.list_async({"type": "setup_intent.canceled"})).data[0].data.object["id"] == setup.id


async def test_a_setup_can_be_changed_and_listed(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    setup = await v1.setup_intents.create_async({"metadata": {"a": "1"}})

    setup = await v1.setup_intents.update_async(
        setup.id,
        {"customer": customer.id, "payment_method": "pm_card_visa", "description": "d", "metadata": {"b": "2"}},
    )

    assert (setup.status, setup.description) == ("requires_confirmation", "d")
    assert setup.metadata.to_dict() == {"a": "1", "b": "2"}
    for filters in ({"customer": customer.id}, {"payment_method": setup.payment_method}, {}):
        assert [row.id for row in (await v1.setup_intents.list_async(filters)).data] == [setup.id]
    assert (await v1.setup_intents.confirm_async(setup.id, {"return_url": RETURN_URL})).status == "succeeded"


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"return_url": RETURN_URL}, "return_url"),
        ({"confirm": True, "return_url": RETURN_URL}, "payment_method"),
        ({"customer": "cus_nobody"}, "customer"),
        ({"confirm": True, "payment_method": "pm_card_visa"}, None),
    ],
)
async def test_what_a_setup_cannot_be_made_of_is_refused(v1: Api, params: dict[str, Any], param: str | None) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.setup_intents.create_async(params)

    assert caught.value.param == param
    assert (await v1.setup_intents.list_async()).data == []


async def test_another_customers_method_cannot_be_set_up(v1: Api) -> None:
    ours, theirs = [await v1.customers.create_async({}) for _ in range(2)]
    setup = await set_up(v1, customer=theirs.id)

    with pytest.raises(stripe.InvalidRequestError, match="on the SetupIntent"):
        await set_up(v1, customer=ours.id, card=setup.payment_method)


async def test_a_browser_confirms_a_setup_with_the_client_secret_alone(v1: Api, control: SandboxControl) -> None:
    setup = await v1.setup_intents.create_async({"metadata": {"secret": "ours"}})

    seen = await control.browser_confirm(setup.client_secret, payment_method=CARD_ASKING)

    assert (seen["next_action"]["type"], "metadata" in seen) == ("use_stripe_sdk", False)
    assert (await control.authenticate(setup.id, succeed=True))["status"] == "succeeded"
    with pytest.raises(Refused) as caught:
        await control.browser_confirm(f"{setup.id}_secret_guessed", payment_method=CARD_ASKING)
    assert caught.value.status == 404
    other = await v1.setup_intents.create_async({})
    declined = await control.browser_confirm(other.client_secret, payment_method="pm_card_chargeDeclined")
    assert declined["error"]["setup_intent"]["id"] == other.id


async def test_the_bank_says_that_nothing_is_taken(v1: Api) -> None:
    setup = await set_up(v1, card=CARD_ASKING)

    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as browser:
        page = await browser.get(setup.next_action.redirect_to_url.url)

    assert (page.status_code, setup.id in page.text) == (200, True)
    assert "Nothing is taken now" in page.text
