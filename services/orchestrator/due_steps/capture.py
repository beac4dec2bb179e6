"""CAPTURE: what is held is captured at the time that its caller gave."""

from __future__ import annotations

from typing import ClassVar

from services.errors import PeerUnavailable
from services.orchestrator.captures import Captures, decided
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.due_steps.held_back import waits
from services.orchestrator.due_steps.look import look
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork
from services.shared.refusals import Refusal
from services.shared.states import State


class Capture(DueStep):
    """Captures the rest of a hold."""

    step: ClassVar[NextStep] = NextStep.CAPTURE

    def __init__(self, captures: Captures, peers: Peers) -> None:
        self._captures = captures
        self._peers = peers

    async def take(self, work: UnitOfWork) -> None:
        """Capture all that is still held, at most once: the try of a process that died is carried on first.

        What Stripe refuses is tried on, each time as a capture of its own: what stood in its way may be mended while it
        is held. An operator is needed meanwhile, as for all that does not move.
        """
        plan = work.plan
        await self._captures.settle(work)
        if plan.latest_snapshot.collection is not State.AUTHORIZED:
            if plan.next_step is self.step:
                await look(work, self._peers)
            return
        if await waits(work, self._peers):
            return
        fact = f"step:capture:{plan.attempt}:{plan.mirror_version}:{plan.failures}"
        request_id = str(derived_id(plan.payment_id, fact))
        capture = decided(plan, request_id=request_id, is_final=True, is_of_plan=True)
        await self._captures.begin(work, capture)
        try:
            await self._captures.make(work, capture)
        except Refusal as refusal:
            if plan.latest_snapshot.collection is State.AUTHORIZED:
                raise PeerUnavailable(dependency="gateway") from refusal
