"""Holds: how long they are good for, captures in several parts, and what becomes of the rest."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from sandbox.control import Refused, SandboxControl
from tests.sandbox.samples import RETURN_URL, Api, opened, paid, seller

HOUR_S = 3_600
DAY_S = 24 * HOUR_S
OFTEN = {"card": {"request_multicapture": "if_available"}}


async def held(v1: Api, **params: Any) -> Any:
    return await paid(v1, capture_method="manual", **params)


async def held_often(v1: Api, **params: Any) -> Any:
    return await held(v1, payment_method_options=OFTEN, **params)


def _card(intent: Any) -> Any:
    return intent.latest_charge.payment_method_details.card


async def _since(v1: Api, count: int) -> list[str]:
    """Return the types of an account's latest events, oldest first."""
    return [event.type for event in reversed((await v1.events.list_async({"limit": count})).data)]


async def _read(v1: Api, intent: Any) -> Any:
    return await v1.payment_intents.retrieve_async(intent.id, {"expand": ["latest_charge"]})


@pytest.mark.parametrize(
    ("params", "length_s"),
    [
        ({}, 7 * DAY_S),
        ({"card": "pm_card_mastercard", "off_session": True}, 7 * DAY_S),
        ({"off_session": True}, 4 * DAY_S + 18 * HOUR_S),
        ({"payment_method_options": {"card": {"request_extended_authorization": "if_available"}}}, 30 * DAY_S),
    ],
)
async def test_a_charge_says_how_long_it_holds_and_the_hold_lapses_then(
    fresh: tuple[Api, SandboxControl], params: dict[str, Any], length_s: int
) -> None:
    v1, control = fresh
    intent = await held(v1, **params)
    assert _card(intent).capture_before - intent.latest_charge.created == length_s

    await control.advance(length_s - 60)
    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "requires_capture"
    await control.advance(60)

    assert (await v1.payment_intents.retrieve_async(intent.id)).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.capture_async(intent.id)
    assert caught.value.code == "payment_intent_unexpected_state"


async def test_only_what_is_held_has_an_end(v1: Api) -> None:
    assert getattr(_card(await paid(v1)), "capture_before", None) is None


@pytest.mark.parametrize(
    ("params", "status"),
    [
        ({}, "unavailable"),
        ({"payment_method_options": {"card": {"request_multicapture": "never"}}}, "unavailable"),
        ({"payment_method_options": OFTEN}, "available"),
        ({"payment_method_options": OFTEN, "card": "pm_card_jcb"}, "unavailable"),
    ],
)
async def test_several_captures_have_to_be_asked_for_and_not_every_card_has_them(
    v1: Api, params: dict[str, Any], status: str
) -> None:
    intent = await held(v1, **params)
    assert _card(intent).multicapture.status == status
    given = {"amount_to_capture": 100, "final_capture": False}

    if status == "available":
        assert (await v1.payment_intents.capture_async(intent.id, given)).status == "requires_capture"
        return
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.capture_async(intent.id, given)
    assert caught.value.param == "final_capture"
    assert (await v1.payment_intents.retrieve_async(intent.id)).amount_capturable == 10_000


async def test_a_hold_is_captured_in_parts_and_the_last_one_releases_the_rest(v1: Api) -> None:
    intent = await held_often(v1)

    first = await v1.payment_intents.capture_async(
        intent.id, {"amount_to_capture": 7_000, "final_capture": False, "expand": ["latest_charge"]}
    )
    assert (first.status, first.amount_capturable, first.amount_received) == ("requires_capture", 3_000, 7_000)
    charge = first.latest_charge
    assert (charge.captured, charge.amount_captured, charge.amount_refunded) == (False, 7_000, 0)
    assert await _since(v1, 2) == ["charge.updated", "payment_intent.amount_capturable_updated"]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 3_001})
    assert caught.value.code == "amount_too_large"

    last = await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 2_000, "expand": ["latest_charge"]})

    assert (last.status, last.amount_capturable, last.amount_received) == ("succeeded", 0, 9_000)
    charge = last.latest_charge
    assert (charge.captured, charge.amount_captured, charge.refunded) == (True, 9_000, False)
    assert await _since(v1, 4) == [
        "charge.updated",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
    ]
    entries = (await v1.balance_transactions.list_async({"source": charge.id})).data
    assert sorted(entry.amount for entry in entries) == [2_000, 7_000]


