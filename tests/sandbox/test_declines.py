"""Stripe's declining test cards: what the caller is told, what the intent keeps, and that another card still works."""

from __future__ import annotations

import pytest
import stripe

from tests.sandbox.samples import RETURN_URL, Api, paid


@pytest.mark.parametrize(
    ("card", "code", "decline_code"),
    [
        ("pm_card_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_visa_chargeDeclinedLostCard", "card_declined", "lost_card"),
        ("pm_card_chargeDeclinedStolenCard", "card_declined", "stolen_card"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedIncorrectCvc", "incorrect_cvc", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
        ("pm_card_visa_chargeDeclinedVelocityLimitExceeded", "card_declined", "card_velocity_exceeded"),
        ("pm_card_chargeCustomerFail", "card_declined", "generic_decline"),
        ("pm_card_radarBlock", "card_declined", "fraudulent"),
    ],
)
async def test_a_decline_is_a_402_and_another_card_still_works(
    v1: Api, card: str, code: str, decline_code: str | None
) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await paid(v1, card=card)

    error = caught.value.error
    assert (caught.value.http_status, caught.value.code, error.decline_code) == (402, code, decline_code)
    assert caught.value.request_id.startswith("req_")
    intent = await v1.payment_intents.retrieve_async(error.payment_intent.id, {"expand": ["latest_charge"]})
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert (intent.last_payment_error.code, intent.last_payment_error.charge) == (code, intent.latest_charge.id)
    assert (intent.latest_charge.status, intent.latest_charge.failure_code) == ("failed", code)

    again = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL}
    )

    assert (again.status, again.last_payment_error) == ("succeeded", None)


async def test_a_blocked_payment_never_reaches_the_bank(v1: Api) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await paid(v1, card="pm_card_radarBlock")

    charge = await v1.charges.retrieve_async(caught.value.error.charge)
    assert (charge.outcome.type, charge.outcome.network_status) == ("blocked", "not_sent_to_network")


async def test_some_cards_already_decline_when_they_are_attached(v1: Api) -> None:
    customer = await v1.customers.create_async({})

    with pytest.raises(stripe.CardError):
        await v1.payment_methods.attach_async("pm_card_chargeDeclined", {"customer": customer.id})
    method = await v1.payment_methods.attach_async("pm_card_chargeCustomerFail", {"customer": customer.id})
    with pytest.raises(stripe.CardError):
        await paid(v1, card=method.id, customer=customer.id)


@pytest.mark.parametrize("params", [{"off_session": True}, {"error_on_requires_action": True}])
async def test_nobody_there_to_authenticate_is_a_decline(v1: Api, params: dict[str, bool]) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await paid(v1, card="pm_card_authenticationRequired", **params)

    assert caught.value.code == "authentication_required"


async def test_a_method_set_up_for_it_is_charged_off_session(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    card = "pm_card_authenticationRequiredSetupForOffSession"

    assert (await paid(v1, card=card, customer=customer.id, off_session=True)).status == "succeeded"
    assert (await paid(v1, card=card, customer=customer.id)).status == "requires_action"


@pytest.mark.parametrize("card", ["pm_nobody", "4242424242424242", "tok_visa"])
async def test_what_is_no_payment_method_is_refused(v1: Api, card: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await paid(v1, card=card)

    assert (caught.value.http_status, caught.value.code, caught.value.param) == (
        400,
        "resource_missing",
        "payment_method",
    )
