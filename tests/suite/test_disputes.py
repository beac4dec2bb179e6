"""Money that the payer's bank takes back, from Stripe's webhook to everybody who watches the payment."""

from __future__ import annotations

from typing import Final

import pytest

from batzen import errors
from tests.eventually import eventually
from tests.suite.journeys import TOTAL_MINOR, Traveller, pay, state_name

CONTESTED_MINOR: Final = 6_000


async def test_a_dispute_is_told_to_whoever_watches_and_takes_nothing_once_it_is_won(traveller: Traveller) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED")
    intent = await traveller.intent_of(payment_id)
    dispute = await traveller.sandbox.dispute(intent["id"], amount=CONTESTED_MINOR)

    await traveller.until(payment_id, "DISPUTED")
    disputed = (await traveller.history(payment_id))[-1].snapshot
    assert disputed.amounts.disputed_open_minor == CONTESTED_MINOR
    assert disputed.attention.reason == "DISPUTE_OPEN"
    assert dispute["id"] in disputed.attention.detail
    with pytest.raises(errors.FailedPrecondition):
        await traveller.refund(payment_id, amount_minor=1, refundable_minor=TOTAL_MINOR - CONTESTED_MINOR)
    assert await traveller.sandbox.objects("refund", payment_intent=intent["id"]) == []

    await traveller.sandbox.move_dispute(dispute["id"], "under_review")
    await traveller.sandbox.move_dispute(dispute["id"], "won")
    await traveller.until(payment_id, "SUCCEEDED")

    await traveller.refund(payment_id, amount_minor=TOTAL_MINOR, refundable_minor=TOTAL_MINOR)
    await traveller.until(payment_id, "REFUNDED")
    assert (await traveller.states(payment_id))[-4:] == ["SUCCEEDED", "DISPUTED", "SUCCEEDED", "REFUNDED"]


async def test_a_lost_dispute_is_the_end_of_its_money(traveller: Traveller) -> None:
    payment_id = await pay(traveller)
    await traveller.until(payment_id, "SUCCEEDED")
    dispute = await traveller.sandbox.dispute((await traveller.intent_of(payment_id))["id"])
    await traveller.until(payment_id, "DISPUTED")

    await traveller.sandbox.move_dispute(dispute["id"], "lost")

    await traveller.until(payment_id, "DISPUTE_LOST")
    last = (await traveller.history(payment_id))[-1]
    assert (last.snapshot.amounts.disputed_open_minor, last.snapshot.amounts.disputed_lost_minor) == (0, TOTAL_MINOR)
    assert (state_name(last.state), last.snapshot.attention.reason) == ("DISPUTE_LOST", "DISPUTE_LOST")


async def test_a_refund_that_the_payer_did_not_get_is_told_to_whoever_watches(traveller: Traveller) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    await traveller.submit(payment_id, "pm_card_refundFail")
    await traveller.until(payment_id, "SUCCEEDED")
    await traveller.refund(payment_id, amount_minor=TOTAL_MINOR, refundable_minor=TOTAL_MINOR)
    await traveller.sandbox.settle()

    async def is_told() -> bool:
        return (await traveller.payment(payment_id)).snapshot.attention.reason == "REFUND_FAILED"

    await eventually(is_told, what="somebody hears of the refund that failed")
    await traveller.until(payment_id, "SUCCEEDED")
    assert "REFUNDED" in await traveller.states(payment_id)
