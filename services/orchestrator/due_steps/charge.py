"""CHARGE: a scheduled payment is charged with the kept method, without its payer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar

from services.orchestrator.charging import Charging
from services.orchestrator.domain import charge_plan
from services.orchestrator.domain.plan import NextStep
from services.orchestrator.due_steps.due_step import DueStep
from services.orchestrator.due_steps.held_back import waits
from services.orchestrator.peers import Peers
from services.orchestrator.unit_of_work import UnitOfWork
from services.shared.states import State


class Charge(DueStep):
    """Charges what is due, at most once: the try of a process that died is carried on."""

    step: ClassVar[NextStep] = NextStep.CHARGE

    def __init__(self, charging: Charging, peers: Peers, *, now: Callable[[], datetime]) -> None:
        self._charging = charging
        self._peers = peers
        self._now = now

    async def take(self, work: UnitOfWork) -> None:
        """Charge it if that is still what it waits for; else plan what is done instead."""
        plan = work.plan
        if not charge_plan.is_trying(plan) and await waits(work, self._peers):
            return
        is_waiting = plan.latest_snapshot.collection is State.SCHEDULED
        if is_waiting and plan.course.charge_time is None:
            await self._charging.give_up(work)  # the last try was refused by a process that died over this
        elif charge_plan.is_trying(plan) or (is_waiting and self._is_time(plan.course.charge_time)):
            await self._charging.charge(work)
        work.plan_next()

    def _is_time(self, charge_time: datetime | None) -> bool:
        return charge_time is not None and charge_time <= self._now()
