"""Charges of scheduled payments, without their payers: each try is decided and saved before Stripe is asked for it.

The lease of the payment lets one process try at a time, whoever wants it: the plan, since its time has come, or a
caller's `RetryPayment`. What a process that dies right there leaves:

1. before the intent is created: a payment that is due, as before;
2. after that, before the try is saved: the same; asked again under the same id, the gateway answers with the same;
3. after the try is saved (`charge.begin`), before the confirm: PROCESSING with reason `SUBMITTED`, and which try it is;
   whoever comes next confirms under the id of that try. A cancel that comes first has the gateway cancel the intent;
4. after the confirm, before its outcome is saved: the same; the gateway answers from its row what came of it;
5. after that: nothing of it is left to do.

An outcome that Stripe does not say is PROCESSING with reason `OUTCOME_UNKNOWN`. The gateway settles it and delivers
what it learns; until then no other try is begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from services.errors import PeerUnavailable, ServiceError
from services.orchestrator.domain import charge_plan, transitions
from services.orchestrator.domain.errors import BookingNotPayable, PaymentState
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.plan import NextStep, Plan, Request
from services.orchestrator.peers import Peers
from services.orchestrator.peers.refusals import (
    ATTEMPT_OPEN,
    INTENT_STATE,
    REQUEST_ID_REUSED,
    STRIPE_REFUSED,
    is_of_the_method,
)
from services.orchestrator.steps import Steps
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points
from services.shared.refusals import Refusal
from services.shared.states import AttemptKind, State

_logger = logging.getLogger(__name__)


class Charging:
    """Charges kept methods."""

    def __init__(self, steps: Steps, outbox: TransitionOutbox, peers: Peers, *, now: Callable[[], datetime]) -> None:
        self._steps = steps
        self._outbox = outbox
        self._peers = peers
        self._now = now

    async def charge(self, work: UnitOfWork, *, request: Request | None = None) -> None:
        """Carry on the try that was begun, or begin the next; apply what comes of it and plan what follows.

        `request` is the caller's that wants it, which is marked as calling with the try. Raises `PaymentState` where no
        method was kept: nothing is asked of Stripe then.
        """
        plan = work.plan
        if not plan.course.kept_method_id:
            raise PaymentState(state=plan.latest_snapshot.state)
        if not charge_plan.is_trying(plan):
            if not (await self._is_payable(work, request) and await self._has_intent(work, request)):
                return
            await self._begin(work, request)
        which = _which(plan)
        confirming = self._peers.gateway.confirm_intent(
            plan,
            request_id=str(derived_id(plan.payment_id, f"charge:{which}")),
            payment_method_id=plan.course.kept_method_id,
            confirmation_token_id="",
            return_url=plan.return_url,
            send_before_time=None,
            off_session=True,
        )
        try:
            async with self._outbox.flushing(work):
                answer = await crash_points.call("charge.gateway", confirming)
        except Refusal as refusal:
            await self._refused(work, refusal, which)
        else:
            work.settle(answer.observation, f"step:charge_settled:{which}")
        work.plan_next()

    async def give_up(self, work: UnitOfWork) -> None:
        """Let go of a payment that Stripe refuses to charge for reasons that are not its payer's: it has failed."""
        await self._steps.cancel(work, cancel_outcome=State.FAILED, reason="REQUESTED")

    async def _is_payable(self, work: UnitOfWork, request: Request | None) -> bool:
        """Ask the platform whether the bookings may still be paid for. A caller hears it; a plan is put off by it."""
        try:
            await self._peers.bookings.check_payable(work.plan)
        except BookingNotPayable as refusal:
            if request is not None:
                raise
            await self._put_off_untried(work, refusal, None)
            return False
        return True

    async def _has_intent(self, work: UnitOfWork, request: Request | None) -> bool:
        """Have the gateway create the intent of the charge, once; return whether it did."""
        plan = work.plan
        if plan.attempt_kind is AttemptKind.INTENT:
            return True
        try:
            await crash_points.call("charge.create", self._peers.gateway.create_intent(plan, None))
        except Refusal as refusal:
            if refusal.reason in (ATTEMPT_OPEN, REQUEST_ID_REUSED):
                await self._look(work)
                return True
            await self._put_off_untried(work, refusal, request)
            return False
        plan.attempt, plan.attempt_kind = plan.attempt + 1, AttemptKind.INTENT
        return True

    async def _look(self, work: UnitOfWork) -> None:
        """Find the intent that a holder who died asked for in other words, such as without a booking of today."""
        plan = work.plan
        work.apply((await crash_points.call("charge.look", self._peers.gateway.intent(plan.payment_id))).observation)
        if plan.attempt_kind is not AttemptKind.INTENT:
            raise PeerUnavailable(dependency="gateway")

    async def _begin(self, work: UnitOfWork, request: Request | None) -> None:
        plan = work.plan
        plan.course = charge_plan.begun(plan, self._now(), request=request)
        charging = transitions.charging(plan.latest_snapshot, attempt=plan.attempt)
        work.enqueue(charging, f"step:charge:{_which(plan)}")
        plan.next_step, plan.next_time = NextStep.CHARGE, self._now()  # whoever comes next carries it on
        await work.save("charge.begin", request=request)

    async def _refused(self, work: UnitOfWork, refusal: Refusal, which: str) -> None:
        """Take a try back that no bank saw. What was heard of the payment meanwhile holds instead."""
        plan = work.plan
        if refusal.reason == INTENT_STATE or not plan.latest_snapshot.is_unheard:
            sync = self._peers.gateway.sync_intent(plan.payment_id)
            observation = (await crash_points.call("charge.sync", sync)).observation
            work.settle(observation, f"step:charge_settled:{which}")
        elif is_of_the_method(refusal):  # it was detached, or its customer is gone: it is not charged without a setup
            plan.course = charge_plan.turned(plan.course, self._now())
            refused = transitions.method_refused(plan.latest_snapshot, _code(refusal))
            work.enqueue(refused, f"step:charge_method_refused:{which}")
        else:
            await self._put_off(work, refusal, which, None)

    async def _put_off_untried(self, work: UnitOfWork, refusal: ServiceError, request: Request | None) -> None:
        """Put a try off that came to nothing before it was begun; it counts as one."""
        work.plan.course = charge_plan.begun(work.plan, self._now(), request=request)
        await self._put_off(work, refusal, _which(work.plan), request)

    async def _put_off(self, work: UnitOfWork, refusal: ServiceError, which: str, request: Request | None) -> None:
        """Have an operator see why nothing can be charged, such as a disabled seller, and try again by the plan."""
        plan = work.plan
        _logger.warning("%s is not charged: %s %s", plan.payment_id, refusal.reason, refusal.metadata)
        charge_time = plan.course.charge_time
        refused = transitions.charge_refused(plan.latest_snapshot, _code(refusal), charge_time=charge_time)
        work.enqueue(refused, f"step:charge_refused:{which}")
        work.plan_next()
        await work.save("charge.refused", request=request)
        if charge_time is None:
            await self.give_up(work)


def _which(plan: Plan) -> str:
    """Name a try: of which attempt, and which of its tries."""
    return f"{plan.attempt}:{plan.course.charge_tries}"


def _code(refusal: ServiceError) -> str:
    code = refusal.metadata.get("code") if refusal.reason == STRIPE_REFUSED else None
    return str(code or refusal.reason.lower())
