"""Several captures of one hold: their split adds up, and what is left is captured, released, or lapses."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, timedelta

import pytest
from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.type.v1 import money_pb2, payment_pb2
from services.orchestrator.domain.policies import RELEASE_BEFORE_LAPSE, RETRY_MAX
from services.shared.refusals import Refusal
from services.wire import timestamp
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator
from tests.orchestrator.lives import Lives, each_life
from tests.orchestrator.samples import (
    CAPTURE,
    CAPTURED_ONCE,
    FEE_MINOR,
    HELD,
    TOTAL_MINOR,
    Clock,
    cancel,
    capture,
    chf,
    line,
    refund,
    refused,
    state_of,
)

HOUR = timedelta(hours=1)
MOMENT = timedelta(seconds=5)
"""What due times, which go by the database's clock, may be later than our own."""
PART_MINOR = 3_333
PART_FEE_MINOR = 500
"""15 % of the part, rounded half up."""
REST_MINOR = TOTAL_MINOR - PART_MINOR


async def fees(journeys: Journeys, payment_id: str) -> int:
    """Return what Stripe took as the platform's of all captures."""
    taken = [
        fee["amount"]
        for charge in await journeys.charges(payment_id)
        for fee in await journeys.stripe.objects("application_fee", charge=charge["id"])
    ]
    return sum(taken)


async def captured(journeys: Journeys, payment_id: str) -> int:
    return sum(charge["amount_captured"] for charge in await journeys.charges(payment_id))


async def held_with_a_part_captured(journeys: Journeys, **changes: object) -> str:
    payment_id = await journeys.held(**changes)
    payment = (await journeys.orchestrator.CapturePayment(capture(payment_id, PART_MINOR))).payment
    amounts = payment.snapshot.amounts
    assert (state_of(payment), amounts.captured_minor, amounts.capturable_minor) == (
        "AUTHORIZED",
        PART_MINOR,
        REST_MINOR,
    )
    return payment_id


async def test_captures_add_up_to_the_total_and_to_the_quotes_fee(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await held_with_a_part_captured(journeys)
    assert await fees(journeys, payment_id) == PART_FEE_MINOR
    await orchestrator.CapturePayment(capture(payment_id, PART_MINOR))
    assert await fees(journeys, payment_id) == 1_000, "of 6,666 it is 999.9, which is 1,000 less the 500 of before"
    payment = (await orchestrator.CapturePayment(capture(payment_id))).payment
    assert (state_of(payment), payment.snapshot.amounts.captured_minor) == ("SUCCEEDED", TOTAL_MINOR)
    assert await fees(journeys, payment_id) == FEE_MINOR
    assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED", "AUTHORIZED", "SUCCEEDED"]


async def test_a_part_is_not_captured_of_what_stripe_captures_once(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.held(CAPTURED_ONCE)
    await journeys.stripe.clear_metrics()
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id, PART_MINOR)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "CAPTURE_NOT_REPEATABLE")
    assert CAPTURE not in await journeys.stripe.calls((await journeys.intents(payment_id))[0]["id"]), (
        "refused before Stripe is asked"
    )
    payment = (await orchestrator.CapturePayment(capture(payment_id, PART_MINOR, final_capture=True))).payment
    assert (state_of(payment), await captured(journeys, payment_id)) == ("SUCCEEDED", PART_MINOR)


async def test_what_is_kept_of_a_part_has_the_digits_that_stripe_takes(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    """15 % of KWD 3.340 are KWD 0.501, and Stripe takes no thousandths."""
    whole, part, odd = (money_pb2.Money(amount_minor=one, currency_code="KWD") for one in (10_010, 3_340, 3_341))
    payment_id = await journeys.held(lines=[line(unit_amount=whole)])
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id, amount=odd)))
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", "amount.amount_minor")
    captured_minor = [
        (await orchestrator.CapturePayment(capture(payment_id, **asked))).payment.snapshot.amounts.captured_minor
        for asked in ({"amount": part}, {})
    ]
    assert captured_minor == [part.amount_minor, whole.amount_minor]
    assert await fees(journeys, payment_id) == 1_500, "as the quote has it"


