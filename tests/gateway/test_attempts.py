"""The rules of attempts of each kind: when the next may begin, what a hold is, and which kept method is needed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.gateway.intents.domain import (
    Hold,
    Intent,
    IntentFacts,
    SessionState,
    advances,
    apply,
    is_current,
)
from services.gateway.intents.holds import LIMIT_SHORTEST, LIMITS, limit_of
from services.gateway.intents.needs import with_needs
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.observation import conclude as conclude_in
from services.gateway.stripe_api.intent_objects import attempt_facts, intent_facts
from services.shared import codec
from services.shared.payment import Method
from services.shared.states import AttemptKind, IntentState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AMOUNT = 10_000
HOLD = Hold(expire_time=NOW + timedelta(days=7))
KEPT = Method(payment_method_id="pm_kept", type="card", brand="visa", last4="4242", expire_month=4, expire_year=2030)
START = Observation(payment_id="pay_1")
conclude = partial(conclude_in, currency_code="CHF")


def attempt(number: int = 1, **changes: object) -> Intent:
    made = Intent(
        attempt=number, amount_minor=AMOUNT, application_fee_minor=0, create_time=NOW, intent_id=f"pi_{number}"
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of an Intent


def setup(number: int = 1, **changes: object) -> Intent:
    kept = attempt(
        number, kind=AttemptKind.SETUP_INTENT, is_setup=True, keeps_method=True, intent_id=f"seti_{number}", method=KEPT
    )
    return replace(kept, **changes)  # type: ignore[arg-type]  # fields of an Intent


def held(**changes: object) -> IntentFacts:
    shown = IntentFacts(
        intent_id="pi_1",
        state=IntentState.REQUIRES_CAPTURE,
        amount_minor=AMOUNT,
        currency_code="CHF",
        capturable_minor=AMOUNT,
        hold=HOLD,
        was_held=True,
    )
    return replace(shown, **changes)  # type: ignore[arg-type]  # fields of IntentFacts


LAPSED = held(state=IntentState.CANCELED, capturable_minor=0, hold=None, was_held=False, ended_by_stripe=True)


@pytest.mark.parametrize("state", IntentState)
def test_a_new_attempt_begins_after_a_cancelled_one_or_a_setup_that_succeeded(state: IntentState) -> None:
    assert attempt(state=state).is_over == (state == IntentState.CANCELED)
    assert setup(state=state).is_over == (state in (IntentState.CANCELED, IntentState.SUCCEEDED))


# Holds.


def test_a_hold_says_when_it_ends_while_something_is_held() -> None:
    holds = apply(attempt(capture_manually=True), held(), currency_code="CHF")
    seen = conclude(START, [holds], [])
    taken = apply(
        holds,
        held(state=IntentState.SUCCEEDED, capturable_minor=0, captured_minor=AMOUNT, hold=None),
        currency_code="CHF",
    )

    assert (seen.hold_expire_time, seen.can_capture_again, seen.hold_lapsed) == (HOLD.expire_time, False, False)
    assert conclude(seen, [taken], []).hold_expire_time is None


def test_a_snapshot_without_the_charge_keeps_what_is_known_of_the_hold_and_tells_of_none() -> None:
    holds = apply(attempt(), held(), currency_code="CHF")

    assert apply(holds, held(hold=None), currency_code="CHF").hold == HOLD
    assert not advances(attempt(), held(hold=None))
    assert advances(attempt(), held())
    assert is_current(holds, held(hold=None))
    assert not is_current(holds, held(hold=replace(HOLD, can_capture_again=True)))


def test_a_hold_that_stripe_ended_has_lapsed_and_stays_so() -> None:
    holds = apply(attempt(), held(), currency_code="CHF")

    lapsed = apply(holds, LAPSED, currency_code="CHF")

    assert conclude(START, [lapsed], []).hold_lapsed
    assert apply(lapsed, LAPSED, currency_code="CHF").hold_lapsed
    assert not apply(holds, replace(LAPSED, ended_by_stripe=False), currency_code="CHF").hold_lapsed


def test_an_intent_that_stripe_ended_and_that_never_held_anything_has_no_hold_that_lapsed() -> None:
    assert not apply(attempt(), LAPSED, currency_code="CHF").hold_lapsed
    assert not advances(attempt(), LAPSED)  # whether it held anything is shown by a reading


def stripes(**changes: object) -> dict[str, object]:
    charge = {
        "id": "ch_1",
        "object": "charge",
        "status": "succeeded",
        "created": int(NOW.timestamp()),
        "amount_refunded": 0,
        "payment_method_details": {"type": "card", "card": {"multicapture": {"status": "available"}}},
    }
    return {
        "id": "pi_1",
        "object": "payment_intent",
        "status": "requires_capture",
        "amount": AMOUNT,
        "amount_capturable": AMOUNT,
        "amount_received": 0,
        "capture_method": "manual",
        "currency": "chf",
        "latest_charge": charge,
        **changes,
    }


def test_the_end_of_a_hold_is_what_its_charge_says_else_the_documented_limit() -> None:
    told = stripes()
    told["latest_charge"]["payment_method_details"]["card"]["capture_before"] = int(HOLD.expire_time.timestamp())  # type: ignore[index]

    assert intent_facts(told).hold == replace(HOLD, can_capture_again=True)
    assert intent_facts(stripes()).hold == Hold(expire_time=NOW + LIMITS["card"], can_capture_again=True)


def test_a_method_without_a_documented_limit_has_the_shortest() -> None:
    assert limit_of("a_new_one") == LIMIT_SHORTEST == min(LIMITS.values())


def test_what_was_taken_before_the_rest_was_released_is_a_success() -> None:
    ended = stripes(status="canceled", amount_received=4_000, amount_capturable=0, cancellation_reason="expired")

    facts = intent_facts(ended)

    assert (facts.state, facts.captured_minor, facts.ended_by_stripe) == (IntentState.SUCCEEDED, 4_000, True)


# Setups.


def test_a_setup_that_succeeded_is_observed_as_one() -> None:
    seen = conclude(START, [setup(state=IntentState.SUCCEEDED, mandate_id="mandate_1")], [])

    assert (seen.intent_state, seen.is_setup, seen.attempt_kind) == (
        IntentState.SUCCEEDED,
        True,
        AttemptKind.SETUP_INTENT,
    )
    assert (seen.mandate_id, seen.method, seen.amounts.captured_minor) == ("mandate_1", KEPT, 0)


def test_the_attempt_that_charges_counts_once_it_is_at_stripe_and_the_mandate_stays() -> None:
    kept = setup(state=IntentState.SUCCEEDED, mandate_id="mandate_1")

    asked = conclude(START, [kept, attempt(2, intent_id="")], [])
    made = conclude(asked, [kept, attempt(2)], [])

    assert (asked.attempt, asked.is_setup) == (1, True)
    assert (made.attempt, made.is_setup, made.mandate_id) == (2, False, "mandate_1")


def test_a_setup_has_no_amount_to_differ() -> None:
    shown = {"id": "seti_1", "object": "setup_intent", "status": "succeeded", "payment_method": "pm_kept"}

    after = apply(setup(), attempt_facts(shown), currency_code="CHF")

    assert (after.state, after.mismatch, after.method) == (IntentState.SUCCEEDED, "", KEPT)


@pytest.mark.parametrize(
    ("later", "is_needed"),
    [
        ((), True),
        ((attempt(2),), True),
        ((attempt(2, state=IntentState.PROCESSING),), True),
        ((attempt(2, state=IntentState.CANCELED, intent_id=""),), True),  # it never came to be
        ((attempt(2, state=IntentState.CANCELED),), False),
        ((attempt(2, state=IntentState.CANCELED), attempt(3)), True),
        ((attempt(2, state=IntentState.SUCCEEDED),), False),
        ((attempt(2, state=IntentState.REQUIRES_CAPTURE),), False),
        ((setup(2, state=IntentState.SUCCEEDED),), False),
    ],
)
def test_a_kept_method_is_needed_until_its_payment_is_paid_or_called_off(
    later: tuple[Intent, ...], *, is_needed: bool
) -> None:
    attempts = {one.attempt: one for one in (setup(state=IntentState.SUCCEEDED), *later)}

    assert with_needs(attempts)[1].needs_method_id == ("pm_kept" if is_needed else "")


def test_a_setup_that_did_not_succeed_or_was_let_go_needs_nothing() -> None:
    for state in IntentState:
        needs = with_needs({1: setup(state=state)})[1].needs_method_id
        assert needs == ("pm_kept" if state == IntentState.SUCCEEDED else "")


def test_a_setup_that_was_let_go_stays_cancelled_whatever_stripe_shows() -> None:
    shown = {"id": "seti_1", "object": "setup_intent", "status": "succeeded", "payment_method": "pm_kept"}
    released = setup(state=IntentState.CANCELED, is_released=True)

    assert apply(released, attempt_facts(shown), currency_code="CHF") == released
    assert is_current(released, attempt_facts(shown))


# Hosted pages.


def test_a_hosted_page_is_there_before_its_intent_and_says_when_it_ends_while_it_is_open() -> None:
    page = attempt(
        kind=AttemptKind.CHECKOUT_SESSION,
        intent_id="",
        session_id="cs_1",
        session_state=SessionState.OPEN,
        session_expire_time=NOW,
    )

    seen = conclude(START, [page], [])
    over = conclude(seen, [replace(page, session_state=SessionState.EXPIRED, state=IntentState.CANCELED)], [])

    assert (seen.attempt, seen.attempt_kind, seen.session_expire_time) == (1, AttemptKind.CHECKOUT_SESSION, NOW)
    assert (over.intent_state, over.session_expire_time) == (IntentState.CANCELED, None)


def test_an_attempt_is_stored_and_read_back_as_it_is() -> None:
    for one in (
        attempt(hold=HOLD, capture_manually=True),
        setup(needs_method_id="pm_kept"),
        attempt(session_id="cs_1", session_state=SessionState.OPEN, session_expire_time=NOW),
    ):
        assert codec.from_json(Intent, codec.to_json(one)) == one
