"""Checkout Sessions in setup mode: a method is kept and nothing is taken."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.eventually import WITHIN_S
from tests.sandbox.samples import Api, opened, paid

CARD_3DS = "pm_card_threeDSecure2Required"


async def _opened(v1: Api, **params: Any) -> Any:
    return await opened(v1, **{"mode": "setup", "currency": "chf", "line_items": None, **params})


async def _customer(v1: Api) -> str:
    return str((await v1.customers.create_async({"email": "payer@example.com"})).id)


async def test_a_method_is_kept_and_can_be_charged_off_session(v1: Api, control: SandboxControl) -> None:
    customer = await _customer(v1)
    session = await _opened(v1, customer=customer, setup_intent_data={"metadata": {"of": "setup"}, "description": "x"})
    assert (session.amount_total, session.payment_status, session.payment_intent) == (None, "no_payment_required", None)
    setup = await v1.setup_intents.retrieve_async(session.setup_intent)
    assert (setup.status, setup.customer, setup.metadata.to_dict()) == (
        "requires_payment_method",
        customer,
        {"of": "setup"},
    )

    target = await control.pay_session(session.url)

    assert target == f"https://shop.example/done?session={session.id}"
    done = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["setup_intent.payment_method"]})
    assert (done.status, done.payment_status, done.url) == ("complete", "no_payment_required", None)
    assert done.setup_intent.status == "succeeded"
    method = done.setup_intent.payment_method
    assert method.customer == customer
    assert (await paid(v1, customer=customer, card=method.id, off_session=True)).status == "succeeded"
    types = [event.type for event in (await v1.events.list_async({"limit": 100})).data]
    assert types.index("checkout.session.completed") < types.index("setup_intent.succeeded")  # newest first


async def test_a_payer_passes_3d_secure_or_is_declined_and_tries_again(v1: Api, control: SandboxControl) -> None:
    session = await _opened(v1, customer=await _customer(v1))

    with pytest.raises(Refused) as caught:
        await control.pay_session(session.url, payment_method="pm_card_chargeDeclined")
    assert caught.value.status == 402
    bank = await control.pay_session(session.url, payment_method=CARD_3DS)
    page = await control.answer_3ds(bank, succeed=False)
    assert await control.come_back(page) == ""
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as browser:
        shown = (await browser.get(page)).text
    for text in ("Save a payment method", 'role="alert">We are unable to authenticate'):
        assert text in shown
    assert "<table" not in shown
    bank = await control.pay_session(session.url, payment_method=CARD_3DS)

    assert (await control.come_back(await control.answer_3ds(bank, succeed=True))).startswith(
        "https://shop.example/done"
    )
    assert (await v1.checkout.sessions.retrieve_async(session.id)).status == "complete"


async def test_a_debit_is_kept_with_its_mandate(v1: Api, control: SandboxControl) -> None:
    customer = await _customer(v1)
    session = await _opened(v1, customer=customer, currency="eur")
    assert session.payment_method_types == ["card", "sepa_debit"]

    await control.pay_session(session.url, payment_method="pm_sepaDebit_success_de")

    setup = await v1.setup_intents.retrieve_async(session.setup_intent)
    assert (await v1.mandates.retrieve_async(setup.mandate)).type == "multi_use"
    charged = await paid(v1, customer=customer, card=setup.payment_method, currency="eur", off_session=True)
    assert charged.status == "processing"


async def test_an_expired_session_ends_its_setup(v1: Api) -> None:
    session = await _opened(v1)
    with pytest.raises(stripe.InvalidRequestError, match="Expire the Checkout Session instead"):
        await v1.setup_intents.cancel_async(session.setup_intent)

    await v1.checkout.sessions.expire_async(session.id)

    assert (await v1.setup_intents.retrieve_async(session.setup_intent)).status == "canceled"
    types = [event.type for event in (await v1.events.list_async({"limit": 2})).data]
    assert types == ["checkout.session.expired", "setup_intent.canceled"]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"currency": None}, "currency"),
        ({"currency": "xxx"}, "currency"),
        ({"line_items": [{"quantity": 1}]}, "line_items"),
        ({"payment_intent_data": {"capture_method": "manual"}}, "payment_intent_data"),
        ({"submit_type": "pay"}, "submit_type"),
        ({"allowed_payment_method_types": ["twint"]}, "allowed_payment_method_types"),
        ({"setup_intent_data": {"metadata": {"k": "v" * 501}}}, "metadata[k]"),
    ],
)
async def test_what_a_setup_does_not_take(v1: Api, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await _opened(v1, **params)

    assert (caught.value.http_status, caught.value.param) == (400, param)


async def test_without_a_currency_the_kinds_have_to_be_said(v1: Api) -> None:
    session = await _opened(v1, currency=None, allowed_payment_method_types=["card"])

    assert (session.currency, session.payment_method_types) == (None, ["card"])
