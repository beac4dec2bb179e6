"""ResolvePayment: an operator decides about a payment, in a way that fits how it stands."""

from __future__ import annotations

from typing import ClassVar

from batzen.orchestrator.v1.ops_pb2 import ResolvePaymentRequest, ResolvePaymentResponse
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.plan import Request, RequestKey
from services.orchestrator.operations.resolving import Resolving
from services.orchestrator.operations.wire import check_resolution, decision_of
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork


class ResolvePayment(Command[ResolvePaymentRequest, ResolvePaymentResponse]):
    """Decides; what is done then is `operations/resolving.py`'s."""

    request_type = ResolvePaymentRequest
    response_type = ResolvePaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = (
        "resolution",
        "collection",
        "clear_attention",
        "attention_reasons",
        "expected_surplus",
    )

    def __init__(self, resolving: Resolving, outbox: TransitionOutbox) -> None:
        self._resolving = resolving
        self._outbox = outbox

    def validate(self, message: ResolvePaymentRequest) -> None:
        """Refuse what decides nothing, or says not who did and why."""
        check_resolution(message)

    def payment_id(self, message: ResolvePaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    def actor_id(self, message: ResolvePaymentRequest) -> str:
        """Return who decided."""
        return message.actor_id

    def why(self, message: ResolvePaymentRequest) -> str:
        """Return what they say of it."""
        return message.reason

    async def perform(
        self, work: UnitOfWork, request: Request, message: ResolvePaymentRequest
    ) -> ResolvePaymentResponse:
        """Carry out what was decided."""
        await self._resolving.resolve(work, request, decision_of(message))
        return ResolvePaymentResponse(payment=await self._outbox.payment(work))
