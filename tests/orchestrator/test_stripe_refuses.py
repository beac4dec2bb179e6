"""What callers hear of what Stripe refuses: what is true, and whose fault it is; nothing that Stripe did not say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from batzen.gateway.v1.observation_pb2 import INTENT_STATE_CANCELED
from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from services.orchestrator.domain.policies import RETRY_MAX
from tests.orchestrator.conftest import Journeys, Orchestrator
from tests.orchestrator.samples import (
    CONFIRM,
    CREATE,
    REFUND,
    TOTAL_MINOR,
    Clock,
    cancel,
    refund,
    refused,
    start,
    state_of,
    submit,
)


async def test_a_method_that_is_not_at_fault_is_not_said_to_be(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.started()
    await journeys.stripe.fault("invalid", route=CONFIRM, code="balance_insufficient", param="amount")
    asked = submit(payment_id)

    refusal = await refused(orchestrator.SubmitPayment(asked))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "SUBMIT_REFUSED")
    assert refusal.metadata == {"code": "balance_insufficient", "param": "amount"}
    assert await refused(orchestrator.SubmitPayment(asked)) == refusal

    payment = await journeys.payment(payment_id)
    assert state_of(payment) == "REQUIRES_PAYMENT_METHOD"
    assert not payment.snapshot.HasField("last_error")
    assert state_of((await orchestrator.SubmitPayment(submit(payment_id))).payment) == "SUCCEEDED"


@pytest.mark.parametrize("kind", ["unauthorized", "forbidden", "unknown_endpoint"])
async def test_a_key_that_stripe_does_not_take_ends_no_payment_and_blames_no_card(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys, clock: Clock, kind: str
) -> None:
    waiting, paid = await journeys.started(), await journeys.paid()
    await journeys.stripe.fault(kind, times=None)
    starting, submitting, refunding = start(), submit(waiting), refund(paid)
    for call in (
        orchestrator.StartPayment(starting),
        orchestrator.SubmitPayment(submitting),
        orchestrator.RefundPayment(refunding),
    ):
        assert (await refused(call)).code == "UNAVAILABLE"
    assert state_of(await journeys.payment(waiting)) == "PROCESSING"

    await journeys.stripe.clear_faults()
    clock.advance(RETRY_MAX)
    await replica.sweep()

    assert state_of((await orchestrator.StartPayment(starting)).session.payment) == "REQUIRES_PAYMENT_METHOD"
    assert state_of((await orchestrator.SubmitPayment(submitting)).payment) == "SUCCEEDED"
    assert state_of((await orchestrator.RefundPayment(refunding)).payment) == "REFUNDED"
    assert len(await journeys.charges(waiting)) == len(await journeys.refunds(paid)) == 1


async def test_a_refund_that_stripe_refuses_for_good(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    await journeys.stripe.fault("invalid", route=REFUND, code="balance_insufficient")
    refusal = await refused(orchestrator.RefundPayment(refund(payment_id)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "REFUND_REFUSED")
    assert refusal.metadata == {"code": "balance_insufficient"}

    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.amounts.refund_pending_minor) == ("SUCCEEDED", 0)
    await replica.sweep()


async def test_a_refund_that_stripe_refuses_since_the_money_went_back_is_not_promised_again(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    payment_id = await journeys.paid()
    [intent] = await journeys.intents(payment_id)
    await journeys.stripe.refund(intent["id"], amount=TOTAL_MINOR)  # at Stripe's dashboard, not heard of here yet
    refusal = await refused(orchestrator.RefundPayment(refund(payment_id)))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "REFUNDABLE_CHANGED")
    assert refusal.metadata == {"refundable_minor": "0"}

    preview = await orchestrator.PreviewRefund(pb.PreviewRefundRequest(payment_id=payment_id))
    assert preview.refundable.amount_minor == 0
    payment = await journeys.payment(payment_id)
    assert state_of(payment) == "REFUNDED"
    assert payment.snapshot.amounts.refunded_minor == TOTAL_MINOR
    assert payment.snapshot.amounts.refund_pending_minor == 0


async def test_a_charge_whose_intent_stripe_refuses_can_be_called_off(
    orchestrator: OrchestratorServiceStub, replica: Orchestrator, journeys: Journeys, clock: Clock
) -> None:
    payment_id = await journeys.scheduled(clock.now() + timedelta(minutes=10))
    await journeys.stripe.fault("invalid", route=CREATE)
    clock.advance(timedelta(minutes=11))
    await replica.sweep()
    payment = await journeys.payment(payment_id)
    assert (state_of(payment), payment.snapshot.attention.reason) == ("SCHEDULED", "CHARGE_REFUSED")
    assert state_of((await orchestrator.CancelPayment(cancel(payment_id))).payment) == "CANCELED"
    assert (await journeys.seen(payment_id)).intent_state == INTENT_STATE_CANCELED
    assert (await journeys.plan(payment_id)).pending_steps == []
