"""ResumePayment: picks an unfinished payment up again, with what its payer needs to go on."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import ResumePaymentRequest, ResumePaymentResponse
from services.orchestrator.attempts import Attempts
from services.orchestrator.commands.command import Command
from services.orchestrator.domain import timings
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.domain.recovery import Interruption, interruption
from services.orchestrator.sessions import PaymentSessions, redact
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.responses import for_payer
from services.orchestrator.wire.terms import check_collection, check_timing, collection, timing
from services.shared import fields
from services.wire import money


class ResumePayment(Command[ResumePaymentRequest, ResumePaymentResponse]):
    """Lets a payer go on.

    A choice of a timing that met an outage may be carried on after the payer has chosen anew: the newer one stands, and
    the older is answered as the payment is.
    """

    request_type = ResumePaymentRequest
    response_type = ResumePaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = ("collection", "timing")

    def __init__(self, attempts: Attempts, sessions: PaymentSessions) -> None:
        self._attempts = attempts
        self._sessions = sessions

    def validate(self, message: ResumePaymentRequest) -> None:
        """Refuse what names no payment, or a way to collect or a timing that there is not."""
        fields.payment_id(message.payment_id)
        if message.collection:  # unspecified leaves it
            check_collection(message.collection)
        check_timing(message.timing)

    def payment_id(self, message: ResumePaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(self, work: UnitOfWork, request: Request, message: ResumePaymentRequest) -> ResumePaymentResponse:
        """See that there is an open attempt of the timing and at the price that hold; only a submit takes something."""
        plan = work.plan
        wanted = collection(message.collection) if message.collection else None
        is_choice = message.timing and not timings.is_overruled(plan.terms, request.accept_time)
        chosen = timing(message.timing) if is_choice else None
        async with self._attempts.changing(work):
            change = await self._attempts.look(work, point="resume", collection=wanted, timing=chosen)
            if chosen is not None:
                plan.terms = timings.asked(plan.terms, request.accept_time)
            if wanted is not None:
                plan.course = replace(plan.course, collection=wanted)
            if not request.calling:
                interrupted = interruption(plan.latest_snapshot, is_preserved=plan.course.preserve_time is not None)
                recovered_from = Interruption.PRICE_CHANGED if change.is_new_price else interrupted
                work.resume(recovered_from, fact=f"step:resume:{request.derived_id}")
                await work.save("resume.begin", request=request)
            await self._attempts.renew(work, change, request, point="resume", timing=chosen)
        response = ResumePaymentResponse(session=await self._sessions.of(work))
        _fill_price(response, plan, request)
        return response

    def for_payer(self, answer: ResumePaymentResponse) -> ResumePaymentResponse:
        """Hide of the quote what is not the payer's."""
        shown = ResumePaymentResponse()
        shown.CopyFrom(answer)
        shown.session.quote.CopyFrom(for_payer(answer.session.quote))
        return shown

    def redact(self, answer: ResumePaymentResponse) -> None:
        """Take out what only the payer may have."""
        redact(answer.session)

    async def refresh(self, request: Request, message: ResumePaymentRequest, answer: ResumePaymentResponse) -> None:
        """Fetch it anew, where the payer may still need it."""
        await self._sessions.refresh(answer.session)


def _fill_price(response: ResumePaymentResponse, plan: Plan, request: Request) -> None:
    """Say what it costs, and what it did before this request."""
    now_minor, currency = plan.total_minor or 0, plan.currency_code or ""
    before_minor = plan.course.total_before_minor if plan.course.priced_by == request.derived_id else now_minor
    response.price_changed = before_minor != now_minor
    response.total_before.CopyFrom(money(before_minor, currency))
    response.total_now.CopyFrom(money(now_minor, currency))
