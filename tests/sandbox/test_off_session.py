"""Charges without the payer: what a bank says to them, and how the payer comes back to the same intent."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.sandbox.samples import RETURN_URL, Api, paid, set_up


async def _kept(v1: Api, card: str = "pm_card_visa") -> dict[str, str]:
    """Return a customer and a method of theirs, as a charge names them."""
    customer = await v1.customers.create_async({})
    method = await v1.payment_methods.attach_async(card, {"customer": customer.id})
    return {"customer": customer.id, "card": method.id}


async def _refused(v1: Api, kept: dict[str, str], **params: Any) -> Any:
    """Return the error of a charge without the payer."""
    with pytest.raises(stripe.CardError) as caught:
        await paid(v1, **kept, off_session=True, **params)
    assert caught.value.http_status == 402
    return caught.value.error


@pytest.mark.parametrize(
    "card", ["pm_card_authenticationRequired", "pm_card_threeDSecure2Required", "pm_card_authenticationRequiredOnSetup"]
)
async def test_the_payer_is_asked_for_on_the_same_intent(v1: Api, control: SandboxControl, card: str) -> None:
    kept = await _kept(v1, card)

    error = await _refused(v1, kept)

    assert (error.code, error.decline_code, error.advice_code) == (
        "authentication_required",
        "authentication_required",
        None,
    )
    intent = await v1.payment_intents.retrieve_async(error.payment_intent.id)
    assert (intent.status, intent.payment_method) == ("requires_payment_method", None)
    assert intent.last_payment_error.code == "authentication_required"
    assert intent.last_payment_error.payment_method.id == kept["card"]
    asked = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": kept["card"], "return_url": RETURN_URL}
    )
    assert (asked.status, asked.last_payment_error) == ("requires_action", None)
    assert (await control.authenticate(intent.id, succeed=True))["status"] == "succeeded"


async def test_an_intent_made_before_is_confirmed_without_the_payer(v1: Api) -> None:
    kept = await _kept(v1, "pm_card_threeDSecure2Required")
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf", "customer": kept["customer"]})

    with pytest.raises(stripe.CardError) as caught:
        await v1.payment_intents.confirm_async(
            intent.id, {"payment_method": kept["card"], "off_session": True, "return_url": RETURN_URL}
        )

    assert (caught.value.code, caught.value.error.payment_intent.id) == ("authentication_required", intent.id)


async def test_a_card_that_was_set_up_is_not_asked_again(v1: Api, control: SandboxControl) -> None:
    customer = await v1.customers.create_async({})
    setup = await set_up(v1, card="pm_card_authenticationRequiredOnSetup", customer=customer.id)
    await control.authenticate(setup.id, succeed=True)
    ready = await _kept(v1, "pm_card_authenticationRequiredSetupForOffSession")

    for kept in ({"customer": customer.id, "card": setup.payment_method}, ready):
        assert (await paid(v1, **kept, off_session=True)).status == "succeeded"


@pytest.mark.parametrize(
    ("card", "advice"),
    [
        ("pm_card_chargeDeclined", "try_again_later"),
        ("pm_card_chargeDeclinedInsufficientFunds", "try_again_later"),
        ("pm_card_chargeDeclinedLostCard", "do_not_try_again"),
        ("pm_card_chargeDeclinedIncorrectCvc", "confirm_card_data"),
        ("pm_card_radarBlock", None),
    ],
)
async def test_a_bank_says_whether_to_try_again(v1: Api, card: str, advice: str | None) -> None:
    with pytest.raises(stripe.CardError) as caught:
        await paid(v1, card=card)

    assert caught.value.error.advice_code == advice
    intent = await v1.payment_intents.retrieve_async(
        caught.value.error.payment_intent.id, {"expand": ["latest_charge"]}
    )
    assert getattr(intent.last_payment_error, "advice_code", None) == advice
    assert intent.latest_charge.outcome.advice_code == advice


async def test_a_kept_card_declines_so_often_and_then_pays(v1: Api, control: SandboxControl) -> None:
    kept = await _kept(v1)
    other = await _kept(v1)
    await control.decline_charges(kept["card"], "insufficient_funds", times=2)

    first = await _refused(v1, kept)
    with pytest.raises(stripe.CardError) as caught:
        await v1.payment_intents.confirm_async(
            first.payment_intent.id, {"payment_method": kept["card"], "off_session": True, "return_url": RETURN_URL}
        )

    assert (first.decline_code, first.advice_code) == ("insufficient_funds", "try_again_later")
    assert caught.value.error.decline_code == "insufficient_funds"
    assert (await paid(v1, **other, off_session=True)).status == "succeeded"
    again = await v1.payment_intents.confirm_async(
        first.payment_intent.id, {"payment_method": kept["card"], "off_session": True, "return_url": RETURN_URL}
    )
    assert (again.status, again.last_payment_error) == ("succeeded", None)


async def test_what_a_bank_advises_can_be_set_and_an_order_taken_back(v1: Api, control: SandboxControl) -> None:
    kept = await _kept(v1)
    await control.decline_charges(kept["card"], "do_not_honor", times=None, advice_code="do_not_try_again")
    assert [(await _refused(v1, kept)).advice_code for _ in range(3)] == ["do_not_try_again"] * 3
    await control.decline_charges(kept["card"], "do_not_honor", advice_code=None)
    assert (await _refused(v1, kept)).advice_code is None
    await control.decline_charges(kept["card"], "expired_card")
    await control.decline_charges(kept["card"], "expired_card", times=0)

    assert (await paid(v1, **kept, off_session=True)).status == "succeeded"

    with pytest.raises(Refused, match="unknown reason"):
        await control.decline_charges(kept["card"], "bad_mood")


async def test_any_card_can_be_made_to_ask_for_the_payer(v1: Api, control: SandboxControl) -> None:
    kept = await _kept(v1)
    await control.decline_charges(kept["card"], "authentication_required")

    for _ in range(2):
        assert (await _refused(v1, kept)).code == "authentication_required"
    intent = await paid(v1, **kept)

    assert intent.status == "requires_action"
    assert (await control.authenticate(intent.id, succeed=True))["status"] == "succeeded"
    assert (await paid(v1, **kept, off_session=True)).status == "succeeded"


async def test_a_debit_can_fail_so_often_and_then_pay(v1: Api, control: SandboxControl) -> None:
    customer = await v1.customers.create_async({})
    mandate = {"customer_acceptance": {"type": "offline"}}
    setup = await set_up(v1, card="pm_sepaDebit_success_de", customer=customer.id, mandate_data=mandate)
    await control.decline_charges(setup.payment_method, "insufficient_funds")
    seen = []

    for _ in range(2):
        intent = await paid(v1, card=setup.payment_method, customer=customer.id, currency="eur", off_session=True)
        await control.finish_debit(intent.id)
        seen.append((await v1.payment_intents.retrieve_async(intent.id)).status)

    assert seen == ["requires_payment_method", "succeeded"]
