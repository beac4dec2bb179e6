"""WARN_HOLD: an operator hears a day before that a hold lapses which nobody is going to capture or release."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from services.orchestrator.domain import transitions
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.due_steps.look import look
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork
from services.shared.states import State


class WarnHold(DueStep):
    """Says of a payment that its hold is about to lapse; that goes once nothing is held any more."""

    step: ClassVar[NextStep] = NextStep.WARN_HOLD

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def take(self, work: UnitOfWork) -> None:
        """Say it once for each end of the hold."""
        plan, latest = work.plan, work.plan.latest_snapshot
        if latest.collection is not State.AUTHORIZED:
            await look(work, self._peers)
            return
        end = plan.course.hold_expire_time
        work.enqueue(transitions.hold_lapses(latest), f"step:hold_lapses:{plan.attempt}:{end}")
        plan.course = replace(plan.course, hold_warned=True)
        work.plan_next()