async def test_what_is_left_can_be_released_without_another_capture(v1: Api) -> None:
    intent = await held_often(v1)
    with pytest.raises(stripe.InvalidRequestError):
        await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 0, "final_capture": True})
    await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 7_000, "final_capture": False})

    done = await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 0, "final_capture": True})

    assert (done.status, done.amount_received) == ("succeeded", 7_000)


async def test_each_capture_has_its_own_fee_and_transfer(v1: Api) -> None:
    account = await seller(v1)
    split = {"application_fee_amount": 1_000, "transfer_data": {"destination": account}}
    intent = await held_often(v1, **split)

    for amount, fee, final in ((6_000, 600, False), (3_000, 301, True)):
        await v1.payment_intents.capture_async(
            intent.id, {"amount_to_capture": amount, "application_fee_amount": fee, "final_capture": final}
        )

    charge = (await _read(v1, intent)).latest_charge
    fees = (await v1.application_fees.list_async({"charge": charge.id})).data
    transfers = (await v1.transfers.list_async({"destination": account})).data
    assert sorted(fee.amount for fee in fees) == [301, 600]
    assert sorted(transfer.amount for transfer in transfers) == [3_000, 6_000]
    assert (charge.application_fee_amount, charge.amount_captured) == (901, 9_000)


async def test_a_fee_given_with_the_first_capture_is_given_with_all(v1: Api) -> None:
    account = await seller(v1)
    intent = await held_often(v1, application_fee_amount=1_000, transfer_data={"destination": account})
    part = {"amount_to_capture": 5_000, "final_capture": False}
    await v1.payment_intents.capture_async(intent.id, {**part, "application_fee_amount": 500})

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 5_000})

    assert caught.value.param == "application_fee_amount"
    assert (await v1.payment_intents.retrieve_async(intent.id)).amount_received == 5_000


async def test_a_fee_of_the_intent_is_taken_once_over_all_captures(v1: Api) -> None:
    account = await seller(v1)
    intent = await held_often(v1, application_fee_amount=1_000, transfer_data={"destination": account})

    for amount, final in ((600, False), (3_000, False), (6_400, True)):
        await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": amount, "final_capture": final})

    charge = (await _read(v1, intent)).latest_charge
    fees = (await v1.application_fees.list_async({"charge": charge.id})).data
    assert sum(fee.amount for fee in fees) == 1_000


@pytest.mark.parametrize("how", ["lapse", "cancel"])
async def test_the_end_of_a_hold_leaves_what_was_captured(v1: Api, control: SandboxControl, how: str) -> None:
    intent = await held_often(v1)
    await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 4_000, "final_capture": False})

    if how == "lapse":
        await control.lapse_hold(intent.id)
    else:
        await v1.payment_intents.cancel_async(intent.id)

    intent = await _read(v1, intent)
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", 4_000, 0)
    assert (intent.latest_charge.captured, intent.latest_charge.refunded) == (True, False)
    assert await _since(v1, 2) == ["charge.captured", "payment_intent.succeeded"]


async def test_a_hold_can_be_made_to_lapse_now(v1: Api, control: SandboxControl) -> None:
    intent = await held(v1)

    assert (await control.lapse_hold(intent.id))["cancellation_reason"] == "automatic"

    assert await _since(v1, 2) == ["charge.expired", "payment_intent.canceled"]
    with pytest.raises(Refused):
        await control.lapse_hold(intent.id)


