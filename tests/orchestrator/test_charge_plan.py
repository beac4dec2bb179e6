"""The plan of a scheduled payment's charges, by itself: when it tries, and how it reads what is seen."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.domain import agenda, attempts, charge_plan, policies, transitions
from services.orchestrator.domain.charge_plan import RETRY_DAYS, TRIES_MAX
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.declines import TABLE, DeclineClass, classify
from services.orchestrator.domain.payment import SUBMITTED, Observation, Snapshot
from services.orchestrator.domain.plan import DueFor, NextStep, Plan, Request, RequestKey, Stage
from services.orchestrator.domain.terms import Collection, Terms, Timing
from services.shared.payment import Amounts, Method, PaymentError
from services.shared.split import Split
from services.shared.states import AttemptKind, IntentState, State

ZURICH = ZoneInfo("Europe/Zurich")
START = datetime(2026, 3, 20, 12, tzinfo=UTC)
FIRST = datetime(2026, 3, 25, 8, tzinfo=UTC)
"""09:00 in Zurich; the clocks change on the 29th."""
DAY = timedelta(days=1)
ABANDONED = timedelta(hours=24)

SOFT = PaymentError(code="card_declined", decline_code="insufficient_funds", message="No.", recoverable=True)
HARD = replace(SOFT, decline_code="lost_card")
AUTHENTICATE = replace(SOFT, code="authentication_required", decline_code="authentication_required")


def plan_of(snapshot: Snapshot, course: Course, *, kind: AttemptKind = AttemptKind.INTENT, **terms: object) -> Plan:
    return Plan(
        tenant_id="main",
        payment_id="pay_1",
        payer_id="payer_1",
        quote_request=b"",
        session_type="",
        session_name="",
        client_reference="",
        return_url="",
        seller_ids=("seller_1",),
        booking_ids=(),
        labels={},
        terms=replace(Terms(timing=Timing.SCHEDULED), **terms),  # type: ignore[arg-type]
        course=course,
        stage=Stage.COLLECTING,
        quote_id="quote_1",
        currency_code="CHF",
        total_minor=100,
        split=Split(lines=()),
        attempt=2,
        attempt_kind=kind,
        cancel_outcome=None,
        observed_version=0,
        observation=None,
        mirror_version=1,
        latest_snapshot=snapshot,
        revision=3,
        fence=1,
        work_class=DueFor.MONEY,
        failures=0,
        next_step=NextStep.CHARGE,
        next_time=FIRST,
        create_time=START,
        request_count=0,
        quote_state=None,
    )


def seen(intent_state: IntentState = IntentState.REQUIRES_PAYMENT_METHOD, **changes: object) -> Observation:
    observation = Observation(
        mirror_version=2,
        attempt=2,
        intent_state=intent_state,
        outcome_unknown=False,
        amounts=Amounts(),
        last_error=None,
        method=None,
        attentions=(),
        decline_count=0,
    )
    return replace(observation, **changes)  # type: ignore[arg-type]


def scheduled() -> Plan:
    course = charge_plan.planned(Course(kept_method_id="pm_1"), FIRST, ZURICH)
    return plan_of(Snapshot(collection=State.SCHEDULED, charge_time=FIRST), course)


def trying(*, declines: int = 0, now: datetime = FIRST, tries: int = 1) -> Plan:
    """Return a payment of which so many tries were begun, the last of them now."""
    plan = scheduled()
    plan.latest_snapshot = replace(plan.latest_snapshot, decline_count=declines)
    for _ in range(tries):
        plan.course = charge_plan.begun(plan, now, request=None)
    plan.latest_snapshot = transitions.charging(plan.latest_snapshot, attempt=2)
    return plan


def test_further_tries_keep_the_local_time_over_a_clock_change() -> None:
    course, now, times = trying().course, FIRST, []
    while course.charge_time is not None:
        now = course.charge_time
        times.append(now)
        plan = plan_of(Snapshot(collection=State.SCHEDULED), course)
        course = charge_plan.begun(plan, now, request=None)
    assert [(time.astimezone(ZURICH).day, time.astimezone(ZURICH).hour) for time in times] == [
        (26, 9), (28, 9), (30, 9), (1, 9)
    ]  # fmt: skip
    assert [time.hour for time in times] == [8, 8, 7, 7]
    assert course.charge_tries == TRIES_MAX == 1 + len(RETRY_DAYS)


def test_a_time_that_the_first_night_leaves_out_is_kept_for_the_nights_after() -> None:
    local = datetime(2026, 3, 29, 2, 30)  # noqa: DTZ001 a wall's
    plan = plan_of(Snapshot(collection=State.SCHEDULED), charge_plan.planned_local(Course(), local, ZURICH))
    first = plan.course.charge_time
    assert first is not None
    assert first.astimezone(ZURICH).time().isoformat() == "03:30:00"
    again = charge_plan.begun(plan, first, request=None).charge_time
    assert again is not None
    assert again.astimezone(ZURICH).isoformat() == "2026-03-30T02:30:00+02:00"


def test_a_plan_that_stood_still_does_not_make_up_for_its_days_at_once() -> None:
    plan = trying(now=FIRST)
    late = FIRST + 6 * DAY
    course = charge_plan.begun(plan, late, request=None)
    assert course.charge_time == FIRST + 7 * DAY - timedelta(hours=1)  # the clocks changed meanwhile
    assert charge_plan.begun(replace_course(plan, course), late + 3 * DAY, request=None).charge_time is None


def replace_course(plan: Plan, course: Course) -> Plan:
    plan.course = course
    return plan


def test_who_wanted_a_try_is_kept_with_it() -> None:
    key = RequestKey(tenant_id="main", caller="shop", method="RetryPayment", request_id=uuid.uuid4())
    request = Request(key=key, request_hash=b"", payment_id="pay_1", command=b"")
    assert charge_plan.begun(scheduled(), FIRST, request=request).tried_for == request.derived_id
    assert charge_plan.begun(scheduled(), FIRST, request=None).tried_for == ""


def test_a_setup_that_succeeded_schedules_what_it_kept() -> None:
    kept = Method(payment_method_id="pm_9", type="card")
    plan = plan_of(Snapshot(), Course(charge_time=FIRST), kind=AttemptKind.SETUP_INTENT)
    reading = charge_plan.read(plan, seen(IntentState.SUCCEEDED, is_setup=True, method=kept), now=START)
    assert (reading.collection, reading.charge_time, reading.course.kept_method_id) == (State.SCHEDULED, FIRST, "pm_9")
    waiting = charge_plan.read(plan, seen(IntentState.REQUIRES_ACTION, is_setup=True), now=START)
    assert (waiting.collection, waiting.course) == (None, plan.course)


@pytest.mark.parametrize("timing", [Timing.IMMEDIATE, Timing.MANUAL_CAPTURE])
def test_what_a_setup_kept_for_a_timing_that_was_given_up_is_charged_by_nobody(timing: Timing) -> None:
    kept = Method(payment_method_id="pm_9", type="card")
    plan = plan_of(Snapshot(), Course(), kind=AttemptKind.SETUP_INTENT, timing=timing)
    reading = charge_plan.read(plan, seen(IntentState.SUCCEEDED, is_setup=True, method=kept), now=START)
    assert (reading.collection, reading.charge_time) == (State.REQUIRES_PAYMENT_METHOD, None)
    assert reading.course == plan.course


@pytest.mark.parametrize("state", IntentState)
@pytest.mark.parametrize("error", [None, SOFT])
def test_an_intent_is_no_charge_where_nothing_was_kept(state: IntentState, error: PaymentError | None) -> None:
    plan = plan_of(Snapshot(collection=State.REQUIRES_PAYMENT_METHOD), Course(charge_time=FIRST))
    reading = charge_plan.read(plan, seen(state, last_error=error, decline_count=1), now=START)
    assert (reading.collection, reading.course) == (None, plan.course)
    assert not charge_plan.is_charging(plan)


def test_the_intent_of_a_charge_that_was_not_tried_changes_nothing() -> None:
    reading = charge_plan.read(scheduled(), seen(), now=FIRST)
    assert (reading.collection, reading.charge_time) == (State.SCHEDULED, FIRST)


@pytest.mark.parametrize("is_answer", [False, True])
def test_a_soft_decline_is_tried_again_by_the_plan(*, is_answer: bool) -> None:
    plan = trying()
    reading = charge_plan.read(plan, seen(last_error=SOFT, decline_count=1), now=FIRST, is_answer=is_answer)
    assert (reading.collection, reading.charge_time) == (State.SCHEDULED, FIRST + DAY)
    assert reading.course.turn_time is None


def test_the_last_soft_decline_is_the_payers_turn() -> None:
    plan = trying(tries=TRIES_MAX)
    reading = charge_plan.read(plan, seen(last_error=SOFT, decline_count=5), now=FIRST)
    assert (reading.collection, reading.course.turn_time) == (State.REQUIRES_PAYMENT_METHOD, FIRST)
    assert reading.course.charge_time is None


@pytest.mark.parametrize(
    ("error", "advice", "collection"),
    [
        (HARD, "", State.REQUIRES_PAYMENT_METHOD),
        (SOFT, "do_not_try_again", State.REQUIRES_PAYMENT_METHOD),
        (SOFT, "confirm_card_data", State.REQUIRES_PAYMENT_METHOD),
        (AUTHENTICATE, "", State.REQUIRES_ACTION),
        (AUTHENTICATE, "do_not_try_again", State.REQUIRES_ACTION),
    ],
)
def test_what_no_try_of_ours_mends_is_the_payers_turn_at_once(
    error: PaymentError, advice: str, collection: State
) -> None:
    plan = trying()
    observation = seen(last_error=error, advice_code=advice, decline_count=1)
    reading = charge_plan.read(plan, observation, now=FIRST)
    assert (reading.collection, reading.course.turn_time, reading.course.charge_time) == (collection, FIRST, None)
    plan.course, plan.latest_snapshot = reading.course, replace(plan.latest_snapshot, collection=collection, reason="")
    again = charge_plan.read(plan, observation, now=FIRST + DAY)  # read again, it is the same
    assert (again.collection, again.course) == (collection, reading.course)


def test_advice_to_try_later_outweighs_a_hard_code_and_fraud_outweighs_advice() -> None:
    assert classify(HARD, "try_again_later") is DeclineClass.SOFT
    assert classify(replace(SOFT, decline_code="fraudulent"), "try_again_later") is DeclineClass.FRAUD


def test_a_decline_of_before_says_nothing_of_the_try_under_way() -> None:
    plan = trying(declines=1)
    stale = seen(last_error=SOFT, decline_count=1)
    assert charge_plan.read(plan, stale, now=FIRST).is_nothing_new
    answer = charge_plan.read(plan, stale, now=FIRST, is_answer=True)
    assert (answer.is_nothing_new, answer.collection) == (False, State.SCHEDULED)


def test_between_two_tries_the_plan_stands_whenever_it_is_read() -> None:
    plan = scheduled()
    plan.course = charge_plan.begun(plan, FIRST, request=None)
    plan.latest_snapshot = replace(plan.latest_snapshot, decline_count=1, charge_time=FIRST + DAY)
    for now in (FIRST, FIRST + DAY, FIRST + 30 * DAY):
        reading = charge_plan.read(plan, seen(last_error=SOFT, decline_count=1), now=now)
        assert (reading.collection, reading.charge_time) == (State.SCHEDULED, FIRST + DAY)


def test_an_outcome_that_came_after_the_next_try_was_due_takes_the_one_after() -> None:
    plan = trying()
    plan.latest_snapshot = replace(plan.latest_snapshot, reason="OUTCOME_UNKNOWN")
    reading = charge_plan.read(plan, seen(last_error=SOFT, decline_count=1), now=FIRST + 2 * DAY)
    assert reading.charge_time == FIRST + 3 * DAY


def test_nothing_is_concluded_while_an_outcome_is_not_known() -> None:
    plan = trying(tries=TRIES_MAX)  # a decline now would be the last
    observation = seen(last_error=HARD, decline_count=9, outcome_unknown=True)
    reading = charge_plan.read(plan, observation, now=FIRST, is_answer=True)
    assert (reading.collection, reading.course, reading.is_nothing_new) == (None, plan.course, False)


def test_a_payer_who_pays_with_another_method_is_not_put_back_on_the_plan() -> None:
    plan = trying()
    plan.course = charge_plan.turned(plan.course, FIRST)
    plan.latest_snapshot = replace(plan.latest_snapshot, reason=SUBMITTED)
    reading = charge_plan.read(plan, seen(last_error=SOFT, decline_count=2), now=FIRST + DAY, is_answer=True)
    assert (reading.collection, reading.course.turn_time) == (State.REQUIRES_PAYMENT_METHOD, FIRST)


def test_a_bank_that_asks_on_the_charge_begins_the_payers_time() -> None:
    plan = trying(now=START + 300 * DAY)
    plan.course = charge_plan.read(plan, seen(IntentState.REQUIRES_ACTION), now=START + 300 * DAY).course
    plan.latest_snapshot = Snapshot(collection=State.REQUIRES_ACTION)
    due = agenda.appointment(plan, abandoned_after=ABANDONED, now=START + 300 * DAY)
    assert due == agenda.Appointment(step=NextStep.EXPIRE, time=START + 301 * DAY)


def test_other_timings_are_read_as_they_ever_were() -> None:
    plan = plan_of(Snapshot(collection=State.PROCESSING), Course(), timing=Timing.IMMEDIATE)
    reading = charge_plan.read(plan, seen(last_error=AUTHENTICATE, decline_count=1), now=FIRST)
    assert (reading.collection, reading.course) == (None, Course())


def test_what_is_done_by_itself() -> None:
    plan = scheduled()
    assert agenda.appointment(plan, abandoned_after=ABANDONED, now=START) == agenda.Appointment(
        step=NextStep.CHARGE, time=FIRST
    )
    begun = trying()
    kept = agenda.appointment(begun, abandoned_after=ABANDONED, now=FIRST)
    assert kept == agenda.Appointment(step=NextStep.CHARGE, time=FIRST)  # it is carried on
    begun.latest_snapshot = replace(begun.latest_snapshot, reason="OUTCOME_UNKNOWN")
    looked = agenda.appointment(begun, abandoned_after=ABANDONED, now=FIRST)
    assert looked == agenda.Appointment(step=NextStep.LOOK, time=FIRST + ABANDONED)  # and not tried once more


def test_which_attempt_comes_next() -> None:
    kept = Course(kept_method_id="pm_1")
    before = plan_of(Snapshot(), Course())
    assert attempts.next_attempt(before) == attempts.NextAttempt(kind=AttemptKind.SETUP_INTENT, setup_only=True)
    for collection in Collection:
        charge = plan_of(Snapshot(), replace(kept, collection=collection))
        assert attempts.next_attempt(charge) == attempts.NextAttempt(kind=AttemptKind.INTENT)
    page = plan_of(Snapshot(), replace(kept, collection=Collection.CHECKOUT, turn_time=FIRST))
    assert attempts.next_attempt(page) == attempts.NextAttempt(kind=AttemptKind.CHECKOUT_SESSION)


def test_tries_of_the_plan_do_not_use_up_the_payers_own() -> None:
    latest = Snapshot(collection=State.REQUIRES_PAYMENT_METHOD, decline_count=policies.DECLINES_MAX + TRIES_MAX - 1)
    assert policies.is_given_up(latest)
    assert not policies.is_given_up(latest, tries_of_plan=TRIES_MAX)
    assert policies.is_given_up(replace(latest, decline_count=latest.decline_count + 1), tries_of_plan=TRIES_MAX)


def test_a_quote_stands_as_long_as_the_longest_plan_and_its_payers_turn() -> None:
    terms = Terms(timing=Timing.SCHEDULED)
    longest = charge_plan.AHEAD_MAX + (max(RETRY_DAYS) * DAY) + policies.life_max(30 * DAY)
    assert longest < policies.quote_ttl(terms, 30 * DAY)


def test_each_word_stands_in_one_row_of_the_table() -> None:
    words = [(row.field, word) for row in TABLE for word in row.words]
    assert len(words) == len(set(words))
    assert all(row.source.startswith("https://docs.stripe.com/") for row in TABLE)
    assert {row.outcome for row in TABLE} == set(DeclineClass)


@given(
    code=st.sampled_from(["", "card_declined", "expired_card", "news"]),
    decline_code=st.sampled_from(
        ["", "insufficient_funds", "lost_card", "fraudulent", "authentication_required", "news"]
    ),
    advice=st.sampled_from(["", "do_not_try_again", "try_again_later", "confirm_card_data", "news"]),
    declines=st.integers(0, 12),
    tries=st.integers(1, TRIES_MAX),
    later=st.timedeltas(timedelta(), timedelta(days=40)),
)
def test_no_decline_is_tried_for_ever(  # noqa: PLR0917 drawn
    code: str, decline_code: str, advice: str, declines: int, tries: int, later: timedelta
) -> None:
    plan = trying(tries=tries)
    error = PaymentError(code=code, decline_code=decline_code, recoverable=True)
    observation = seen(last_error=error, advice_code=advice, decline_count=declines)
    reading = charge_plan.read(plan, observation, now=FIRST + later, is_answer=True)
    if reading.collection is State.SCHEDULED:
        assert reading.charge_time is not None
        assert reading.charge_time > FIRST + later
        assert reading.course.charge_tries < TRIES_MAX
    else:
        assert reading.course.turn_time is not None
    once = transitions.observed(
        plan.latest_snapshot, observation, cancel_outcome=None, collection=reading.collection,
        charge_time=reading.charge_time,
    )  # fmt: skip
    plan.course, plan.latest_snapshot = reading.course, once
    again = charge_plan.read(plan, observation, now=FIRST + later)
    assert (again.collection, again.course) == (reading.collection, reading.course)


def test_days_of_the_plan_rise() -> None:
    assert all(one < other for one, other in pairwise((0, *RETRY_DAYS)))
