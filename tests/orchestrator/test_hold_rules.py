"""The rules of holds, without anything around them: what is captured, what is planned, what a hold comes to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.orchestrator.captures import decided
from services.orchestrator.domain import agenda, policies, transitions
from services.orchestrator.domain.captures import Capture
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.payment import Observation, Snapshot
from services.orchestrator.domain.plan import DueFor, NextStep, Plan, Stage
from services.orchestrator.domain.terms import Terms, Timing
from services.shared import codec
from services.shared.payment import Amounts, Attention
from services.shared.split import LinePart, Split
from services.shared.states import AttemptKind, AttentionReason, IntentState, State

NOW = datetime(2024, 2, 28, 12, tzinfo=UTC)
LAPSE = NOW + timedelta(days=7)
HOUR = timedelta(hours=1)
EXAMPLES = 40
"""Of histories, each of several captures or refunds."""
HELD = Amounts(authorized_minor=10_000, capturable_minor=10_000)
PART = Amounts(authorized_minor=10_000, capturable_minor=6_000, captured_minor=4_000)
AUTHORIZED = Snapshot(collection=State.AUTHORIZED, amounts=HELD, hold_expire_time=LAPSE)


def a_plan(*, terms: dict[str, Any] | None = None, **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "payment_id": "pay_1",
        "payer_id": "payer_1",
        "quote_request": b"",
        "session_type": "",
        "session_name": "",
        "client_reference": "",
        "return_url": "",
        "seller_ids": ("s1",),
        "booking_ids": (),
        "labels": {},
        "terms": Terms(timing=Timing.MANUAL_CAPTURE, **(terms or {})),
        "course": Course(hold_expire_time=LAPSE),
        "tenant_id": "main",
        "stage": Stage.COLLECTING,
        "quote_id": "quote_1",
        "currency_code": "CHF",
        "total_minor": 10_000,
        "split": split_of(("s1", 10_000, 1_500)),
        "attempt": 1,
        "attempt_kind": AttemptKind.INTENT,
        "cancel_outcome": None,
        "observed_version": 0,
        "observation": None,
        "mirror_version": 3,
        "latest_snapshot": AUTHORIZED,
        "revision": 4,
        "fence": 1,
        "work_class": DueFor.MONEY,
        "failures": 0,
        "next_step": None,
        "next_time": None,
        "create_time": NOW,
        "request_count": 1,
        "quote_state": None,
    }
    return Plan(**(fields | changes))


def seen(intent_state: IntentState, amounts: Amounts, **changes: Any) -> Observation:
    fields: dict[str, Any] = {
        "mirror_version": 9,
        "attempt": 1,
        "outcome_unknown": False,
        "last_error": None,
        "method": None,
        "attentions": (),
        "decline_count": 0,
    }
    return Observation(intent_state=intent_state, amounts=amounts, **(fields | changes))


# What falls to whom.


def split_of(*lines: tuple[str, int, int]) -> Split:
    """Return a split of lines: whose, what is paid, and what of that the platform keeps."""
    return Split(
        lines=tuple(
            LinePart(
                line_id=f"line_{place}",
                seller_id=seller_id,
                gross_minor=gross_minor,
                seller_minor=gross_minor - fee_minor,
                platform_fee_minor=fee_minor,
            )
            for place, (seller_id, gross_minor, fee_minor) in enumerate(lines)
        )
    )


@st.composite
def captures_of_a_total(draw: st.DrawFn) -> tuple[Split, list[int]]:
    """Return a split of one seller, of one line or two, and captures that together take all of it."""
    grosses = draw(st.lists(st.integers(0, 2_000), min_size=1, max_size=2).filter(any))
    split = split_of(*(("s1", gross, draw(st.integers(0, gross))) for gross in grosses))
    left, amounts = sum(grosses), []
    while left:
        amounts.append(draw(st.integers(1, left)))
        left -= amounts[-1]
    return split, amounts


@settings(max_examples=EXAMPLES)
@given(captures_of_a_total())
def test_captures_in_whatever_steps_add_up_to_the_quotes_fee(case: tuple[Split, list[int]]) -> None:
    split, amounts = case
    held = a_plan(split=split, total_minor=split.total_minor)
    fees, so_far = [0], 0
    for amount_minor in amounts:
        so_far += amount_minor
        fees.append(held.application_fee_minor(so_far))
        assert 0 <= fees[-1] - fees[-2] <= amount_minor, "what Stripe takes as the fee of a capture"
    assert fees[-1] == held.platform_fee_minor


def test_what_stripe_captured_beyond_the_total_is_of_no_line() -> None:
    assert a_plan(split=split_of(("s1", 100, 15)), total_minor=100).application_fee_minor(120) == 15


@pytest.mark.parametrize(
    ("split", "destination"),
    [
        (split_of(("s1", 100, 15)), "s1"),
        (split_of(("s1", 100, 15), ("s1", 50, 0)), "s1"),
        (split_of(("s1", 100, 15), ("s2", 50, 5)), ""),
        (split_of(("s1", 100, -15)), ""),
        (Split(lines=(replace(split_of(("main", 100, 0)).lines[0], is_platform=True),)), ""),
    ],
)
def test_stripe_transfers_with_the_charge_to_one_seller_whose_part_it_covers(split: Split, destination: str) -> None:
    held = a_plan(split=split, total_minor=split.total_minor)
    assert held.destination == destination
    assert held.application_fee_minor(split.total_minor) == (held.platform_fee_minor if destination else 0)


def test_what_is_decided_of_a_capture_follows_from_what_was_captured_before() -> None:
    first = decided(a_plan(), request_id="r1", amount_minor=3_333, is_final=False)
    assert (first.amount_minor, first.fee_minor, first.is_final) == (3_333, 500, False)
    later = replace(AUTHORIZED, amounts=Amounts(authorized_minor=10_000, capturable_minor=6_667, captured_minor=3_333))
    rest = decided(a_plan(latest_snapshot=later), request_id="r2", is_final=False)
    assert (rest.amount_minor, rest.fee_minor, rest.is_final) == (6_667, 1_000, True), "nothing is left to be released"


def test_what_was_decided_is_kept_with_the_course() -> None:
    one = Capture(request_id="r1", amount_minor=5, fee_minor=1, is_final=True)
    course = Course().with_capture(one).with_capture(replace(one, request_id="r2", is_of_plan=True))
    course = course.with_capture(replace(one, is_settled=True))
    kept = codec.from_json(Course, codec.to_json(course))
    assert kept == course
    assert kept.capture("r1") == replace(one, is_settled=True)
    assert [other.request_id for other in kept.without_capture("r1").captures] == ["r2"]
    assert kept.capture("r3") is None


# What is planned.


@pytest.mark.parametrize(
    ("terms", "changes", "now", "step", "time"),
    [
        ({"capture_time": LAPSE - HOUR}, {}, NOW, NextStep.CAPTURE, LAPSE - HOUR),
        ({"capture_time": NOW - HOUR}, {}, NOW, NextStep.CAPTURE, NOW - HOUR),
        ({"capture_time": LAPSE - HOUR, "release_before_lapse": True}, {}, NOW, NextStep.CAPTURE, LAPSE - HOUR),
        ({"capture_time": NOW, "release_before_lapse": True}, {}, LAPSE + HOUR, NextStep.CAPTURE, NOW),
        ({"capture_time": LAPSE}, {}, NOW, NextStep.WARN_HOLD, LAPSE - policies.WARN_HOLD_BEFORE),
        ({"capture_time": LAPSE, "release_before_lapse": True}, {}, NOW, NextStep.RELEASE, LAPSE - HOUR),
        ({"release_before_lapse": True}, {}, LAPSE - HOUR / 2, NextStep.RELEASE, LAPSE - HOUR),
        ({"release_before_lapse": True}, {}, LAPSE, NextStep.LOOK, LAPSE + policies.LOOK_AGAIN_AFTER),
        ({}, {}, NOW, NextStep.WARN_HOLD, LAPSE - policies.WARN_HOLD_BEFORE),
        ({}, {"course": Course(hold_expire_time=LAPSE, hold_warned=True)}, NOW, NextStep.LOOK, LAPSE),
        ({}, {}, LAPSE + HOUR, NextStep.LOOK, LAPSE + HOUR + policies.LOOK_AGAIN_AFTER),
        # Nobody said when it lapses: it is read.
        ({}, {"course": Course()}, NOW, NextStep.LOOK, NOW + policies.LOOK_AGAIN_AFTER),
        ({"capture_time": LAPSE}, {"course": Course()}, NOW, NextStep.CAPTURE, LAPSE),
    ],
)
def test_what_is_planned_of_a_hold(
    terms: dict[str, Any], changes: dict[str, Any], now: datetime, step: NextStep, time: datetime
) -> None:
    due = agenda.appointment(a_plan(terms=terms, **changes), abandoned_after=policies.ABANDONED_AFTER, now=now)
    assert due == agenda.Appointment(step=step, time=time)


@pytest.mark.parametrize("is_taken_off", [False, True])
def test_a_hold_that_came_after_the_end_is_captured_by_nobody_by_itself(is_taken_off: bool) -> None:
    late = replace(AUTHORIZED, attentions=(Attention(reason=AttentionReason.LATE_MONEY),))
    plan = a_plan(terms={"capture_time": NOW + HOUR}, latest_snapshot=late)
    if is_taken_off:
        plan.course, plan.latest_snapshot = replace(plan.course, came_late=True), AUTHORIZED
    due = agenda.appointment(plan, abandoned_after=policies.ABANDONED_AFTER, now=NOW)
    assert due == agenda.Appointment(step=NextStep.WARN_HOLD, time=LAPSE - policies.WARN_HOLD_BEFORE)


def test_of_a_hold_that_lasts_longer_it_is_warned_again() -> None:
    warned = replace(Course().with_hold(LAPSE, can_capture_again=True), hold_warned=True)
    assert warned.with_hold(LAPSE, can_capture_again=True).hold_warned
    assert not warned.with_hold(LAPSE + HOUR, can_capture_again=True).hold_warned
    assert warned.with_hold(None, can_capture_again=False).hold_warned


# What a hold comes to.


@pytest.mark.parametrize(
    ("observation", "collection", "reason"),
    [
        (seen(IntentState.CANCELED, Amounts(authorized_minor=10_000), hold_lapsed=True), State.EXPIRED, "HOLD_LAPSED"),
        (seen(IntentState.CANCELED, Amounts(authorized_minor=10_000)), State.CANCELED, ""),
        (seen(IntentState.CANCELED, replace(PART, capturable_minor=0), hold_lapsed=True), State.SUCCEEDED, ""),
        (seen(IntentState.CANCELED, replace(PART, capturable_minor=0)), State.SUCCEEDED, ""),
        (seen(IntentState.SUCCEEDED, replace(PART, capturable_minor=0), hold_lapsed=True), State.SUCCEEDED, ""),
        (seen(IntentState.REQUIRES_CAPTURE, PART), State.AUTHORIZED, ""),
        (seen(IntentState.REQUIRES_CAPTURE, HELD, outcome_unknown=True), State.PROCESSING, "OUTCOME_UNKNOWN"),
    ],
)
@pytest.mark.parametrize("cancel_outcome", [None, State.SUCCEEDED])
def test_what_a_hold_comes_to(
    observation: Observation, collection: State, reason: str, cancel_outcome: State | None
) -> None:
    after = transitions.observed(AUTHORIZED, observation, cancel_outcome=cancel_outcome)
    assert (after.collection, after.reason) == (collection, reason)
    again = transitions.observed(after, replace(observation, mirror_version=10), cancel_outcome=cancel_outcome)
    assert not transitions.has_changed(after, again)


def test_a_hold_that_lapsed_is_expired_also_when_it_was_being_cancelled() -> None:
    lapsed = seen(IntentState.CANCELED, Amounts(authorized_minor=10_000), hold_lapsed=True)
    after = transitions.observed(AUTHORIZED, lapsed, cancel_outcome=State.CANCELED)
    assert (after.collection, after.reason) == (State.EXPIRED, "HOLD_LAPSED")


@pytest.mark.parametrize(
    ("amounts", "stands"), [(HELD, True), (PART, True), (replace(PART, capturable_minor=0), False), (Amounts(), False)]
)
def test_that_a_hold_is_about_to_lapse_is_said_until_nothing_is_held(amounts: Amounts, stands: bool) -> None:
    warned = transitions.hold_lapses(AUTHORIZED)
    assert [one.reason for one in warned.attentions] == ["HOLD_LAPSES"]
    assert "2024-03-06 12:00 UTC" in warned.attentions[0].detail
    state = IntentState.REQUIRES_CAPTURE if stands else IntentState.SUCCEEDED
    after = transitions.observed(warned, seen(state, amounts), cancel_outcome=None)
    assert after.needs(AttentionReason.HOLD_LAPSES) is stands
