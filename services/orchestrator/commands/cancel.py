"""CancelPayment: cancels the intent, and with it the payment."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import CancelPaymentRequest, CancelPaymentResponse
from services.errors import PeerUnavailable
from services.orchestrator.captures import Captures
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import PaymentState
from services.orchestrator.domain.payment import OUTCOME_UNKNOWN
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.steps import Steps
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.requests import REASON_CHARACTERS_MAX
from services.shared import fields
from services.shared.states import State


class CancelPayment(Command[CancelPaymentRequest, CancelPaymentResponse]):
    """Cancels a payment of which no money was taken, or releases what is left of a hold."""

    request_type = CancelPaymentRequest
    response_type = CancelPaymentResponse
    is_urgent: ClassVar[bool] = True

    def __init__(self, steps: Steps, captures: Captures, outbox: TransitionOutbox) -> None:
        self._steps = steps
        self._captures = captures
        self._outbox = outbox

    def validate(self, message: CancelPaymentRequest) -> None:
        """Refuse what names no payment."""
        fields.payment_id(message.payment_id)
        fields.text(message.reason, field="reason", characters_max=REASON_CHARACTERS_MAX)

    def payment_id(self, message: CancelPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    def why(self, message: CancelPaymentRequest) -> str:
        """Return what an operator says of it."""
        return message.reason

    async def perform(self, work: UnitOfWork, request: Request, message: CancelPaymentRequest) -> CancelPaymentResponse:
        """Cancel the payment, unless it is cancelled; a capture that was decided before comes first."""
        plan = work.plan
        if not request.calling:
            await self._captures.settle(work)
            latest = plan.latest_snapshot
            is_of_payer = request.key.caller == plan.payer_id
            if latest.collection is not State.CANCELED and not latest.is_cancelable_by(is_payer=is_of_payer):
                raise PaymentState(state=latest.state)
        await cancel_payment(work, request, steps=self._steps, outbox=self._outbox)
        return CancelPaymentResponse(payment=await self._outbox.payment(work))


async def cancel_payment(work: UnitOfWork, request: Request, *, steps: Steps, outbox: TransitionOutbox) -> None:
    """Cancel a payment for a request that was found to fit, unless it is cancelled.

    Raises `PaymentState` where money was taken instead.
    """
    plan = work.plan
    if _is_canceled(plan, request):
        return
    await steps.cancel(work, cancel_outcome=State.CANCELED, reason="REQUESTED", request=request)
    request = replace(request, calling=True)
    await work.save("cancel.outcome")
    await outbox.try_flush_outbox(work)
    if plan.latest_snapshot.reason == OUTCOME_UNKNOWN:
        raise PeerUnavailable(dependency="gateway")  # the request stays open until Stripe says it
    if not _is_canceled(plan, request):
        raise PaymentState(state=plan.latest_snapshot.state)


def _is_canceled(plan: Plan, request: Request) -> bool:
    """Whether a payment is cancelled, or the rest of its hold released by a cancel that was decided."""
    collection = plan.latest_snapshot.collection
    is_released = request.calling and plan.cancel_outcome is State.SUCCEEDED
    return collection is State.CANCELED or (is_released and collection is State.SUCCEEDED)
