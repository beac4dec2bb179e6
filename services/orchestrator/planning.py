"""What a held plan does next by itself, and when: its times are set here, by the rules of `domain.agenda`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from services.orchestrator.domain import agenda, fraud_warnings, policies, surplus
from services.orchestrator.domain.payment import EXPIRABLE
from services.orchestrator.domain.plan import DueFor, NextStep, Plan, Stage


class Planning:
    """A held plan, and how long its payer is waited for."""

    def __init__(self, plan: Plan, *, abandoned_after: timedelta, now: Callable[[], datetime]) -> None:
        self.plan = plan
        self._abandoned_after = abandoned_after
        self._now = now

    @property
    def is_late(self) -> bool:
        """Whether the time of the plan's next step has come."""
        return self.plan.next_time is not None and self.plan.next_time <= self._now()

    @property
    def is_given_up(self) -> bool:
        """Whether no further method of the payer's is taken."""
        return policies.is_given_up(self.plan.latest_snapshot, tries_of_plan=self.plan.course.charge_tries)

    def end(self) -> None:
        """Collect nothing any more."""
        self.plan.stage, self.plan.next_step, self.plan.next_time = Stage.ENDED, None, None

    def keep_alive(self) -> None:
        """Wait for the payer anew: they gave a sign of life, or the turn came back to them."""
        plan = self.plan
        if plan.next_step is NextStep.EXPIRE:
            until = agenda.waiting_ends(plan, self._abandoned_after, self._now())
            plan.next_time = until if plan.next_time is None else max(plan.next_time, until)

    def look_again(self) -> None:
        """Leave what is planned as it is, and come back to it later: what is to be known before is not known yet."""
        self.plan.next_time = self._now() + policies.LOOK_AGAIN_AFTER

    def preserve(self, window: timedelta, *, reason: str) -> datetime:
        """Wait for the payer for so long at least, and return until when."""
        plan = self.plan
        until = agenda.preserved_until(plan, window, self._abandoned_after, self._now())
        plan.course = replace(plan.course, preserve_time=until, preserve_reason=reason)
        if plan.next_step is NextStep.EXPIRE and plan.next_time is not None:
            plan.next_time = max(plan.next_time, until)
        return until

    def page_ends(self) -> datetime | None:
        """Return when a hosted page that is made now ends by itself; None for Stripe's own time."""
        life = self.plan.terms.checkout_expires_after
        return None if life is None else self._now() + life

    def plan_next(self) -> None:
        """Plan what is done by itself, as the collection stands now. A payer who is waited for is not waited less."""
        plan = self.plan
        due = agenda.appointment(plan, abandoned_after=self._abandoned_after, now=self._now())
        if due is None:
            return
        is_longer = due.step is NextStep.EXPIRE is plan.next_step and plan.next_time is not None
        plan.next_time = max(due.time, plan.next_time) if is_longer and plan.next_time is not None else due.time
        plan.next_step = due.step

    def due(self, *, has_pending: bool) -> tuple[datetime | None, DueFor]:
        """Return when a payment that is released in order is due again, and what for."""
        plan = self.plan
        if has_pending:
            return self._now() + policies.RETRY_FIRST, DueFor.MONEY
        # Whoever held it did not come to tell an operator, to say that it moves again, or to put another attempt right.
        is_unsaid = plan.rejected or plan.quote_problem is not None or plan.latest_snapshot.is_stuck
        if is_unsaid or surplus.is_due(plan) or fraud_warnings.is_due(plan):
            return self._now(), DueFor.MONEY
        if plan.stage is not Stage.COLLECTING or plan.next_time is None:
            return None, DueFor.MONEY
        if self.is_given_up:
            return self._now(), DueFor.MONEY
        # While it is not the payer's turn, what it comes to will be delivered.
        if plan.next_step is NextStep.EXPIRE and plan.latest_snapshot.collection not in EXPIRABLE:
            return max(plan.next_time, self._now()) + policies.LOOK_AGAIN_AFTER, DueFor.EXPIRY
        return plan.next_time, agenda.DUE_FOR[plan.next_step] if plan.next_step else DueFor.MONEY
