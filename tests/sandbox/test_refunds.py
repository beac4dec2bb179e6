"""Refunds: never more than was paid, slow and failing ones, and what a seller gives back."""

from __future__ import annotations

import pytest
import stripe

from sandbox.control import SandboxControl
from tests.sandbox.samples import Api, paid, seller


async def test_several_partial_refunds_up_to_the_whole(v1: Api) -> None:
    intent = await paid(v1)

    first = await v1.refunds.create_async({"payment_intent": intent.id, "amount": 3_000, "metadata": {"why": "rain"}})
    second = await v1.refunds.create_async({"charge": intent.latest_charge.id})

    assert (first.status, first.amount, first.metadata["why"]) == ("succeeded", 3_000, "rain")
    assert second.amount == 7_000
    charge = await v1.charges.retrieve_async(intent.latest_charge.id)
    assert (charge.amount_refunded, charge.refunded) == (10_000, True)
    listed = await v1.refunds.list_async({"payment_intent": intent.id})
    assert [refund.id for refund in listed.data] == [second.id, first.id]
    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.refunds.create_async({"payment_intent": intent.id})
    assert caught.value.code == "charge_already_refunded"


@pytest.mark.parametrize("amount", [7_001, 10_000, 0, -1])
async def test_more_than_is_left_is_refused(v1: Api, amount: int) -> None:
    intent = await paid(v1)
    await v1.refunds.create_async({"payment_intent": intent.id, "amount": 3_000})

    with pytest.raises(stripe.InvalidRequestError) as caught:
        await v1.refunds.create_async({"payment_intent": intent.id, "amount": amount})

    assert caught.value.param == "amount"
    assert (await v1.charges.retrieve_async(intent.latest_charge.id)).amount_refunded == 3_000


async def test_only_what_was_captured_can_be_refunded(v1: Api) -> None:
    hold = await paid(v1, capture_method="manual")
    with pytest.raises(stripe.InvalidRequestError):
        await v1.refunds.create_async({"payment_intent": hold.id})
    await v1.payment_intents.capture_async(hold.id, {"amount_to_capture": 4_000})

    with pytest.raises(stripe.InvalidRequestError):
        await v1.refunds.create_async({"payment_intent": hold.id, "amount": 4_001})

    assert (await v1.refunds.create_async({"payment_intent": hold.id})).amount == 4_000


async def test_without_a_payment_there_is_nothing_to_refund(v1: Api) -> None:
    intent = await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})

    for params in ({"payment_intent": intent.id}, {"payment_intent": "pi_nobody"}, {"charge": "ch_nobody"}, {}):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await v1.refunds.create_async(params)
        assert caught.value.http_status == 400


async def test_a_refund_may_take_its_time(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1, card="pm_card_pendingRefund")
    refund = await v1.refunds.create_async({"payment_intent": intent.id, "amount": 4_000})
    assert (refund.status, refund.pending_reason) == ("pending", "processing")
    with pytest.raises(stripe.InvalidRequestError):
        await v1.refunds.create_async({"payment_intent": intent.id, "amount": 6_001})

    await control.settle()

    refund = await v1.refunds.retrieve_async(refund.id)
    assert (refund.status, refund.pending_reason) == ("succeeded", None)
    types = {event.type for event in (await v1.events.list_async({"limit": 2})).data}
    assert types == {"refund.updated", "charge.refund.updated"}


async def test_a_succeeded_refund_may_fail_and_the_money_is_there_again(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1, card="pm_card_refundFail")
    refund = await v1.refunds.create_async({"payment_intent": intent.id})
    assert refund.status == "succeeded"

    await control.settle()

    refund = await v1.refunds.retrieve_async(refund.id, {"expand": ["failure_balance_transaction"]})
    assert (refund.status, refund.failure_balance_transaction.amount) == ("failed", 10_000)
    charge = await v1.charges.retrieve_async(intent.latest_charge.id)
    assert (charge.amount_refunded, charge.refunded) == (0, False)
    assert (await v1.events.list_async({"type": "refund.failed"})).data
    assert (await v1.refunds.create_async({"payment_intent": intent.id})).amount == 10_000


async def test_by_default_the_platform_pays_and_the_seller_keeps(v1: Api) -> None:
    intent = await paid(v1, application_fee_amount=700, transfer_data={"destination": await seller(v1)})

    await v1.refunds.create_async({"payment_intent": intent.id})

    charge = await v1.charges.retrieve_async(intent.latest_charge.id, {"expand": ["transfer", "application_fee"]})
    assert (charge.transfer.amount_reversed, charge.application_fee.amount_refunded) == (0, 0)


@pytest.mark.parametrize("parts", [[10_000], [1, 9_999], [3_333, 3_333, 3_334], [9_998, 1, 1], [1_250] * 8])
async def test_what_a_seller_gives_back_adds_up_exactly(v1: Api, parts: list[int]) -> None:
    intent = await paid(v1, application_fee_amount=777, transfer_data={"destination": await seller(v1)})
    reversed_before = fee_before = 0

    for part in parts:
        await v1.refunds.create_async(
            {
                "payment_intent": intent.id,
                "amount": part,
                "reverse_transfer": True,
                "refund_application_fee": True,
            }
        )
        charge = await v1.charges.retrieve_async(intent.latest_charge.id, {"expand": ["transfer", "application_fee"]})
        assert reversed_before <= charge.transfer.amount_reversed <= charge.amount_refunded
        assert fee_before <= charge.application_fee.amount_refunded <= 777
        reversed_before, fee_before = charge.transfer.amount_reversed, charge.application_fee.amount_refunded

    assert (charge.transfer.amount_reversed, charge.transfer.reversed) == (10_000, True)
    assert (charge.application_fee.amount_refunded, charge.application_fee.refunded) == (777, True)


async def test_returning_the_fee_needs_the_transfer_back(v1: Api) -> None:
    plain = await paid(v1)
    split = await paid(v1, application_fee_amount=700, transfer_data={"destination": await seller(v1)})

    for intent, params, param in (
        (plain, {"reverse_transfer": True}, "reverse_transfer"),
        (plain, {"refund_application_fee": True}, "refund_application_fee"),
        (split, {"refund_application_fee": True, "reverse_transfer": False}, "refund_application_fee"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as caught:
            await v1.refunds.create_async({"payment_intent": intent.id, **params})
        assert caught.value.param == param


async def test_balance_transactions_tell_where_the_money_went(v1: Api) -> None:
    intent = await paid(v1, application_fee_amount=700, transfer_data={"destination": await seller(v1)})
    await v1.refunds.create_async(
        {"payment_intent": intent.id, "reverse_transfer": True, "refund_application_fee": True}
    )

    entries = (await v1.balance_transactions.list_async({"limit": 100})).data

    assert {(entry.type, entry.amount) for entry in entries} == {
        ("charge", 10_000),
        ("transfer", -10_000),
        ("application_fee", 700),
        ("refund", -10_000),
        ("transfer_refund", 10_000),
        ("application_fee_refund", -700),
    }
    assert sum(entry.net for entry in entries) == -320  # Stripe's own fee is not given back


async def test_a_refund_from_the_dashboard_names_no_request(v1: Api, control: SandboxControl) -> None:
    intent = await paid(v1)

    refund = await control.refund(intent.id, amount=400)

    assert (await v1.refunds.retrieve_async(refund["id"])).amount == 400
    (event,) = (await v1.events.list_async({"type": "refund.created"})).data
    assert (event.request.id, event.request.idempotency_key) == (None, None)
