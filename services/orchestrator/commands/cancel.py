"""CancelPayment: cancels the intent, and with it the payment."""

from __future__ import annotations

from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import CancelPaymentRequest, CancelPaymentResponse
from services.errors import PeerUnavailable
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import PaymentState
from services.orchestrator.domain.payment import OUTCOME_UNKNOWN
from services.orchestrator.domain.plan import Request, RequestKey
from services.orchestrator.steps import Steps
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.requests import REASON_CHARACTERS_MAX
from services.shared import fields
from services.shared.states import State


class CancelPayment(Command[CancelPaymentRequest, CancelPaymentResponse]):
    """Cancels a payment of which no money was taken."""

    request_type = CancelPaymentRequest
    response_type = CancelPaymentResponse
    is_urgent: ClassVar[bool] = True

    def __init__(self, steps: Steps, outbox: TransitionOutbox) -> None:
        self._steps = steps
        self._outbox = outbox

    def validate(self, message: CancelPaymentRequest) -> None:
        """Refuse what names no payment."""
        fields.payment_id(message.payment_id)
        fields.text(message.reason, field="reason", characters_max=REASON_CHARACTERS_MAX)

    def payment_id(self, message: CancelPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(self, work: UnitOfWork, request: Request, message: CancelPaymentRequest) -> CancelPaymentResponse:
        """Cancel the payment, unless it is cancelled."""
        latest = work.plan.latest_snapshot
        if latest.collection is not State.CANCELED:
            if not request.calling and not latest.is_cancelable:
                raise PaymentState(state=latest.collection)
            await self._steps.cancel(work, cancel_outcome=State.CANCELED, reason="REQUESTED", request=request)
            await work.save("cancel.outcome")
            await self._outbox.try_flush_outbox(work)
            latest = work.plan.latest_snapshot
            if latest.reason == OUTCOME_UNKNOWN:
                raise PeerUnavailable(dependency="gateway")  # the request stays open until Stripe says it
            if latest.collection is not State.CANCELED:
                raise PaymentState(state=latest.collection)
        return CancelPaymentResponse(payment=await self._outbox.payment(work))