async def test_the_last_capture_releases_the_rest(orchestrator: OrchestratorServiceStub, journeys: Journeys) -> None:
    payment_id = await held_with_a_part_captured(journeys)
    payment = (await orchestrator.CapturePayment(capture(payment_id, 1, final_capture=True))).payment
    amounts = payment.snapshot.amounts
    assert (state_of(payment), amounts.captured_minor, amounts.capturable_minor) == ("SUCCEEDED", PART_MINOR + 1, 0)
    refusal = await refused(orchestrator.CapturePayment(capture(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"})


async def test_a_cancel_releases_the_rest_and_what_was_captured_stays(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await held_with_a_part_captured(journeys)
    asked = cancel(payment_id)
    payment = (await orchestrator.CancelPayment(asked)).payment
    amounts = payment.snapshot.amounts
    assert (state_of(payment), amounts.captured_minor, amounts.capturable_minor) == ("SUCCEEDED", PART_MINOR, 0)
    assert (await orchestrator.CancelPayment(asked)).payment == payment
    refusal = await refused(orchestrator.CancelPayment(cancel(payment_id)))
    assert (refusal.reason, refusal.metadata) == ("PAYMENT_STATE", {"state": "SUCCEEDED"}), "nothing is left to release"


@pytest.mark.parametrize("release", [False, True], ids=["it lapses", "it is released"])
async def test_the_rest_of_a_hold_ends_with_what_was_captured(
    release: bool, world: World, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await held_with_a_part_captured(journeys, release_before_lapse=release)
    lapse = (await journeys.payment(payment_id)).snapshot.hold_expire_time.ToDatetime(tzinfo=UTC)
    for time in (lapse - RELEASE_BEFORE_LAPSE, lapse + HOUR, lapse + 2 * HOUR):
        world.clock.advance(time + MOMENT - world.clock.now())
        await world.stripe.advance(0)
        await replica.sweep()
        is_over = time > lapse or release
        assert state_of(await journeys.payment(payment_id)) == ("SUCCEEDED" if is_over else "AUTHORIZED")
    payment = await journeys.payment(payment_id)
    assert (payment.snapshot.amounts.captured_minor, payment.snapshot.HasField("attention")) == (PART_MINOR, False)
    assert await fees(journeys, payment_id) == PART_FEE_MINOR


async def test_a_plan_captures_the_rest(replica: Orchestrator, journeys: Journeys, clock: Clock) -> None:
    payment_id = await held_with_a_part_captured(journeys, capture_time=timestamp(clock.now() + HOUR))
    clock.advance(HOUR)
    await replica.sweep()
    assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED", "SUCCEEDED"]
    assert (await captured(journeys, payment_id), await fees(journeys, payment_id)) == (TOTAL_MINOR, FEE_MINOR)


async def test_what_is_given_back_while_the_rest_is_held_is_partial(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await held_with_a_part_captured(journeys)
    preview = await orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id))
    [part] = preview.seller_parts
    assert (preview.refundable.amount_minor, part.gross.amount_minor) == (PART_MINOR, PART_MINOR)
    assert part.platform_fee.amount_minor == PART_FEE_MINOR
    payment = (
        await orchestrator.RefundPayment(refund(payment_id, PART_MINOR, expected_refundable=chf(PART_MINOR)))
    ).payment
    assert state_of(payment) == "PARTIALLY_REFUNDED"
    assert payment.snapshot.collection == payment_pb2.PAYMENT_STATE_AUTHORIZED
    assert payment.snapshot.amounts.refunded_minor == PART_MINOR
    payment = (await orchestrator.CancelPayment(cancel(payment_id))).payment
    assert state_of(payment) == "REFUNDED", "nothing is held any more"


async def test_a_part_of_what_is_captured_in_parts_goes_back_at_everybodys_cost(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await held_with_a_part_captured(journeys)
    refunded_minor = 0
    for captured_minor in (PART_MINOR, TOTAL_MINOR):
        if captured_minor == TOTAL_MINOR:
            await orchestrator.CapturePayment(capture(payment_id))
        asked = refund(payment_id, 10, expected_refundable=chf(captured_minor - refunded_minor))
        payment = (await orchestrator.RefundPayment(asked)).payment
        refunded_minor += 10
        assert state_of(payment) == "PARTIALLY_REFUNDED"
        assert payment.snapshot.amounts.refunded_minor == refunded_minor
    assert await fees(journeys, payment_id) == FEE_MINOR


async def test_a_capture_comes_after_a_refund_of_what_was_captured_before(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await held_with_a_part_captured(journeys)
    await orchestrator.RefundPayment(refund(payment_id, PART_MINOR, expected_refundable=chf(PART_MINOR)))
    payment = (await orchestrator.CapturePayment(capture(payment_id))).payment
    assert (state_of(payment), payment.snapshot.amounts.captured_minor) == ("PARTIALLY_REFUNDED", TOTAL_MINOR)
    preview = await orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id))
    [part] = preview.seller_parts
    assert (part.gross.amount_minor, part.platform_fee.amount_minor) == (REST_MINOR, FEE_MINOR - PART_FEE_MINOR)


async def test_a_capture_that_died_is_settled_before_the_next_is_decided(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, lives: Lives
) -> None:
    """Else the second would say of the fee what was true before the first."""
    for life in lives():
        payment_id = await journeys.held()
        first = capture(payment_id, PART_MINOR)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, first)
        second = (await orchestrator.CapturePayment(capture(payment_id, PART_MINOR))).payment
        assert state_of(second) == "AUTHORIZED", life.place
        await orchestrator.CapturePayment(first)
        payment = await journeys.payment(payment_id)
        assert payment.snapshot.amounts.captured_minor == 2 * PART_MINOR, life.place
        assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED", "AUTHORIZED"], life.place
        assert await fees(journeys, payment_id) == 2 * PART_FEE_MINOR, life.place
        await replica.sweep()
        assert (await journeys.plan(payment_id)).pending_steps == [], life.place


async def test_a_capture_that_was_refused_before_the_next_stays_refused(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys
) -> None:
    """Its process died over the refusal, and another capture went on from that it was not made."""
    refusals = 0
    for life in each_life():
        payment_id = await journeys.held()
        first = capture(payment_id, PART_MINOR)
        await journeys.stripe.fault("invalid", route=CAPTURE, code="odd")
        async with mortal_orchestrator(replica, life) as (parts, _):
            with suppress(Refusal):
                await ask(parts, first)
        was_refused = await journeys.is_faulty()
        await journeys.stripe.clear_faults()
        await orchestrator.CapturePayment(capture(payment_id, PART_MINOR))
        try:
            await orchestrator.CapturePayment(first)
        except aio.AioRpcError as refusal:
            refusals += 1
            is_right = was_refused and refusal.code().name == "FAILED_PRECONDITION"
        else:
            is_right = not was_refused
        assert is_right, life.place
        times = 1 if was_refused else 2
        assert await captured(journeys, payment_id) == times * PART_MINOR, life.place
        assert await fees(journeys, payment_id) == times * PART_FEE_MINOR, life.place
    assert refusals > 1


@pytest.mark.soak
async def test_a_release_of_the_rest_that_died(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    for place, life in enumerate(each_life()):
        payment_id = await held_with_a_part_captured(journeys)
        asked = cancel(payment_id)
        async with mortal_orchestrator(replica, life) as (parts, _):
            await ask(parts, asked)
        if place % 2:  # it is the sweep that comes next, or the caller, who knows that Stripe told of it
            await replica.sweep()
        else:
            await journeys.deliver(await journeys.synced(payment_id))
        assert state_of((await orchestrator.CancelPayment(asked)).payment) == "SUCCEEDED", life.place
        assert await journeys.states(payment_id) == [*HELD, "AUTHORIZED", "SUCCEEDED"], life.place
        assert await captured(journeys, payment_id) == PART_MINOR, life.place


async def test_a_part_whose_capture_is_not_known_is_settled_before_the_rest_is_captured(
    replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.held()
    first, second = capture(payment_id, PART_MINOR), capture(payment_id)
    await journeys.silence(CAPTURE)
    assert (await refused(orchestrator.CapturePayment(first))).code == "UNAVAILABLE"
    assert (await refused(orchestrator.CapturePayment(second))).code == "UNAVAILABLE"
    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()
    payments = [(await orchestrator.CapturePayment(one)).payment for one in (first, second)]
    assert [state_of(one) for one in payments] == ["AUTHORIZED", "SUCCEEDED"]
    assert (await captured(journeys, payment_id), await fees(journeys, payment_id)) == (TOTAL_MINOR, FEE_MINOR)
    assert await journeys.states(payment_id) == [*HELD, "PROCESSING", "AUTHORIZED", "SUCCEEDED"]
