"""EXPIRE: what its payer abandoned ends, and what is declined for good is given up."""

from __future__ import annotations

from typing import ClassVar

from services.orchestrator.domain.payment import EXPIRABLE
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.peers import Peers
from services.orchestrator.steps import Steps
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points
from services.shared.states import State


class Expire(DueStep):
    """Expires what its payer abandoned, and looks again at what takes too long."""

    step: ClassVar[NextStep] = NextStep.EXPIRE

    def __init__(self, steps: Steps, peers: Peers) -> None:
        self._steps = steps
        self._peers = peers

    def is_due(self, work: UnitOfWork) -> bool:
        """Whether the payer's time is up, or no method of theirs is taken any more."""
        return work.is_late or work.is_given_up

    async def take(self, work: UnitOfWork) -> None:
        """Cancel the attempt and with it the payment; never while Stripe or a bank decides."""
        plan = work.plan
        if plan.latest_snapshot.collection not in EXPIRABLE:
            sync = self._peers.gateway.sync_intent(plan.payment_id)
            work.apply((await crash_points.call("late.sync", sync)).observation)
        elif work.is_given_up:
            await self._steps.cancel(work, cancel_outcome=State.FAILED, reason="FRAUDULENT")
        else:
            await self._steps.cancel(work, cancel_outcome=State.EXPIRED, reason="ABANDONED")
