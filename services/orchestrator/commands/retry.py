"""RetryPayment: tries again, now, by what the payment waits for."""

from __future__ import annotations

from dataclasses import replace

from batzen.orchestrator.v1.orchestrator_pb2 import RetryPaymentRequest, RetryPaymentResponse
from services.orchestrator.attempts import Attempts
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.plan import Request, RequestKey
from services.orchestrator.sessions import PaymentSessions, redact
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.terms import check_collection, collection
from services.shared import fields


class RetryPayment(Command[RetryPaymentRequest, RetryPaymentResponse]):
    """Lets a payment be tried again."""

    request_type = RetryPaymentRequest
    response_type = RetryPaymentResponse

    def __init__(self, attempts: Attempts, sessions: PaymentSessions) -> None:
        self._attempts = attempts
        self._sessions = sessions

    def validate(self, message: RetryPaymentRequest) -> None:
        """Refuse what names no payment, or a way to collect that there is not."""
        fields.payment_id(message.payment_id)
        if message.collection:  # unspecified leaves it
            check_collection(message.collection)

    def payment_id(self, message: RetryPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(self, work: UnitOfWork, request: Request, message: RetryPaymentRequest) -> RetryPaymentResponse:
        """See that the payer has an open attempt of the kind that is asked for."""
        async with self._attempts.changing(work):
            await self._offer(work, request, message)
        session = await self._sessions.of(work)
        return RetryPaymentResponse(payment=session.payment, session=session)

    async def _offer(self, work: UnitOfWork, request: Request, message: RetryPaymentRequest) -> None:
        """Offer the payer an attempt: the one that is open where it is of that kind, else another."""
        change = await self._attempts.look(work, point="retry")
        if message.collection:  # unspecified leaves it
            work.plan.course = replace(work.plan.course, collection=collection(message.collection))
        await work.save("retry.begin", request=request)
        work.keep_alive()
        await self._attempts.renew(work, change, request, point="retry")

    def redact(self, answer: RetryPaymentResponse) -> None:
        """Take out what only the payer may have."""
        redact(answer.session)

    async def refresh(self, request: Request, answer: RetryPaymentResponse) -> None:
        """Fetch it anew, where the payer may still need it."""
        await self._sessions.refresh(answer.session)
