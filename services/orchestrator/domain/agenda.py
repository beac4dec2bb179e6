"""What a plan does by itself when its time comes: one table, by where the collection stands. Pure.

A collection that is not in the table waits for others, and keeps what was planned before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.orchestrator.domain.payment import EXPIRABLE
from services.orchestrator.domain.plan import DueFor, NextStep, Plan, Stage
from services.orchestrator.domain.policies import (
    LOOK_AGAIN_AFTER,
    PRESERVE_MAX,
    RELEASE_BEFORE_LAPSE,
    WARN_HOLD_BEFORE,
    life_max,
)
from services.shared.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Appointment:
    """What is due, and when."""

    step: NextStep
    time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """The payments that wait for one step of their plans."""

    payments: int
    first_time: datetime
    """When the earliest is due."""


WATCHED: Final = (NextStep.CHARGE, NextStep.CAPTURE, NextStep.RELEASE, NextStep.WARN_HOLD)
"""The steps that move money, or tell of it, and that people watch. The index of planned steps has these alone."""


def waiting_ends(plan: Plan, abandoned_after: timedelta, now: datetime) -> datetime:
    """Return how long the payer of a plan is waited for if they give a sign of life now.

    What they asked to be waited for counts beside that; nobody is waited for beyond the life of a turn.
    """
    begin = plan.course.turn_time or plan.create_time
    until = min(now + abandoned_after, begin + life_max(abandoned_after))
    return max(until, plan.course.preserve_time) if plan.course.preserve_time else until


def preserved_until(plan: Plan, window: timedelta, abandoned_after: timedelta, now: datetime) -> datetime:
    """Return until when a plan is kept for a payer who asks for `window`: not less than was promised before.

    However often that is asked, nobody is waited for longer than a window beyond the life of a turn.
    """
    begin = plan.course.turn_time or plan.create_time
    until = min(now + window, begin + life_max(abandoned_after) + PRESERVE_MAX)
    return max(until, plan.course.preserve_time) if plan.course.preserve_time else until


def _expiry(plan: Plan, abandoned_after: timedelta, now: datetime) -> Appointment:
    return Appointment(step=NextStep.EXPIRE, time=waiting_ends(plan, abandoned_after, now))


def _hold(plan: Plan, _: timedelta, now: datetime) -> Appointment:
    """Return what is done with a hold: captured when its caller said so, else released or warned of before it lapses.

    When it lapses is what Stripe says. After that it is read until Stripe says what became of it. A hold that came
    after the payment had ended is captured by nobody but an operator, also once its attention was taken off.
    """
    lapse, capture_time = plan.course.hold_expire_time, plan.terms.capture_time
    if capture_time is not None and not plan.came_late and (lapse is None or capture_time < lapse):
        return Appointment(step=NextStep.CAPTURE, time=capture_time)
    if lapse is None or lapse <= now:
        return Appointment(step=NextStep.LOOK, time=now + LOOK_AGAIN_AFTER)
    if plan.terms.release_before_lapse:
        return Appointment(step=NextStep.RELEASE, time=lapse - RELEASE_BEFORE_LAPSE)
    if not plan.course.hold_warned:
        return Appointment(step=NextStep.WARN_HOLD, time=lapse - WARN_HOLD_BEFORE)
    return Appointment(step=NextStep.LOOK, time=lapse)


DUE_FOR: Final[Mapping[NextStep, DueFor]] = {
    NextStep.GIVE_UP_START: DueFor.MONEY,
    NextStep.EXPIRE: DueFor.EXPIRY,
    NextStep.CHARGE: DueFor.MONEY,
    NextStep.CAPTURE: DueFor.MONEY,
    NextStep.RELEASE: DueFor.MONEY,
    NextStep.WARN_HOLD: DueFor.EXPIRY,
    NextStep.LOOK: DueFor.EXPIRY,
}
"""What a payment is due for when its next step is: nobody waits for an EXPIRY."""


def _charge(plan: Plan, _: timedelta, now: datetime) -> Appointment:
    return Appointment(step=NextStep.CHARGE, time=plan.course.charge_time or now)


def _processing(plan: Plan, abandoned_after: timedelta, now: datetime) -> Appointment | None:
    """Keep what was planned, so that a charge that was begun is carried on; one that is with Stripe is read later."""
    if plan.next_step is NextStep.CHARGE and not plan.latest_snapshot.is_unheard:
        return Appointment(step=NextStep.LOOK, time=now + abandoned_after)
    return _as_planned(plan)


def _as_planned(plan: Plan) -> Appointment | None:
    if plan.next_step is None or plan.next_time is None:
        return None
    return Appointment(step=plan.next_step, time=plan.next_time)


Rule = Callable[[Plan, timedelta, datetime], Appointment | None]
RULES: Final[Mapping[State, Rule]] = {
    **dict.fromkeys(EXPIRABLE, _expiry),
    State.SCHEDULED: _charge,
    State.PROCESSING: _processing,
    State.AUTHORIZED: _hold,
}
"""Where the collection stands → what is planned as it comes to stand there."""


def appointment(plan: Plan, *, abandoned_after: timedelta, now: datetime) -> Appointment | None:
    """Return what the plan does next by itself, of a plan whose collection just came to stand where it does."""
    if plan.stage is not Stage.COLLECTING:
        return None
    rule = RULES.get(plan.latest_snapshot.collection)
    return _as_planned(plan) if rule is None else rule(plan, abandoned_after, now)
