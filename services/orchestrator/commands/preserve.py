"""PreservePayment: keeps an unfinished payment from expiring for a while."""

from __future__ import annotations

from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import PreservePaymentRequest, PreservePaymentResponse
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import PaymentState
from services.orchestrator.domain.payment import EXPIRABLE
from services.orchestrator.domain.plan import Request, RequestKey
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.requests import REASON_CHARACTERS_MAX, preserve_window
from services.shared import fields
from services.wire import timestamp


class PreservePayment(Command[PreservePaymentRequest, PreservePaymentResponse]):
    """Has a payment wait for its payer."""

    request_type = PreservePaymentRequest
    response_type = PreservePaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = ("window",)

    def __init__(self, outbox: TransitionOutbox) -> None:
        self._outbox = outbox

    def validate(self, message: PreservePaymentRequest) -> None:
        """Refuse what names no payment, or a window that is none."""
        fields.payment_id(message.payment_id)
        fields.text(message.reason, field="reason", characters_max=REASON_CHARACTERS_MAX)
        preserve_window(message)

    def payment_id(self, message: PreservePaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    def why(self, message: PreservePaymentRequest) -> str:
        """Return what an operator says of it."""
        return message.reason

    async def perform(
        self, work: UnitOfWork, request: Request, message: PreservePaymentRequest
    ) -> PreservePaymentResponse:
        """Move the end of the payer's time, where it is their turn; it is saved with the answer."""
        latest = work.plan.latest_snapshot
        if latest.collection not in EXPIRABLE:
            raise PaymentState(state=latest.state)
        until = work.preserve(preserve_window(message), reason=message.reason)
        return PreservePaymentResponse(payment=await self._outbox.payment(work), preserve_time=timestamp(until))
