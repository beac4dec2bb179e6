"""RELEASE: a hold that nobody captured is released before it lapses, as its caller asked for."""

from __future__ import annotations

from typing import ClassVar

from services.orchestrator.captures import Captures
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.due_steps.look import look
from services.orchestrator.peers import Peers
from services.orchestrator.steps import Steps
from services.orchestrator.unit_of_work import UnitOfWork
from services.shared.states import State


class Release(DueStep):
    """Releases what is held: the payment is EXPIRED, or has SUCCEEDED with what was captured of it before."""

    step: ClassVar[NextStep] = NextStep.RELEASE

    def __init__(self, captures: Captures, steps: Steps, peers: Peers) -> None:
        self._captures = captures
        self._steps = steps
        self._peers = peers

    async def take(self, work: UnitOfWork) -> None:
        """Cancel the attempt, unless a capture came first."""
        await self._captures.settle(work)
        if work.plan.latest_snapshot.collection is State.AUTHORIZED:
            await self._steps.cancel(work, cancel_outcome=State.EXPIRED, reason="ABANDONED")
        elif work.plan.next_step is self.step:
            await look(work, self._peers)
