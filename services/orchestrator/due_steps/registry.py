"""All steps that plans take by themselves."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from services.orchestrator.captures import Captures
from services.orchestrator.charging import Charging
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.capture import Capture
from services.orchestrator.due_steps.charge import Charge
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.due_steps.expire import Expire
from services.orchestrator.due_steps.look import Look
from services.orchestrator.due_steps.release import Release
from services.orchestrator.due_steps.warn_hold import WarnHold
from services.orchestrator.peers import Peers
from services.orchestrator.steps import Steps
from services.orchestrator.unit_of_work import UnitOfWork


class DueSteps:
    """Takes the step whose time has come."""

    def __init__(self, *steps: DueStep) -> None:
        self._steps: dict[NextStep | None, DueStep] = {one.step: one for one in steps}

    async def take(self, work: UnitOfWork) -> None:
        """Take a held payment's next step if it is due; what that plans is due in its own time."""
        step = self._steps.get(work.plan.next_step)
        if step is not None and step.is_due(work):
            await step.take(work)


def all_due_steps(
    steps: Steps, captures: Captures, charging: Charging, peers: Peers, *, now: Callable[[], datetime]
) -> DueSteps:
    """Return the steps of this service."""
    return DueSteps(
        Expire(steps, peers),
        Capture(captures, peers),
        WarnHold(peers),
        Release(captures, steps, peers),
        Look(peers),
        Charge(charging, peers, now=now),
    )
