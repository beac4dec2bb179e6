"""Status: what is true of each payment, revision by revision."""

from __future__ import annotations

from batzen.status.v1 import status_pb2
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.plan import Plan, Request, Transition
from services.orchestrator.peers.refusals import answered
from services.orchestrator.wire.payments import snapshot_message
from services.shared.refusals import Refusal
from services.wire import money

PEER = "status"
REVISION_COMPACTED = "REVISION_COMPACTED"
"""Status's refusal of a history of which the begin was taken out."""


class Status:
    """What is asked of status."""

    def __init__(self, stub: StatusServiceStub) -> None:
        self._stub = stub

    async def open_payment(self, plan: Plan, first: Transition | None) -> status_pb2.Payment:
        """Open the payment in status, with its first transition if there is one; a repeat returns it as it stands.

        Raises `RevisionMoved` when it was opened before, and has another first transition.
        """
        request = status_pb2.OpenPaymentRequest(
            request_id=str(derived_id(plan.payment_id, "step:open:1")),
            payment_id=plan.payment_id,
            payer_id=plan.payer_id,
            seller_ids=plan.seller_ids,
            booking_ids=plan.booking_ids,
            client_reference=plan.client_reference,
            quote_id=plan.quote_id or "",
            total=money(plan.total_minor or 0, plan.currency_code or ""),
            labels=plan.labels,
        )
        if first is not None:
            request.first_transition.request_id = str(first.request_id)
            request.first_transition.snapshot.CopyFrom(snapshot_message(first.snapshot))
        return (await answered(self._stub.OpenPayment(request), PEER)).payment

    async def set_links(self, plan: Plan, request: Request) -> status_pb2.Payment:
        """Have the payment show its bookings as the plan has them; a repeat changes nothing."""
        asked = status_pb2.SetPaymentLabelsRequest(
            request_id=request.derived_id,
            payment_id=plan.payment_id,
            labels=plan.labels,
            booking_ids=plan.booking_ids,
        )
        return (await answered(self._stub.SetPaymentLabels(asked), PEER)).payment

    async def found(self, payment_filter: status_pb2.PaymentFilter, *, at_most: int) -> list[status_pb2.Payment]:
        """Return the newest payments of a filter."""
        asked = status_pb2.ListPaymentsRequest(filter=payment_filter, page_size=at_most)
        return list((await answered(self._stub.ListPayments(asked), PEER)).payments)

    async def record(self, plan: Plan, transition: Transition) -> status_pb2.RecordTransitionResponse:
        """Write the payment's next revision. Raises `RevisionMoved` when it is not the next."""
        request = status_pb2.RecordTransitionRequest(
            request_id=str(transition.request_id),
            payment_id=plan.payment_id,
            expected_revision=plan.revision,
            snapshot=snapshot_message(transition.snapshot),
        )
        return await answered(self._stub.RecordTransition(request), PEER)

    async def is_open(self, payment_id: str) -> bool:
        """Whether status has this payment."""
        try:
            await self.payment(payment_id)
        except Refusal as refusal:
            if refusal.status == "NOT_FOUND":
                return False
            raise
        return True

    async def payment(self, payment_id: str) -> status_pb2.Payment:
        """Return a payment as it stands now."""
        call = self._stub.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        return (await answered(call, PEER)).payment

    async def transitions(self, payment_id: str, *, at_most: int) -> list[status_pb2.Transition] | None:
        """Return a payment's history, the oldest first; None of one that is longer, or was taken out in part."""
        asked = status_pb2.ListTransitionsRequest(payment_id=payment_id, page_size=at_most)
        try:
            answer = await answered(self._stub.ListTransitions(asked), PEER)
        except Refusal as refusal:
            if refusal.reason == REVISION_COMPACTED:
                return None
            raise
        return None if answer.next_page_token else list(answer.transitions)

    async def newest(self, *, page_token: str, page_size: int) -> status_pb2.ListPaymentsResponse:
        """Return a page of all payments, the newest first."""
        asked = status_pb2.ListPaymentsRequest(page_size=page_size, page_token=page_token)
        return await answered(self._stub.ListPayments(asked), PEER)
