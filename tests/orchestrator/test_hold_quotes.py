"""What becomes of the quote of a hold: spent with the first capture, given back by a hold that ends without one."""

from __future__ import annotations

from datetime import UTC, timedelta

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.orchestrator.domain.policies import ABANDONED_AFTER, HOLD_MAX
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import each_life
from tests.orchestrator.samples import cancel, capture, state_of, submit
from tests.orchestrator.shops import Coupon, Shop

DAYS = 8
"""In which a card's hold lapses."""


async def held(shop: Shop, coupon: Coupon, **changes: object) -> str:
    payment_id = await shop.started(coupon, timing=pb.TIMING_MANUAL_CAPTURE, **changes)
    await shop.orchestrator.SubmitPayment(submit(payment_id))
    await shop.replica.sweep()
    return payment_id


async def test_a_hold_spends_its_coupon_with_the_capture(shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await held(shop, coupon)
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("OPEN", (1, 0)), "nothing is taken yet"
    await shop.orchestrator.CapturePayment(capture(payment_id, 100, final_capture=True))
    await shop.replica.sweep()
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("REDEEMED", (0, 1))


@pytest.mark.parametrize("end", ["CANCELED", "RELEASED", "LAPSED"])
async def test_a_hold_that_ends_without_a_capture_gives_its_coupon_back(end: str, shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await held(shop, coupon, release_before_lapse=end == "RELEASED")
    if end == "CANCELED":
        await shop.orchestrator.CancelPayment(cancel(payment_id))
    for _ in range(0 if end == "CANCELED" else DAYS):
        shop.clock.advance(timedelta(days=1))
        await shop.journeys.stripe.advance(0)
        await shop.replica.sweep()
    await shop.replica.sweep()
    assert state_of(await shop.journeys.payment(payment_id)) == ("CANCELED" if end == "CANCELED" else "EXPIRED")
    assert (await shop.quote_state(payment_id), await coupon.uses()) == ("RELEASED", (0, 0))
    assert not (await shop.journeys.payment(payment_id)).snapshot.HasField("attention")
    await held(shop, coupon)  # somebody else has it now


async def test_the_quote_of_a_hold_stands_until_the_hold_has_ended(shop: Shop) -> None:
    """So that what it holds is still held when it is captured, however late its payer submitted."""
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon, timing=pb.TIMING_MANUAL_CAPTURE)
    session = (await shop.orchestrator.GetPaymentSession(pb.GetPaymentSessionRequest(payment_id=payment_id))).session
    stands = session.quote.expire_time.ToDatetime(tzinfo=UTC) - session.quote.create_time.ToDatetime(tzinfo=UTC)
    assert stands > HOLD_MAX + ABANDONED_AFTER


@pytest.mark.soak
async def test_a_capture_that_died_spends_the_coupon_once(shop: Shop) -> None:
    for life in each_life():
        coupon = await shop.coupon()
        payment_id = await held(shop, coupon)
        async with mortal_orchestrator(shop.replica, life) as (parts, _):
            await ask(parts, capture(payment_id))
        await shop.replica.sweep()
        state = state_of(await shop.journeys.payment(payment_id))
        is_taken = state == "SUCCEEDED"
        assert state in ("SUCCEEDED", "AUTHORIZED"), life.place  # it was never written down
        assert await coupon.uses() == ((0, 1) if is_taken else (1, 0)), life.place


async def test_money_that_is_held_after_the_end_spends_the_coupon_once_it_is_captured(shop: Shop) -> None:
    coupon = await shop.coupon()
    payment_id = await shop.started(coupon, timing=pb.TIMING_MANUAL_CAPTURE)
    await shop.orchestrator.CancelPayment(cancel(payment_id))
    await shop.replica.sweep()
    assert await coupon.uses() == (0, 0)
    await shop.pay_late(payment_id)
    await shop.replica.sweep()
    assert (state_of(await shop.journeys.payment(payment_id)), await coupon.uses()) == ("AUTHORIZED", (0, 0))
    async with shop.replica.connect("anna", roles=["operator"]) as operator:
        await operator.CapturePayment(capture(payment_id))
    await shop.replica.sweep()
    assert (state_of(await shop.journeys.payment(payment_id)), await coupon.uses()) == ("SUCCEEDED", (0, 1))
