"""Money that takes days: SEPA debit and TWINT, through the API, the hosted page and the clock."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.eventually import WITHIN_S
from tests.sandbox.samples import RETURN_URL, Api, debited, opened, seller

DAY_S = 86_400


async def _types(v1: Api, *prefixes: str) -> list[str]:
    found = await v1.events.list_async({"limit": 100})
    return [event.type for event in reversed(found.data) if event.type.startswith(prefixes)]


async def _opened_in_euro(v1: Api) -> Any:
    price = {"currency": "eur", "unit_amount": 10_000, "product_data": {"name": "A lesson"}}
    return await opened(v1, line_items=[{"price_data": price, "quantity": 1}])


async def test_a_debit_processes_for_days_and_then_succeeds(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    account = await seller(v1)
    intent = await debited(v1, application_fee_amount=500, transfer_data={"destination": account})
    charge = intent.latest_charge

    assert (intent.status, intent.amount_received, intent.processing) == ("processing", 0, None)
    assert (charge.status, charge.paid, charge.captured, charge.balance_transaction) == ("pending", False, True, None)
    assert (intent.payment_method.type, intent.payment_method.sepa_debit.last4) == ("sepa_debit", "3201")
    mandate = await v1.mandates.retrieve_async(charge.payment_method_details.sepa_debit.mandate)
    assert (mandate.status, mandate.type, mandate.payment_method) == ("active", "single_use", intent.payment_method.id)
    await control.advance(4 * DAY_S)
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "processing"
    await control.advance(DAY_S + 1)
    await control.settle()

    intent = await v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})
    assert (intent.status, intent.amount_received) == ("succeeded", 10_000)
    assert (intent.latest_charge.status, intent.latest_charge.paid) == ("succeeded", True)
    assert await _types(v1, "payment_intent", "charge") == [
        "payment_intent.created",
        "charge.pending",
        "payment_intent.processing",
        "charge.succeeded",
        "payment_intent.succeeded",
        "charge.updated",
    ]
    settled = (await v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})).latest_charge
    assert settled.transfer is not None
    assert settled.application_fee is not None


async def test_a_debit_that_fails_days_later_is_the_payers_turn(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    intent = await debited(v1, "insufficientFunds")

    await control.advance(5 * DAY_S + 1)

    failed = await v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})
    assert (failed.status, failed.payment_method) == ("requires_payment_method", None)
    assert (failed.last_payment_error.code, failed.latest_charge.failure_code) == ("insufficient_funds",) * 2
    assert (failed.latest_charge.status, failed.latest_charge.amount_captured) == ("failed", 0)
    assert (await _types(v1, "payment_intent", "charge"))[-2:] == ["charge.failed", "payment_intent.payment_failed"]
    again = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL}
    )
    assert again.status == "succeeded"


async def test_a_delayed_debit_takes_longer(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    intent = await debited(v1, "failedDelayed")

    await control.advance(13 * DAY_S)
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "processing"
    await control.advance(2 * DAY_S)

    failed = await v1.payment_intents.retrieve_async(intent.id)
    assert failed.last_payment_error.code == "payment_intent_payment_attempt_failed"


async def test_what_the_bank_has_is_neither_cancelled_nor_refunded_nor_sent_twice(
    v1: Api, control: SandboxControl
) -> None:
    intent = await debited(v1)

    for attempt in (
        v1.payment_intents.cancel_async(intent.id),
        v1.payment_intents.confirm_async(intent.id, {"return_url": RETURN_URL}),
        v1.refunds.create_async({"payment_intent": intent.id}),
    ):
        with pytest.raises(stripe.InvalidRequestError):
            await attempt
    assert (await control.finish_debit(intent.id))["status"] == "succeeded"

    with pytest.raises(Refused):
        await control.finish_debit(intent.id)
    assert (await v1.refunds.create_async({"payment_intent": intent.id})).status == "succeeded"


async def test_a_debit_needs_the_payers_mandate(v1: Api, control: SandboxControl) -> None:
    intent = await v1.payment_intents.create_async({"amount": 10_000, "currency": "eur"})
    params = {"payment_method": "pm_sepaDebit_success_de", "return_url": RETURN_URL}

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.confirm_async(intent.id, params)

    assert caught.value.code == "payment_intent_mandate_invalid"
    seen = await control.browser_confirm(intent.client_secret, payment_method="pm_sepaDebit_success_de")
    assert seen["status"] == "processing"


async def test_a_kept_debit_is_debited_again_with_its_mandate(v1: Api) -> None:
    customer = await v1.customers.create_async({})
    first = await debited(v1, customer=customer.id, setup_future_usage="off_session")

    second = await debited(
        v1, customer=customer.id, payment_method=first.payment_method.id, mandate_data=None, off_session=True
    )

    mandates = [row.latest_charge.payment_method_details.sepa_debit.mandate for row in (first, second)]
    assert mandates[0] == mandates[1]
    assert (await v1.mandates.retrieve_async(mandates[0])).type == "multi_use"


@pytest.mark.parametrize(
    ("params", "kinds"),
    [
        ({"currency": "eur"}, ["card", "sepa_debit"]),
        ({"currency": "chf"}, ["card", "twint"]),
        ({"currency": "usd"}, ["card"]),
        ({"currency": "eur", "amount": 1_000_001}, ["card"]),
        ({"currency": "chf", "amount": 500_001}, ["card"]),
        ({"currency": "eur", "capture_method": "manual"}, ["card"]),
        ({"currency": "eur", "excluded_payment_method_types": ["sepa_debit"]}, ["card"]),
        ({"currency": "eur", "allowed_payment_method_types": ["sepa_debit", "klarna"]}, ["sepa_debit"]),
        ({"currency": "chf", "setup_future_usage": "off_session"}, ["card"]),
        (
            {"currency": "chf", "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"}},
            ["card"],
        ),
    ],
)
async def test_which_kinds_of_method_a_payment_takes(v1: Api, params: dict[str, Any], kinds: list[str]) -> None:
    intent = await v1.payment_intents.create_async({"amount": 10_000, **params})

    assert intent.payment_method_types == kinds


async def test_a_method_of_a_kind_the_payment_does_not_take_is_refused(v1: Api) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await debited(v1, currency="chf")
    assert caught.value.code == "payment_intent_incompatible_payment_method"

    with pytest.raises(stripe.InvalidRequestError, match="No valid payment method types"):
        await debited(v1, currency="chf", allowed_payment_method_types=["sepa_debit"])


async def test_a_session_paid_by_debit_is_complete_and_paid_days_later(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    good, bad = await _opened_in_euro(v1), await _opened_in_euro(v1)
    assert good.payment_method_types == ["card", "sepa_debit"]

    target = await control.pay_session(good.url, payment_method="pm_sepaDebit_success_at")
    await control.pay_session(bad.url, payment_method="pm_sepaDebit_failed_at")

    assert target.startswith("https://shop.example/done")
    for session in (good, bad):
        waiting = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
        assert (waiting.status, waiting.payment_status, waiting.payment_intent.status) == (
            "complete",
            "unpaid",
            "processing",
        )
    await control.advance(5 * DAY_S + 1)
    for session, status, intent_status in ((good, "paid", "succeeded"), (bad, "unpaid", "requires_payment_method")):
        ended = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
        assert (ended.status, ended.payment_status, ended.payment_intent.status) == ("complete", status, intent_status)
    assert sorted(await _types(v1, "checkout")) == [
        "checkout.session.async_payment_failed",
        "checkout.session.async_payment_succeeded",
        "checkout.session.completed",
        "checkout.session.completed",
    ]


@pytest.mark.parametrize(("method", "status"), [("pm_twint", "paid"), ("pm_twint_processing", "unpaid")])
async def test_twint_is_confirmed_on_a_page_of_its_own(
    v1: Api, control: SandboxControl, method: str, status: str
) -> None:
    session = await opened(v1)

    twint = await control.pay_session(session.url, payment_method=method)
    assert (await v1.checkout.sessions.retrieve_async(session.id)).status == "open"
    async with httpx.AsyncClient(trust_env=False, timeout=WITHIN_S) as browser:
        assert "TWINT asks you to confirm" in (await browser.get(twint)).text
    target = await control.come_back(await control.answer_3ds(twint, succeed=True))

    assert target.startswith("https://shop.example/done")
    after = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert (after.status, after.payment_status) == ("complete", status)
    assert after.payment_intent.latest_charge.payment_method_details.type == "twint"
    if status == "unpaid":
        await control.finish_debit(after.payment_intent.id)
        assert (await v1.checkout.sessions.retrieve_async(session.id)).payment_status == "paid"
