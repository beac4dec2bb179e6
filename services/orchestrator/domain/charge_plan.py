"""The charges of a scheduled payment: when each is tried, and how what is seen of one moves the payment. Pure.

A setup keeps the method, and the payment is SCHEDULED. The charge is another attempt, whose intent every try confirms.
Where nothing was kept there is no charge yet: an intent, or a page that takes money, is then of a timing that its payer
has given up, and came late.
A soft decline plans the next try, and the payment is SCHEDULED again, with the error. After the last, and after a
decline that no further try would change, it is the payer's turn: what is seen then means what it means of any payment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.orchestrator.domain import local_time
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.declines import DeclineClass, classify
from services.orchestrator.domain.payment import Observation
from services.orchestrator.domain.plan import Plan, Request
from services.orchestrator.domain.terms import DEFAULT_ZONE, Timing
from services.shared.states import AttemptKind, IntentState, State

AHEAD_MAX: Final = timedelta(days=366)
"""How long after its start a payment is charged at the latest: a year, also one with a 29 February."""
PAST_MAX: Final = timedelta(minutes=5)
"""How long ago a charge may be planned: clocks differ, and a caller takes its time. It is made at once then."""
RETRY_DAYS: Final = (1, 3, 5, 7)
"""Days after the first try on which a soft decline is tried again, at the same local time in the seller's zone."""
TRIES_MAX: Final = 1 + len(RETRY_DAYS)
"""Charges without the payer: the first, and four more. One that a caller asks for takes the place of the next."""
LASTS_MAX: Final = AHEAD_MAX + timedelta(days=max(RETRY_DAYS) + 1)
"""From the start to the last try; a day more, since a local time may be that of the next day elsewhere."""

WAITS: Final = frozenset({IntentState.REQUIRES_PAYMENT_METHOD, IntentState.REQUIRES_CONFIRMATION})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an observation means of a payment by its plan of charges."""

    course: Course
    collection: State | None = None
    """None where the state of the attempt says it, as of any payment."""
    is_nothing_new: bool = False
    """It shows what was before the try that is under way, of which nothing was heard yet."""

    @property
    def charge_time(self) -> datetime | None:
        """When the payment is charged next, if that is all it waits for."""
        return self.course.charge_time if self.collection is State.SCHEDULED else None


def planned(course: Course, charge_time: datetime, where: ZoneInfo) -> Course:
    """Return the course of a payment that is to be charged at an instant, before any try."""
    return replace(
        course, charge_time=charge_time, charge_wall_time=local_time.wall_time(charge_time, where).isoformat()
    )


def planned_local(course: Course, local: datetime, where: ZoneInfo) -> Course:
    """Return the same by a local time, which further tries keep also where the first day leaves it out."""
    wall_time = local.time().replace(microsecond=0).isoformat()
    return replace(course, charge_time=local_time.instant(local, where), charge_wall_time=wall_time)


def next_try(course: Course, where: ZoneInfo, now: datetime) -> datetime | None:
    """Return when a charge is tried once more after those that were begun; None if it is not."""
    if course.first_try_time is None or course.charge_tries >= TRIES_MAX:
        return None
    first_day = local_time.day_of(course.first_try_time, where)
    wall_time = time.fromisoformat(course.charge_wall_time)
    days = (datetime.combine(first_day + timedelta(days=one), wall_time) for one in RETRY_DAYS)
    return next((at for at in (local_time.instant(day, where) for day in days) if at > now), None)


def begun(plan: Plan, now: datetime, *, request: Request | None) -> Course:
    """Return the course once another try is begun, with when one more follows if this one is declined softly.

    `request` is the caller's that wants it, None for the plan.
    """
    course = replace(
        plan.course,
        charge_tries=plan.course.charge_tries + 1,
        first_try_time=plan.course.first_try_time or now,
        declines_before=plan.latest_snapshot.decline_count,
        tried_for="" if request is None else request.derived_id,
    )
    return replace(course, charge_time=next_try(course, zone_of(plan), now))


def turned(course: Course, now: datetime) -> Course:
    """Return the course once the turn is the payer's: nothing is tried by the plan any more."""
    return replace(course, turn_time=course.turn_time or now, charge_time=None)


