"""While a warning of fraud or a review is open, nothing is charged or captured by itself."""

from __future__ import annotations

from services.orchestrator.due_steps.look import look
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork


async def waits(work: UnitOfWork, peers: Peers) -> bool:
    """Whether a step waits; then it is looked at again later. What is over by now is seen at once."""
    if not work.plan.course.is_held_back:
        return False
    await look(work, peers)
    return work.plan.course.is_held_back
