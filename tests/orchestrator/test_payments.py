"""The way of a payment through the orchestrator, with everything behind it."""

from __future__ import annotations

from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from tests.orchestrator.conftest import Journeys
from tests.orchestrator.samples import TOTAL_MINOR, chf, refund, start, state_of, submit


async def test_a_payment_is_started_paid_and_refunded(
    orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    session = (await orchestrator.StartPayment(start())).session
    payment_id = session.payment.payment_id
    assert state_of(session.payment) == "REQUIRES_PAYMENT_METHOD"
    assert session.client_secret.startswith("pi_")
    assert session.quote.total == chf(TOTAL_MINOR)

    paid = await orchestrator.SubmitPayment(submit(payment_id))
    assert state_of(paid.payment) == "SUCCEEDED"
    assert paid.payment.snapshot.amounts.captured_minor == TOTAL_MINOR

    first = await orchestrator.RefundPayment(refund(payment_id, 2_500))
    assert state_of(first.payment) == "PARTIALLY_REFUNDED"
    rest = await orchestrator.RefundPayment(refund(payment_id, 7_500, expected_refundable=chf(7_500)))
    assert state_of(rest.payment) == "REFUNDED"

    assert await journeys.states(payment_id) == [
        "INITIALIZED", "REQUIRES_PAYMENT_METHOD", "PROCESSING", "SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED",
    ]  # fmt: skip
    assert (await journeys.plan(payment_id)).pending_steps == []