def zone_of(plan: Plan) -> ZoneInfo:
    """Return the seller's zone."""
    return zone_named(plan.terms.time_zone)


def zone_named(name: str) -> ZoneInfo:
    """Return the zone of this name; one that the data had once and has no more counts as the default."""
    return local_time.zone(name) or ZoneInfo(DEFAULT_ZONE)


def is_charging(plan: Plan) -> bool:
    """Whether the current attempt is the charge, and the plan tries it by itself."""
    return _is_kept(plan) and plan.attempt_kind is AttemptKind.INTENT and plan.course.turn_time is None


def is_trying(plan: Plan) -> bool:
    """Whether a try was begun of which nothing was heard: it is carried on, and no other is begun."""
    return is_charging(plan) and plan.latest_snapshot.is_unheard


def read(plan: Plan, observation: Observation, *, now: datetime, is_answer: bool = False) -> Reading:
    """Return what an observation means; with `is_answer` it is what the try that is under way led to."""
    if observation.outcome_unknown:
        return Reading(course=plan.course)
    if observation.is_setup:
        return _of_setup(plan, observation)
    if not _is_kept(plan):
        return Reading(course=plan.course)
    if observation.intent_state in WAITS:
        return _of_charge(plan, observation, now=now, is_answer=is_answer)
    is_turn = observation.intent_state is IntentState.REQUIRES_ACTION
    return Reading(course=turned(plan.course, now) if is_turn else plan.course)


def _of_charge(plan: Plan, observation: Observation, *, now: datetime, is_answer: bool) -> Reading:
    """Return what it means that the charge waits for a method."""
    course, before = plan.course, plan.latest_snapshot
    decline = classify(observation.last_error, observation.advice_code)
    if is_trying(plan) and not is_answer and observation.decline_count <= course.declines_before:
        return Reading(course=course, is_nothing_new=True)
    if before.collection is State.SCHEDULED and observation.decline_count <= before.decline_count:
        return Reading(course=course, collection=State.SCHEDULED)  # between two tries
    if decline is DeclineClass.SOFT and course.turn_time is None:
        again = _again(plan, now)
        if again is not None:
            return Reading(course=replace(course, charge_time=again), collection=State.SCHEDULED)
    waits_for = State.REQUIRES_ACTION if decline is DeclineClass.AUTHENTICATE else State.REQUIRES_PAYMENT_METHOD
    return Reading(course=turned(course, now), collection=waits_for)


def _of_setup(plan: Plan, observation: Observation) -> Reading:
    """Return what it means how a setup stands. What it kept for a timing that was given up is charged by nobody."""
    course = plan.course
    if observation.intent_state is not IntentState.SUCCEEDED:
        return Reading(course=course)
    method_id = observation.method.payment_method_id if observation.method is not None else course.kept_method_id
    if plan.terms.timing is not Timing.SCHEDULED or not method_id:
        return Reading(course=course, collection=State.REQUIRES_PAYMENT_METHOD)
    return Reading(course=replace(course, kept_method_id=method_id), collection=State.SCHEDULED)


def _is_kept(plan: Plan) -> bool:
    """Whether there is what a plan of charges may charge."""
    return plan.terms.timing is Timing.SCHEDULED and bool(plan.course.kept_method_id)


def _again(plan: Plan, now: datetime) -> datetime | None:
    """Return when the plan tries again; where that passed while the outcome was not known, the next of its days."""
    planned_time = plan.course.charge_time
    if planned_time is not None and planned_time > now:
        return planned_time
    return next_try(plan.course, zone_of(plan), now)
