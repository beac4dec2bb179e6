"""A cart of several sellers: one charge of the platform's, the split said with it, refunds of each seller's part."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from tests.orchestrator.carts import CART_MINOR, GROSSES, cart, put_seller
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.samples import CAPTURE, SELLER, capture, chf, line, refund, refused, state_of
from tests.orchestrator.shops import Shop


def preview(payment_id: str, **changes: Any) -> pb.PreviewRefundRequest:
    return pb.PreviewRefundRequest(payment_id=payment_id, **changes)


async def test_a_cart_of_three_sellers_is_one_charge_of_the_platform(world: World, journeys: Journeys) -> None:
    lines = await cart(world)
    sellers = [one.seller_id for one in lines]
    payment_id = await journeys.paid(lines=lines)

    payment, plan = await journeys.payment(payment_id), await journeys.plan(payment_id)
    assert (state_of(payment), list(payment.seller_ids)) == ("SUCCEEDED", sellers)
    assert [(part.seller_id, part.gross, part.platform_fee, part.seller_share) for part in plan.seller_parts] == [
        (seller, chf(gross), chf(gross * 15 // 100), chf(gross * 85 // 100))
        for seller, gross in zip(sellers, GROSSES, strict=True)
    ]
    [intent] = await journeys.intents(payment_id)
    assert (intent["amount"], intent["transfer_group"]) == (CART_MINOR, payment_id)
    assert (intent["transfer_data"], intent["application_fee_amount"]) == (None, None)


async def test_a_seller_s_lines_are_given_back_alone(
    world: World, journeys: Journeys, orchestrator: OrchestratorServiceStub
) -> None:
    lines = await cart(world)
    second = lines[1].seller_id
    payment_id = await journeys.paid(lines=lines)

    seen = await orchestrator.PreviewRefund(preview(payment_id, seller_id=second))
    assert (seen.amount, seen.refundable) == (chf(5_000), chf(CART_MINOR))
    assert [(one.seller_id, one.gross, one.seller_share) for one in seen.seller_parts] == [
        (second, chf(5_000), chf(4_250))
    ]
    [of_line] = seen.lines
    assert (of_line.line_id, of_line.seller_share_minor, of_line.platform_fee_minor) == ("line_1", 4_250, 750)

    asked = refund(payment_id, 4_000, expected_refundable=chf(CART_MINOR), seller_id=second)
    answer = await orchestrator.RefundPayment(asked)
    assert (answer.amount, state_of(answer.payment)) == (chf(4_000), "PARTIALLY_REFUNDED")
    assert (await orchestrator.RefundPayment(asked)).refund_id == answer.refund_id
    [made] = await journeys.refunds(payment_id)
    assert (made["amount"], made["status"]) == (4_000, "succeeded")

    left = await orchestrator.PreviewRefund(preview(payment_id, seller_id=second))
    assert (left.amount, left.seller_parts[0].seller_share) == (chf(1_000), chf(850))
    more = refund(payment_id, 1_001, expected_refundable=chf(CART_MINOR - 4_000), seller_id=second)
    refusal = await refused(orchestrator.RefundPayment(more))
    assert (refusal.reason, refusal.metadata["refundable_minor"]) == ("REFUND_EXCEEDS_REFUNDABLE", "1000")
    refusal = await refused(orchestrator.PreviewRefund(preview(payment_id, amount=chf(1_001), seller_id=second)))
    assert (refusal.reason, refusal.metadata["refundable_minor"]) == ("REFUND_EXCEEDS_REFUNDABLE", "1000")

    rest = await orchestrator.PreviewRefund(preview(payment_id))
    assert [one.gross.amount_minor for one in rest.seller_parts] == [10_000, 1_000, 3_000]


async def test_so_much_of_each_line_is_given_back(
    world: World, journeys: Journeys, orchestrator: OrchestratorServiceStub
) -> None:
    payment_id = await journeys.paid(lines=await cart(world))
    amounts = [
        pb.RefundLineAmount(line_id="line_0", amount_minor=1_000),
        pb.RefundLineAmount(line_id="line_2", amount_minor=3_000),
    ]
    seen = await orchestrator.PreviewRefund(preview(payment_id, line_amounts=amounts, keep_platform_fee=True))
    assert [(one.gross_minor, one.seller_share_minor, one.platform_fee_minor) for one in seen.lines] == [
        (1_000, 1_000, 0),
        (3_000, 3_000, 0),
    ]
    asked = refund(payment_id, expected_refundable=chf(CART_MINOR), line_amounts=amounts, keep_platform_fee=True)
    asked.ClearField("amount")
    assert (await orchestrator.RefundPayment(asked)).amount == chf(4_000)

    left = await orchestrator.PreviewRefund(preview(payment_id))
    assert [one.gross_minor for one in left.lines] == [9_000, 5_000]
    amounts = [pb.RefundLineAmount(line_id="line_2", amount_minor=1)]
    again = refund(payment_id, 1, expected_refundable=chf(CART_MINOR - 4_000), line_amounts=amounts)
    refusal = await refused(orchestrator.RefundPayment(again))
    assert (refusal.reason, refusal.metadata["refundable_minor"]) == ("REFUND_EXCEEDS_REFUNDABLE", "0")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"seller_id": "seller_of_nothing"}, "seller_id"),
        ({"line_amounts": [pb.RefundLineAmount(line_id="none", amount_minor=1)]}, "line_amounts[0].line_id"),
        ({"line_amounts": [pb.RefundLineAmount(line_id="1")]}, "line_amounts[0].amount_minor"),
        ({"line_amounts": [pb.RefundLineAmount(line_id="1", amount_minor=2)]}, "line_amounts"),
        ({"line_amounts": [pb.RefundLineAmount(line_id="1", amount_minor=1)] * 2}, "line_amounts"),
        ({"seller_id": SELLER, "line_amounts": [pb.RefundLineAmount(line_id="1", amount_minor=1)]}, "seller_id"),
    ],
)
async def test_what_a_payment_does_not_have_is_not_given_back(
    changes: dict[str, Any], field: str, journeys: Journeys, orchestrator: OrchestratorServiceStub
) -> None:
    payment_id = await journeys.paid()
    for call in (
        orchestrator.RefundPayment(refund(payment_id, 1, **changes)),
        orchestrator.PreviewRefund(preview(payment_id, amount=chf(1), **changes)),
    ):
        refusal = await refused(call)
        assert (refusal.reason, refusal.field) == ("FIELD_INVALID", field)


async def test_a_refund_of_a_seller_says_how_much(journeys: Journeys, orchestrator: OrchestratorServiceStub) -> None:
    asked = refund(await journeys.paid(), seller_id=SELLER)
    asked.ClearField("amount")
    refusal = await refused(orchestrator.RefundPayment(asked))
    assert (refusal.reason, refusal.field) == ("FIELD_MISSING", "amount")


async def test_a_cart_of_several_sellers_is_captured_once(
    world: World, journeys: Journeys, orchestrator: OrchestratorServiceStub
) -> None:
    payment_id = await journeys.held(lines=await cart(world))
    [intent] = await journeys.intents(payment_id)
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id, 10_000)))
    assert refusal.reason == "CAPTURE_NOT_REPEATABLE"
    assert CAPTURE not in await world.stripe.calls(intent["id"]), "Stripe is not asked"

    answer = await orchestrator.CapturePayment(capture(payment_id, 9_000, final_capture=True))
    assert state_of(answer.payment) == "SUCCEEDED"
    seen = await orchestrator.PreviewRefund(preview(payment_id))
    assert [one.gross.amount_minor for one in seen.seller_parts] == [5_000, 2_500, 1_500]


async def test_what_the_platform_funds_beyond_its_fee_is_charged_by_the_platform(shop: Shop) -> None:
    """It takes 15 % and gives 17 %: the seller gets more than is charged, by a transfer of its own."""
    coupon = await shop.coupon(percent="17", funder="FUNDER_PLATFORM")
    payment_id = await shop.started(coupon)
    [intent] = await shop.journeys.intents(payment_id)
    assert (intent["transfer_data"], intent["application_fee_amount"]) == (None, None)
    [part] = (await shop.journeys.plan(payment_id)).seller_parts
    assert part.seller_share.amount_minor > part.gross.amount_minor == intent["amount"]


async def test_the_platform_s_own_goods_stand_beside_a_seller_s(world: World, journeys: Journeys) -> None:
    own = line(line_id="own", seller_id="main")
    payment_id = await journeys.paid(lines=[own, line(line_id="other", seller_id=await put_seller(world))])
    plan = await journeys.plan(payment_id)
    assert [(part.platform_fee.amount_minor, part.seller_share.amount_minor) for part in plan.seller_parts] == [
        (0, 10_000),
        (1_500, 8_500),
    ]


async def test_a_cart_is_charged_at_its_time(world: World, journeys: Journeys, replica: Orchestrator) -> None:
    at = world.clock.now() + timedelta(days=3)
    payment_id = await journeys.scheduled(at, lines=await cart(world))
    world.clock.advance(timedelta(days=3, seconds=5))
    await replica.sweep()
    assert state_of(await journeys.payment(payment_id)) == "SUCCEEDED"
    intent = (await journeys.intents(payment_id))[-1]
    assert (intent["amount"], intent["transfer_data"]) == (CART_MINOR, None)
