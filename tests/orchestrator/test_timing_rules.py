"""Which timings are open to a payer, and what a choice makes of a plan: tables."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.orchestrator.domain import policies, timings
from services.orchestrator.domain.attempts import NextAttempt, next_attempt
from services.orchestrator.domain.charge_plan import PAST_MAX
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.domain.plan import Plan, Stage
from services.orchestrator.domain.terms import Terms, Timing
from services.orchestrator.storage import rows
from services.shared import codec
from services.shared.states import AttemptKind, State
from tests.orchestrator.test_charge_plan import plan_of

AT = datetime(2026, 12, 12, 9, 0, tzinfo=UTC)
NOW = AT - timedelta(days=9)
ALL = tuple(Timing)
TURN = Snapshot(collection=State.REQUIRES_PAYMENT_METHOD, attempt=2)


def offered(timing: Timing = Timing.IMMEDIATE, **changes: object) -> Plan:
    """Return a plan whose payer may choose, at its second attempt."""
    terms = {"timing": timing, "timings_offered": ALL, "charge_time": AT} | changes
    return plan_of(TURN, timings.begun(replace(Terms(), **terms)), **terms)  # type: ignore[arg-type]


@pytest.mark.parametrize("timing", ALL)
def test_a_payment_begins_as_its_timing_says_whatever_is_offered(timing: Timing) -> None:
    plan = offered(timing)
    assert plan.course.charge_time == (AT if timing is Timing.SCHEDULED else None)
    assert timings.open_to(plan) == ALL
    assert timings.is_proven(plan)


@pytest.mark.parametrize(
    ("collection", "stage", "course", "is_open"),
    [
        (State.REQUIRES_PAYMENT_METHOD, Stage.COLLECTING, Course(), True),
        (State.REQUIRES_ACTION, Stage.COLLECTING, Course(), True),
        (State.INITIALIZED, Stage.STARTING, Course(), False),
        (State.PROCESSING, Stage.COLLECTING, Course(), False),
        (State.SCHEDULED, Stage.COLLECTING, Course(kept_method_id="pm_1"), False),
        (State.REQUIRES_PAYMENT_METHOD, Stage.COLLECTING, Course(kept_method_id="pm_1"), False),
        (State.REQUIRES_PAYMENT_METHOD, Stage.COLLECTING, Course(charge_tries=1), False),
        (State.SUCCEEDED, Stage.ENDED, Course(), False),
        (State.AUTHORIZED, Stage.COLLECTING, Course(), False),
    ],
)
def test_a_payer_may_choose_on_their_turn_until_a_method_is_kept(
    collection: State, stage: Stage, course: Course, is_open: bool
) -> None:
    plan = replace(offered(), latest_snapshot=replace(TURN, collection=collection), stage=stage, course=course)
    assert timings.open_to(plan) == (ALL if is_open else ())


@pytest.mark.parametrize(
    ("timing", "attempt"),
    [
        (Timing.IMMEDIATE, NextAttempt(kind=AttemptKind.INTENT)),
        (Timing.MANUAL_CAPTURE, NextAttempt(kind=AttemptKind.INTENT, capture_manually=True)),
        (Timing.SCHEDULED, NextAttempt(kind=AttemptKind.SETUP_INTENT, setup_only=True)),
    ],
)
@pytest.mark.parametrize("before", ALL)
def test_a_choice_decides_the_next_attempt_and_the_charge_that_is_planned(
    before: Timing, timing: Timing, attempt: NextAttempt
) -> None:
    plan = offered(before)
    plan.terms, plan.course = timings.chosen(plan, timing, now=NOW)
    assert next_attempt(plan) == attempt
    planned = (AT, "10:00:00") if timing is Timing.SCHEDULED else (None, "")
    assert (plan.course.charge_time, plan.course.charge_wall_time) == planned
    assert (plan.terms.timing_time, plan.terms.timings_offered, plan.terms.charge_time) == (NOW, ALL, AT)


def test_a_local_time_is_planned_by_the_clock_of_its_zone() -> None:
    plan = offered(charge_time=None, charge_local_time="2027-03-28T02:30", time_zone="Europe/Zurich")
    _, course = timings.chosen(plan, Timing.SCHEDULED, now=NOW)
    assert (course.charge_time, course.charge_wall_time) == (datetime(2027, 3, 28, 1, 30, tzinfo=UTC), "02:30:00")


@pytest.mark.parametrize(("attempt", "is_proven"), [(2, False), (3, False), (4, True)])
def test_what_may_have_been_asked_for_before_a_choice_is_not_taken_for_it(attempt: int, is_proven: bool) -> None:
    plan = offered()
    plan.terms, plan.course = timings.chosen(plan, Timing.SCHEDULED, now=NOW)
    plan.attempt = attempt
    assert timings.is_proven(plan) is is_proven
    plan.terms = timings.proven(plan)  # its answer came
    assert timings.is_proven(plan)
    plan.attempt += 1  # a charge, or another page
    assert timings.is_proven(plan)


def test_a_choice_is_overruled_by_what_was_asked_for_after_it_alone() -> None:
    terms = timings.asked(offered().terms, NOW)
    second = timedelta(seconds=1)
    overruled = [timings.is_overruled(terms, at) for at in (NOW - second, NOW, NOW + second, None)]
    assert overruled == [True, False, False, False]
    assert not timings.is_overruled(offered().terms, NOW)
    assert timings.asked(Terms(), NOW) == Terms()


@pytest.mark.parametrize(
    ("timing", "now", "is_over"),
    [
        (Timing.IMMEDIATE, AT + timedelta(days=99), False),
        (Timing.MANUAL_CAPTURE, AT - timedelta(seconds=1), False),
        (Timing.MANUAL_CAPTURE, AT, True),
        (Timing.SCHEDULED, AT + PAST_MAX, False),
        (Timing.SCHEDULED, AT + PAST_MAX + timedelta(seconds=1), True),
    ],
)
def test_a_time_that_has_passed_is_not_chosen(timing: Timing, now: datetime, is_over: bool) -> None:
    assert timings.is_over(offered(capture_time=AT).terms, timing, now) is is_over


def test_a_quote_stands_as_long_as_the_longest_timing_that_may_be_chosen() -> None:
    day = timedelta(days=1)
    scheduled = policies.quote_ttl(Terms(timing=Timing.SCHEDULED), day)
    assert policies.quote_ttl(Terms(timings_offered=(Timing.IMMEDIATE, Timing.SCHEDULED)), day) == scheduled
    assert policies.quote_ttl(Terms(), day) < policies.quote_ttl(Terms(timings_offered=ALL[:2]), day) < scheduled


def test_a_choice_is_stored_as_what_it_changes_and_read_back() -> None:
    plan = offered()
    assert rows.choice(plan.terms) is None
    same = timings.asked(plan.terms, NOW)
    assert codec.from_json(Terms, codec.to_json(plan.terms) | json.loads(rows.choice(same) or "")) == same
    terms = replace(timings.chosen(plan, Timing.SCHEDULED, now=NOW)[0], timing_asked_time=NOW)
    changed = {name: codec.to_json(terms)[name] for name in rows.CHOICE}
    assert rows.choice(terms) == json.dumps(changed)
    assert codec.from_json(Terms, codec.to_json(plan.terms) | changed) == terms
    older = {name: held for name, held in codec.to_json(terms).items() if not name.startswith("timing")}
    assert codec.from_json(Terms, older | {"timing": "SCHEDULED"}).timings_offered == ()
