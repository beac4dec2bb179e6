"""RetryPayment: tries again, now, by what the payment waits for: its charge, or its payer."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import RetryPaymentRequest, RetryPaymentResponse
from services.orchestrator.attempts import Attempts
from services.orchestrator.charging import Charging
from services.orchestrator.commands.command import Command
from services.orchestrator.domain import charge_plan
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.sessions import PaymentSessions, is_payers_turn, redact
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.terms import check_collection, collection
from services.shared import fields
from services.shared.states import State


class RetryPayment(Command[RetryPaymentRequest, RetryPaymentResponse]):
    """Lets a payment be tried again."""

    request_type = RetryPaymentRequest
    response_type = RetryPaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = ("collection",)

    def __init__(
        self, attempts: Attempts, charging: Charging, sessions: PaymentSessions, outbox: TransitionOutbox
    ) -> None:
        self._attempts = attempts
        self._charging = charging
        self._sessions = sessions
        self._outbox = outbox

    def validate(self, message: RetryPaymentRequest) -> None:
        """Refuse what names no payment, or a way to collect that there is not."""
        fields.payment_id(message.payment_id)
        if message.collection:  # unspecified leaves it
            check_collection(message.collection)

    def payment_id(self, message: RetryPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(self, work: UnitOfWork, request: Request, message: RetryPaymentRequest) -> RetryPaymentResponse:
        """Charge what is scheduled, or see that the payer has an open attempt of the kind that is asked for."""
        if _is_of_charge(work.plan, request, message):
            return await self._charge(work, request)
        async with self._attempts.changing(work):
            await self._offer(work, request, message)
        session = await self._sessions.of(work)
        return RetryPaymentResponse(payment=session.payment, session=session)

    async def _charge(self, work: UnitOfWork, request: Request) -> RetryPaymentResponse:
        """Charge the kept method now, in place of the plan's next try, or carry on what was begun for this request."""
        plan = work.plan
        if plan.course.tried_for != request.derived_id or charge_plan.is_trying(plan):
            await self._charging.charge(work, request=request)
            await self._outbox.try_flush_outbox(work)
        answer = RetryPaymentResponse(payment=await self._outbox.payment(work))
        if is_payers_turn(answer.payment):
            answer.session.CopyFrom(await self._sessions.of(work))
        return answer

    async def _offer(self, work: UnitOfWork, request: Request, message: RetryPaymentRequest) -> None:
        """Offer the payer an attempt: the one that is open where it is of that kind, else another."""
        wanted = collection(message.collection) if message.collection else None  # unspecified leaves it
        change = await self._attempts.look(work, point="retry", collection=wanted)
        if wanted is not None:
            work.plan.course = replace(work.plan.course, collection=wanted)
        await work.save("retry.begin", request=request)
        work.keep_alive()
        await self._attempts.renew(work, change, request, point="retry")

    def redact(self, answer: RetryPaymentResponse) -> None:
        """Take out what only the payer may have."""
        redact(answer.session)

    async def refresh(self, request: Request, message: RetryPaymentRequest, answer: RetryPaymentResponse) -> None:
        """Fetch it anew, where the payer may still need it."""
        await self._sessions.refresh(answer.session)


def _is_of_charge(plan: Plan, request: Request, message: RetryPaymentRequest) -> bool:
    """Whether a payment waits for its charge alone, or the request began a try of it before."""
    is_planned = plan.latest_snapshot.collection is State.SCHEDULED and plan.course.charge_time is not None
    is_as_it_is = not message.collection or collection(message.collection) is plan.collection
    return plan.course.tried_for == request.derived_id or (is_planned and is_as_it_is)
