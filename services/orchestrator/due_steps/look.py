"""LOOK: what should be over at Stripe by now is read there, until Stripe says that it is."""

from __future__ import annotations

from typing import ClassVar

from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork
from services.runtime import crash_points


class Look(DueStep):
    """Reads a hold again that should have lapsed; nothing is concluded from the time."""

    step: ClassVar[NextStep] = NextStep.LOOK

    def __init__(self, peers: Peers) -> None:
        self._peers = peers

    async def take(self, work: UnitOfWork) -> None:
        """Read it, and come back later where it still stands."""
        await look(work, self._peers)


async def look(work: UnitOfWork, peers: Peers) -> None:
    """Read a payment at Stripe. What follows from it plans anew; where nothing does, it is looked at again later."""
    work.look_again()
    sync = peers.gateway.sync_intent(work.plan.payment_id)
    work.apply((await crash_points.call("look.sync", sync)).observation)
