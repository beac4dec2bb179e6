"""CapturePayment: captures what is held, all of it or a part."""

from __future__ import annotations

from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import CapturePaymentRequest, CapturePaymentResponse
from services.errors import FieldInvalid, ServiceError
from services.orchestrator.captures import Captures, decided
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.captures import Capture
from services.orchestrator.domain.errors import (
    CaptureExceedsCapturable,
    CaptureNotRepeatable,
    CaptureRefused,
    PaymentState,
)
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.peers.refusals import STRIPE_REFUSED
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.shared import fields
from services.shared.refusals import Refusal
from services.shared.states import State

_REFUSALS = {error.reason: error for error in (CaptureExceedsCapturable, CaptureNotRepeatable)}


class CapturePayment(Command[CapturePaymentRequest, CapturePaymentResponse]):
    """Captures what is held. A cancel that came first has released it, and one that comes later finds it taken."""

    request_type = CapturePaymentRequest
    response_type = CapturePaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = ("amount", "final_capture")

    def __init__(self, captures: Captures, outbox: TransitionOutbox) -> None:
        self._captures = captures
        self._outbox = outbox

    def validate(self, message: CapturePaymentRequest) -> None:
        """Refuse what says not clearly how much is captured, and who decided."""
        fields.payment_id(message.payment_id)
        if message.HasField("amount"):
            fields.money(message.amount, field="amount", least_minor=1)
        fields.identifier(message.actor_id, field="actor_id")

    def payment_id(self, message: CapturePaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    def actor_id(self, message: CapturePaymentRequest) -> str:
        """Return who decided."""
        return message.actor_id

    async def perform(
        self, work: UnitOfWork, request: Request, message: CapturePaymentRequest
    ) -> CapturePaymentResponse:
        """Have the gateway capture what is decided here once, however often it is asked for."""
        capture = work.plan.course.capture(request.derived_id)
        if capture is None and not request.calling:
            await self._captures.settle(work)
            step_minor = await self._captures.step_minor(work.plan)
            capture = self._decided(work.plan, request, message, step_minor=step_minor)
            await self._captures.begin(work, capture, request=request)
        if capture is not None:
            try:
                await self._captures.make(work, capture)
            except Refusal as refusal:
                self._captures.answered(work, capture)
                raise self._refused(work.plan, refusal) from refusal
            self._captures.answered(work, capture)
        # Else it was made, and status was away when its answer was to be kept.
        return CapturePaymentResponse(payment=await self._outbox.payment(work))

    def _decided(self, plan: Plan, request: Request, message: CapturePaymentRequest, *, step_minor: int) -> Capture:
        latest = plan.latest_snapshot
        held_minor = latest.amounts.capturable_minor
        is_theirs = bool(request.actor_id) or not plan.came_late  # late money is an operator's to decide on
        if latest.collection is not State.AUTHORIZED or not held_minor or not is_theirs:
            raise PaymentState(state=latest.state)
        amount_minor = held_minor
        if message.HasField("amount"):
            amount_minor = message.amount.amount_minor
            if message.amount.currency_code != plan.currency_code:
                raise FieldInvalid(
                    field="amount.currency_code", detail=f"must be {plan.currency_code}, as the payment is"
                )
            if amount_minor % step_minor:
                raise FieldInvalid(field="amount.amount_minor", detail=f"must be a multiple of {step_minor}")
        if amount_minor > held_minor:
            raise CaptureExceedsCapturable(field="amount", capturable_minor=held_minor)
        can_capture_again = plan.course.can_capture_again and plan.destination  # transfers need one whole charge
        if amount_minor < held_minor and not message.final_capture and not can_capture_again:
            raise CaptureNotRepeatable
        return decided(
            plan,
            request_id=request.derived_id,
            amount_minor=amount_minor,
            is_final=message.final_capture,
        )

    def _refused(self, plan: Plan, refusal: Refusal) -> ServiceError:
        """Return what the caller of a capture hears that will never be made."""
        known = _REFUSALS.get(refusal.reason)
        if known is not None:
            return known(field=refusal.field, **refusal.metadata)
        latest = plan.latest_snapshot
        if refusal.reason == STRIPE_REFUSED and latest.collection is State.AUTHORIZED:
            return CaptureRefused(code=refusal.metadata.get("code", refusal.reason))
        return PaymentState(state=latest.state)