async def test_what_was_captured_is_refunded_while_the_rest_is_held(v1: Api) -> None:
    intent = await held_often(v1)
    with pytest.raises(stripe.InvalidRequestError):
        await v1.refunds.create_async({"payment_intent": intent.id})
    await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 4_000, "final_capture": False})

    await v1.refunds.create_async({"payment_intent": intent.id, "amount": 1_000})
    with pytest.raises(stripe.InvalidRequestError):
        await v1.refunds.create_async({"payment_intent": intent.id, "amount": 3_001})
    await v1.refunds.create_async({"payment_intent": intent.id, "amount": 3_000})

    intent = await _read(v1, intent)
    assert (intent.status, intent.amount_capturable) == ("requires_capture", 6_000)
    assert (intent.latest_charge.amount_refunded, intent.latest_charge.refunded) == (4_000, False)
    await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 0, "final_capture": True})
    assert (await _read(v1, intent)).latest_charge.refunded


async def test_a_session_can_ask_for_several_captures(v1: Api, control: SandboxControl) -> None:
    session = await opened(v1, payment_intent_data={"capture_method": "manual"}, payment_method_options=OFTEN)
    await control.pay_session(session.url)
    session = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent.latest_charge"]})
    assert _card(session.payment_intent).multicapture.status == "available"

    await v1.payment_intents.capture_async(
        session.payment_intent.id, {"amount_to_capture": 4_000, "final_capture": False}
    )

    assert (await v1.payment_intents.retrieve_async(session.payment_intent.id)).amount_capturable == 6_000


async def test_a_hold_is_confirmed_after_it_was_made(v1: Api) -> None:
    intent = await v1.payment_intents.create_async(
        {"amount": 500, "currency": "chf", "capture_method": "manual", "payment_method_options": OFTEN}
    )
    assert intent.payment_method_options.card.request_multicapture == "if_available"

    intent = await v1.payment_intents.confirm_async(
        intent.id, {"payment_method": "pm_card_visa", "return_url": RETURN_URL, "expand": ["latest_charge"]}
    )

    assert _card(intent).multicapture.status == "available"


async def test_captures_in_parts_are_refunded_with_their_split_as_a_whole_only(v1: Api) -> None:
    account = await seller(v1)
    intent = await held_often(v1, application_fee_amount=1_000, transfer_data={"destination": account})
    back = {"payment_intent": intent.id, "reverse_transfer": True, "refund_application_fee": True}
    for amount, final in ((4_000, False), (5_000, True)):
        await v1.payment_intents.capture_async(
            intent.id, {"amount_to_capture": amount, "application_fee_amount": 450, "final_capture": final}
        )

    with pytest.raises(stripe.InvalidRequestError, match="several parts"):
        await v1.refunds.create_async({**back, "amount": 1_000})
    await v1.refunds.create_async(back)

    transfers = (await v1.transfers.list_async({"destination": account})).data
    assert all(transfer.reversed for transfer in transfers)
    charge = (await _read(v1, intent)).latest_charge
    fees = (await v1.application_fees.list_async({"charge": charge.id})).data
    assert ([fee.refunded for fee in fees], charge.refunded) == ([True, True], True)


async def test_what_is_held_for_a_seller_is_captured_once_and_refunded_in_part(v1: Api) -> None:
    account = await seller(v1)
    intent = await held_often(v1, application_fee_amount=1_000, transfer_data={"destination": account})
    await v1.payment_intents.capture_async(intent.id, {"amount_to_capture": 6_000, "application_fee_amount": 600})

    await v1.refunds.create_async(
        {"payment_intent": intent.id, "amount": 3_000, "reverse_transfer": True, "refund_application_fee": True}
    )

    (transfer,) = (await v1.transfers.list_async({"destination": account})).data
    assert (transfer.amount, transfer.amount_reversed) == (6_000, 3_000)
