"""ReschedulePayment: a scheduled payment is charged at another time, until its charge has begun."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from batzen.orchestrator.v1.orchestrator_pb2 import ReschedulePaymentRequest, ReschedulePaymentResponse
from services.errors import FieldInvalid
from services.orchestrator.commands.command import Command
from services.orchestrator.domain import transitions
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.errors import PaymentState
from services.orchestrator.domain.plan import Plan, Request, RequestKey
from services.orchestrator.domain.terms import DEFAULT_ZONE
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire import charge_times
from services.shared import fields
from services.shared.states import State


class ReschedulePayment(Command[ReschedulePaymentRequest, ReschedulePaymentResponse]):
    """Plans the charge of a payment anew; its price stands."""

    request_type = ReschedulePaymentRequest
    response_type = ReschedulePaymentResponse
    kept_fields: ClassVar[tuple[str, ...]] = ("charge_time", "charge_local_time")

    def __init__(self, outbox: TransitionOutbox, *, now: Callable[[], datetime]) -> None:
        self._outbox = outbox
        self._now = now

    def validate(self, message: ReschedulePaymentRequest) -> None:
        """Refuse what names no payment, or no time."""
        fields.payment_id(message.payment_id)
        charge_times.planned(message, Course(), time_zone=DEFAULT_ZONE)

    def payment_id(self, message: ReschedulePaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def perform(
        self, work: UnitOfWork, request: Request, message: ReschedulePaymentRequest
    ) -> ReschedulePaymentResponse:
        """Plan the charge for the new time. A try that was begun goes first: then there is none to be moved."""
        if not request.calling:
            await self._reschedule(work, request, message)
        await self._outbox.try_flush_outbox(work)
        return ReschedulePaymentResponse(payment=await self._outbox.payment(work))

    async def _reschedule(self, work: UnitOfWork, request: Request, message: ReschedulePaymentRequest) -> None:
        plan = work.plan
        if not is_movable(plan):
            raise PaymentState(state=plan.latest_snapshot.state)
        course = charge_times.planned(message, plan.course, time_zone=plan.terms.time_zone)
        if (problem := self._problem(plan, course, message)) is not None:
            raise problem
        plan.course = course
        if course.charge_time is not None:
            rescheduled = transitions.rescheduled(plan.latest_snapshot, course.charge_time)
            work.enqueue(rescheduled, f"step:reschedule:{request.derived_id}")
        work.plan_next()
        await work.save("reschedule.begin", request=request)

    def _problem(self, plan: Plan, course: Course, message: ReschedulePaymentRequest) -> FieldInvalid | None:
        is_local = bool(message.charge_local_time)
        return charge_times.untimely(course, is_local=is_local, start_time=plan.create_time, now=self._now())


def is_movable(plan: Plan) -> bool:
    """Whether a charge is planned of which no try was begun."""
    return plan.latest_snapshot.collection is State.SCHEDULED and plan.course.charge_tries == 0
