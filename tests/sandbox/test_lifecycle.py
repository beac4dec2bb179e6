"""The life of a PaymentIntent, through the official client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.sandbox.samples import RETURN_URL, Api, Receiver, paid, seller

DAY_S = 86_400


async def test_an_intent_is_created_confirmed_and_paid(v1: Api) -> None:
    intent = await v1.payment_intents.create_async({"amount": 12_000, "currency": "CHF", "metadata": {"order": "7"}})
    assert (intent.status, intent.currency, intent.latest_charge) == ("requires_payment_method", "chf", None)

    intent = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL, "expand": ["latest_charge"]}
    )

    charge = intent.latest_charge
    assert (intent.status, intent.amount_received, intent.next_action) == ("succeeded", 12_000, None)
    assert (charge.paid, charge.captured, charge.amount_captured, charge.metadata["order"]) == (True, True, 12_000, "7")


async def test_with_a_payment_method_it_waits_for_confirmation(v1: Api) -> None:
    intent = await v1.payment_intents.create_async(
        {"amount": 500, "currency": "chf", "payment_method": "pm_card_mastercard"}
    )
    assert intent.status == "requires_confirmation"

    intent = await v1.payment_intents.confirm_async(intent.id, {"return_url": RETURN_URL})

    assert intent.status == "succeeded"
    assert (await v1.payment_methods.retrieve_async(intent.payment_method)).card.brand == "mastercard"


async def test_fees_come_later_with_charge_updated(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1)
    assert intent.latest_charge.balance_transaction is None

    await control.settle()

    charge = await v1.charges.retrieve_async(intent.latest_charge.id, {"expand": ["balance_transaction"]})
    entry = charge.balance_transaction
    assert (entry.amount, entry.fee, entry.net, entry.type) == (10_000, 320, 9_680, "charge")
    (event,) = (await v1.events.list_async({"type": "charge.updated"})).data
    assert event.data.previous_attributes["balance_transaction"] is None
    assert event.request.id is None


async def test_a_destination_charge_moves_its_parts_to_the_seller(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    intent = await paid(
        v1, application_fee_amount=700, transfer_data={"destination": account}, transfer_group="order-7"
    )

    await control.settle()

    charge = await v1.charges.retrieve_async(intent.latest_charge.id, {"expand": ["transfer", "application_fee"]})
    assert (charge.transfer.amount, charge.transfer.destination) == (10_000, account)
    assert (charge.application_fee.amount, charge.application_fee.account) == (700, account)
    assert [row.id for row in (await v1.transfers.list_async({"transfer_group": "order-7"})).data] == [
        charge.transfer.id
    ]


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"application_fee_amount": 10}, "application_fee_amount"),
        ({"transfer_data": {"destination": "acct_nobody"}}, "transfer_data[destination]"),
    ],
)
async def test_a_split_needs_a_seller(v1: Api, params: dict[str, Any], param: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await paid(v1, **params)

    assert caught.value.param == param


async def test_a_seller_who_may_not_take_payments_is_refused(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    await control.enable_account(account, enabled=False)

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await paid(v1, transfer_data={"destination": account})

    assert caught.value.code == "insufficient_capabilities_for_transfer"
    (event,) = (await v1.events.list_async({"type": "account.updated"}, {"stripe_account": account})).data
    assert event.data.object["charges_enabled"] is False


async def test_a_seller_who_is_stopped_before_the_payer_confirms_is_refused(v1: Api, control: SandboxControl) -> None:
    account = await seller(v1)
    intent = await v1.payment_intents.create_async(
        {"amount": 500, "currency": "chf", "transfer_data": {"destination": account}}
    )
    given = {"payment_method": "pm_card_visa", "return_url": RETURN_URL}
    await control.set_capability(account, "transfers", active=False)

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.confirm_async(intent.id, given)
    assert caught.value.code == "insufficient_capabilities_for_transfer"

    await control.set_capability(account, "transfers", active=True)
    assert (await v1.payment_intents.confirm_async(intent.id, given)).status == "succeeded"
    other = await v1.payment_intents.create_async(
        {"amount": 500, "currency": "chf", "transfer_data": {"destination": account}}
    )
    await control.disconnect_account(account)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.confirm_async(other.id, given)
    assert caught.value.code == "resource_missing"
    assert (await v1.payment_intents.retrieve_async(other.id)).latest_charge is None


async def test_confirming_needs_a_way_back(v1: Api) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})

    with pytest.raises(stripe.InvalidRequestError, match="return_url"):
        await v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})

    card_only = {"enabled": True, "allow_redirects": "never"}
    intent = await v1.payment_intents.create_async(
        {"amount": 500, "currency": "chf", "automatic_payment_methods": card_only}
    )
    assert (await v1.payment_intents.confirm_async(intent.id, {"payment_method": "pm_card_visa"})).status == "succeeded"


async def test_a_hold_is_captured_in_part_and_the_rest_released(v1: Api) -> None:
    intent = await paid(v1, capture_method="manual")
    assert (intent.status, intent.amount_capturable, intent.latest_charge.captured) == (
        "requires_capture",
        10_000,
        False,
    )

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 10_001})
    assert caught.value.code == "amount_too_large"
    intent = await v1.payment_intents.capture_async(
        intent.id, {"amount_to_capture": 4_000, "expand": ["latest_charge"]}
    )

    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", 4_000, 0)
    assert (intent.latest_charge.amount_captured, intent.latest_charge.amount_refunded) == (4_000, 6_000)
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.capture_async(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"


async def test_a_cancelled_hold_is_given_back(v1: Api) -> None:
    intent = await paid(v1, capture_method="manual")

    intent = await v1.payment_intents.cancel_async(
        intent.id, {"cancellation_reason": "abandoned", "expand": ["latest_charge"]}
    )

    assert (intent.status, intent.cancellation_reason) == ("canceled", "abandoned")
    assert intent.latest_charge.refunded


async def test_a_hold_lapses_after_seven_days(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    intent = await paid(v1, capture_method="manual")

    await control.advance(7 * DAY_S - 60)
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "requires_capture"
    await control.advance(60)

    intent = await v1.payment_intents.retrieve_async(intent.id)
    assert (intent.status, intent.cancellation_reason) == ("canceled", "automatic")
    assert [event.type for event in (await v1.events.list_async({"limit": 2})).data] == [
        "payment_intent.canceled",
        "charge.expired",
    ]


async def test_what_has_ended_stays_ended(v1: Api) -> None:
    succeeded = await paid(v1)
    open_one = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    canceled = await v1.payment_intents.cancel_async(open_one.id)

    for call in (
        v1.payment_intents.cancel_async(succeeded.id),
        v1.payment_intents.confirm_async(succeeded.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL}),
        v1.payment_intents.update_async(succeeded.id, {"amount": 600}),
        v1.payment_intents.confirm_async(canceled.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL}),
        v1.payment_intents.cancel_async(canceled.id),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await call
        assert caught.value.code == "payment_intent_unexpected_state"
        assert caught.value.error.payment_intent.id in (succeeded.id, canceled.id)
    updated = await v1.payment_intents.update_async(succeeded.id, {"metadata": {"seen": "yes"}})
    assert updated.metadata["seen"] == "yes"


async def test_an_open_intent_can_be_changed(v1: Api) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf", "metadata": {"a": "1", "b": "2"}})

    intent = await v1.payment_intents.update_async(
        intent.id, {"amount": 900, "description": "two nights", "metadata": {"a": "", "c": "3"}}
    )

    assert (intent.amount, intent.description) == (900, "two nights")
    assert intent.metadata.to_dict() == {"b": "2", "c": "3"}


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [
        (49, "chf", "amount_too_small"),
        (100_000_000, "chf", "amount_too_large"),
        (5_124, "kwd", "parameter_invalid_integer"),
    ],
)
async def test_an_amount_stripe_would_not_charge_is_refused(v1: Api, amount: int, currency: str, code: str) -> None:
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.create_async({"amount": amount, "currency": currency})

    assert (caught.value.code, caught.value.param) == (code, "amount")


async def _declined(v1: Api) -> None:
    with pytest.raises(stripe.CardError):
        await paid(v1, card="pm_card_chargeDeclined")


async def _captured(v1: Api) -> None:
    intent = await paid(v1, capture_method="manual")
    await v1.payment_intents.capture_async(intent.id)


async def _hold_cancelled(v1: Api) -> None:
    intent = await paid(v1, capture_method="manual")
    await v1.payment_intents.cancel_async(intent.id)


async def _refunded(v1: Api) -> None:
    intent = await paid(v1, capture_method="automatic")
    await v1.refunds.create_async({"payment_intent": intent.id})


@pytest.mark.parametrize(
    ("act", "types"),
    [
        (paid, ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded", "charge.updated"]),
        (_declined, ["payment_intent.created", "charge.failed", "payment_intent.payment_failed"]),
        (
            _captured,
            [
                "payment_intent.created",
                "charge.succeeded",
                "payment_intent.amount_capturable_updated",
                "charge.captured",
                "payment_intent.succeeded",
            ],
        ),
        (
            _hold_cancelled,
            [
                "payment_intent.created",
                "charge.succeeded",
                "payment_intent.amount_capturable_updated",
                "charge.refunded",
                "payment_intent.canceled",
            ],
        ),
        (
            _refunded,
            [
                "payment_intent.created",
                "charge.succeeded",
                "payment_intent.succeeded",
                "refund.created",
                "charge.refunded",
            ],
        ),
    ],
)
async def test_each_move_has_its_events(
    v1: Api, control: SandboxControl, act: Callable[[Api], Awaitable[Any]], types: list[str]
) -> None:
    await act(v1)
    await control.settle()

    assert [event.type for event in reversed((await v1.events.list_async({"limit": 100})).data)] == types


async def test_money_can_arrive_after_a_cancellation(
    v1: Api, control: SandboxControl, receiver: Receiver, listen: Callable[..., Awaitable[str]]
) -> None:
    secret = await listen("payment_intent.succeeded")
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    await v1.payment_intents.cancel_async(intent.id)

    await control.force(intent.id, "succeeded")

    await control.drain()
    (event,) = receiver.events(secret)
    assert event.data.object["id"] == intent.id
    assert (event.request.id, event.data.object["canceled_at"]) == (None, None)
    assert (await v1.payment_intents.retrieve_async(intent.id)).amount_received == 500
    with pytest.raises(Refused):
        await control.force(intent.id, "succeeded")


async def test_an_outcome_can_be_forced_from_outside(v1: Api, control: SandboxControl) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})

    assert (await control.force(intent.id, "processing"))["status"] == "processing"
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "processing"
    card = "pm_card_chargeDeclinedInsufficientFunds"
    declined = await control.force(intent.id, "declined", payment_method=card)
    assert declined["last_payment_error"]["decline_code"] == "insufficient_funds"
    assert (await control.force(intent.id, "canceled"))["cancellation_reason"] == "automatic"
    with pytest.raises(Refused) as caught:
        await control.force(intent.id, "lost")  # type: ignore[arg-type]
    assert caught.value.status == 400


async def test_a_browser_confirms_with_the_client_secret_alone(v1: Api, control: SandboxControl) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf", "metadata": {"secret": "ours"}})

    seen = await control.browser_confirm(intent.client_secret, payment_method="pm_card_visa", return_url=RETURN_URL)

    assert (seen["status"], "metadata" in seen) == ("succeeded", False)
    declined = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    answer = await control.browser_confirm(declined.client_secret, payment_method="pm_card_chargeDeclined")
    assert answer["error"]["code"] == "card_declined"
    with pytest.raises(Refused) as caught:
        await control.browser_confirm(f"{intent.id}_secret_guessed", payment_method="pm_card_visa")
    assert caught.value.status == 404


async def test_customers_keep_their_methods_and_merge_their_metadata(v1: Api) -> None:
    customer = await v1.customers.create_async({"email": "p@example.com", "metadata": {"a": "1"}})
    method = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})
    customer = await v1.customers.update_async(
        customer.id, {"metadata": {"b": "2"}, "invoice_settings": {"default_payment_method": method.id}}
    )
    assert customer.metadata.to_dict() == {"a": "1", "b": "2"}
    assert customer.invoice_settings.default_payment_method == method.id

    assert (await paid(v1, card=method.id, customer=customer.id)).status == "succeeded"
    with pytest.raises(stripe.InvalidRequestError, match="belongs to a Customer"):
        await paid(v1, card=method.id)
    await v1.payment_methods.detach_async(method.id)
    with pytest.raises(stripe.InvalidRequestError, match="may not be used again"):
        await paid(v1, card=method.id, customer=customer.id)

    assert (await v1.customers.delete_async(customer.id)).deleted
    assert (await v1.customers.retrieve_async(customer.id)).deleted
