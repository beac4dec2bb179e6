"""Methods that customers keep: what changes about them, by whom, and what is told; the customers themselves."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.sandbox.samples import RETURN_URL, Api, paid, set_up

YEAR_S = 366 * 86_400


async def _kept(v1: Api, card: str = "pm_card_visa") -> tuple[str, str]:
    """Return a customer and a method of theirs."""
    customer = await v1.customers.create_async({"email": "p@example.com"})
    method = await v1.payment_methods.attach_async(card, {"customer": customer.id})
    return customer.id, method.id


async def _last(v1: Api, count: int = 1) -> Any:
    return (await v1.events.list_async({"limit": count})).data


async def test_the_same_number_has_the_same_fingerprint_for_whoever_keeps_it(v1: Api) -> None:
    cards = ("pm_card_visa", "pm_card_visa", "pm_card_mastercard", "pm_card_amex", "pm_card_unionpay")
    methods = [(await v1.payment_methods.retrieve_async((await _kept(v1, card))[1])) for card in cards]

    prints = [method.card.fingerprint for method in methods]

    assert prints[0] == prints[1]
    assert len(set(prints)) == 4


async def test_an_owner_may_correct_a_kept_method(v1: Api) -> None:
    _, method_id = await _kept(v1)

    method = await v1.payment_methods.update_async(
        method_id,
        {
            "billing_details": {"email": "new@example.com", "address": {"city": "Bern"}},
            "card": {"exp_month": 3, "exp_year": 2040},
            "metadata": {"label": "work"},
        },
    )

    assert (method.card.exp_month, method.card.exp_year, method.metadata["label"]) == (3, 2040, "work")
    assert (method.billing_details.email, method.billing_details.address.city) == ("new@example.com", "Bern")
    (event,) = await _last(v1)
    assert event.type == "payment_method.updated"
    assert event.data.previous_attributes["billing_details"]["email"] is None
    with pytest.raises(stripe.InvalidRequestError):
        await v1.payment_methods.update_async(method_id, {"card": {"exp_month": 13}})
    await v1.payment_methods.detach_async(method_id)
    with pytest.raises(stripe.InvalidRequestError, match="save this PaymentMethod to a customer"):
        await v1.payment_methods.update_async(method_id, {"metadata": {"label": ""}})


async def test_a_network_may_update_a_card_by_itself(v1: Api, control: SandboxControl) -> None:
    _, method_id = await _kept(v1)
    before = await v1.payment_methods.retrieve_async(method_id)

    await control.renew_card(method_id, exp_month=1, exp_year=2050)

    method = await v1.payment_methods.retrieve_async(method_id)
    assert (method.card.exp_month, method.card.exp_year) == (1, 2050)
    assert method.card.fingerprint == before.card.fingerprint
    (event,) = await _last(v1)
    assert (event.type, event.request.id) == ("payment_method.automatically_updated", None)
    assert event.data.previous_attributes["card"]["exp_year"] == before.card.exp_year


async def test_a_card_whose_month_is_over_is_declined(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    customer, method_id = await _kept(v1)
    assert (await paid(v1, card=method_id, customer=customer, off_session=True)).status == "succeeded"

    await control.advance(6 * YEAR_S)

    with pytest.raises(stripe.CardError) as caught:
        await paid(v1, card=method_id, customer=customer, off_session=True)
    assert (caught.value.code, caught.value.error.advice_code) == ("expired_card", "confirm_card_data")
    with pytest.raises(stripe.CardError) as caught:
        await set_up(v1, card=method_id, customer=customer)
    assert caught.value.code == "expired_card"
    await control.renew_card(method_id, exp_month=12, exp_year=2099)
    assert (await paid(v1, card=method_id, customer=customer, off_session=True)).status == "succeeded"


async def test_a_detached_method_is_no_longer_the_default(v1: Api, control: SandboxControl) -> None:
    customer, method_id = await _kept(v1)
    settings = {"invoice_settings": {"default_payment_method": method_id}}
    await v1.customers.update_async(customer, settings)

    await control.detach_method(method_id)

    assert (await v1.customers.retrieve_async(customer)).invoice_settings.default_payment_method is None
    updated, detached = await _last(v1, 2)
    assert (detached.type, updated.type) == ("payment_method.detached", "customer.updated")
    assert detached.data.previous_attributes["customer"] == customer
    with pytest.raises(stripe.InvalidRequestError, match="must be attached"):
        await v1.customers.update_async(customer, settings)
    with pytest.raises(Refused):
        await control.detach_method(customer)


async def test_a_customer_is_kept_up_to_date_and_the_default_can_be_taken_away(v1: Api) -> None:
    customer, method_id = await _kept(v1)
    await v1.customers.update_async(customer, {"invoice_settings": {"default_payment_method": method_id}})

    changed = await v1.customers.update_async(
        customer, {"email": "new@example.com", "name": "N", "invoice_settings": {"default_payment_method": ""}}
    )

    assert (changed.email, changed.name) == ("new@example.com", "N")
    assert changed.invoice_settings.default_payment_method is None
    (event,) = await _last(v1)
    assert event.data.previous_attributes["email"] == "p@example.com"


async def test_nothing_is_done_for_a_deleted_customer(v1: Api, control: SandboxControl) -> None:
    customer, method_id = await _kept(v1)
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf", "customer": customer})
    setup = await v1.setup_intents.create_async({"customer": customer})

    await control.delete_customer(customer)

    assert (await v1.customers.retrieve_async(customer)).deleted
    types = [event.type for event in await _last(v1, 2)]
    assert types == ["customer.deleted", "payment_method.detached"]
    given = {"payment_method": "pm_card_visa", "return_url": RETURN_URL}
    for call in (
        v1.payment_intents.confirm_async(intent.id, given),
        v1.setup_intents.confirm_async(setup.id, given),
        v1.payment_intents.create_async({"amount": 500, "currency": "chf", "customer": customer}),
        v1.setup_intents.create_async({"customer": customer}),
        v1.customers.update_async(customer, {"name": "N"}),
        v1.payment_methods.attach_async("pm_card_visa", {"customer": customer}),
        v1.payment_methods.list_async({"customer": customer}),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await call
        assert caught.value.code == "resource_missing"
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await paid(v1, card=method_id)


async def test_a_payment_keeps_its_method_for_later_if_it_says_so(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf", "customer": customer.id})

    intent = await v1.payment_intents.confirm_async(
        intent.id,
        {"payment_method": "pm_card_visa", "setup_future_usage": "off_session", "return_url": RETURN_URL},
    )

    kept = (await v1.customers.payment_methods.list_async(customer.id)).data
    assert [method.id for method in kept] == [intent.payment_method]
    assert "payment_method.attached" in [event.type for event in await _last(v1, 10)]
    assert (await paid(v1, card=intent.payment_method, customer=customer.id, off_session=True)).status == "succeeded"
