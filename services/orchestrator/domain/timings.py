"""When the money of a payment is taken, where its payer may choose that. Pure.

A choice is made between two attempts: the one of the old timing is over at Stripe, and none of the new one was asked
for. So what is open is of the timing that the terms say, but for one case: somebody who died, or was overtaken, may
have asked for an attempt of the timing before, and it may come to be late. It has the next number. Whoever cannot rule
that out says that attempts count from the number after it on, and only the answer to an attempt that was asked for with
the new timing takes that back. What was not proven so is not shown, submitted or kept: it is made anew.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from services.orchestrator.domain import charge_plan, local_time
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.payment import EXPIRABLE
from services.orchestrator.domain.plan import Plan, Stage
from services.orchestrator.domain.terms import Terms, Timing


def open_to(plan: Plan) -> tuple[Timing, ...]:
    """Return the timings that the payer may choose among now; none where they have no choice, or not any more.

    Once a method was kept to be charged later they have chosen, also where the turn comes back to them.
    """
    has_kept = plan.course.kept_method_id or plan.course.charge_tries
    is_turn = plan.stage is Stage.COLLECTING and plan.latest_snapshot.collection in EXPIRABLE
    return plan.terms.timings_offered if is_turn and not has_kept else ()


def charge_planned(terms: Terms, course: Course) -> Course:
    """Return the course of a payment that is charged when its terms say; a local time by the rules of today."""
    where = charge_plan.zone_named(terms.time_zone)
    local = local_time.local_time(terms.charge_local_time)
    if local is not None:
        return charge_plan.planned_local(course, local, where)
    if terms.charge_time is None:
        return course
    return charge_plan.planned(course, terms.charge_time.replace(microsecond=0), where)


def begun(terms: Terms) -> Course:
    """Return the course that a payment of these terms begins with."""
    return _course(terms, Course())


def charge_time(terms: Terms) -> datetime | None:
    """Return when a payment would be charged if it were scheduled; None where its terms name no time."""
    return charge_planned(terms, Course()).charge_time


def is_over(terms: Terms, timing: Timing, now: datetime) -> bool:
    """Whether the time has passed at which the money would move by itself with a timing."""
    if timing is Timing.SCHEDULED:
        at = charge_time(terms)
        return at is not None and at < now - charge_plan.PAST_MAX
    return timing is Timing.MANUAL_CAPTURE and terms.capture_time is not None and terms.capture_time <= now


def chosen(plan: Plan, timing: Timing, *, now: datetime) -> tuple[Terms, Course]:
    """Return terms and course once a payer has chosen, of a plan that has no attempt that is open."""
    terms = replace(plan.terms, timing=timing, timing_time=now, timing_attempt=plan.attempt + 2)
    return terms, _course(terms, plan.course)


def asked(terms: Terms, accept_time: datetime | None) -> Terms:
    """Return the terms once a choice begins to be carried out: what was asked for before it is none any more."""
    return replace(terms, timing_asked_time=accept_time) if terms.timings_offered else terms


def is_overruled(terms: Terms, accept_time: datetime | None) -> bool:
    """Whether the payer has chosen anew since a choice was asked for, so that it is not carried out any more."""
    last = terms.timing_asked_time
    return last is not None and accept_time is not None and accept_time < last


def proven(plan: Plan) -> Terms:
    """Return the terms once the current attempt was answered as one that was asked for with the plan's timing."""
    terms = plan.terms
    if terms.timing_time is None or terms.timing_attempt <= plan.attempt:
        return terms
    return replace(terms, timing_attempt=plan.attempt)


def is_proven(plan: Plan) -> bool:
    """Whether the current attempt is known to be of the plan's timing. A charge of what was kept always is."""
    is_charge = bool(plan.course.kept_method_id)
    return plan.terms.timing_time is None or is_charge or plan.attempt >= plan.terms.timing_attempt


def _course(terms: Terms, course: Course) -> Course:
    if terms.timing is Timing.SCHEDULED:
        return charge_planned(terms, course)
    return replace(course, charge_time=None, charge_wall_time="")
