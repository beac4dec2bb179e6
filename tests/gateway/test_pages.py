"""The rules of hosted pages: modes, rows, languages, how long they live, and what a session makes of its attempt."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from stripe.params.checkout import SessionCreateParams

from services.errors import FieldInvalid, FieldMissing
from services.gateway.checkout.claims import Claim, claim_of
from services.gateway.checkout.domain import SessionFacts, shows_session, with_session
from services.gateway.checkout.life import LIFE_MAX, LIFE_MIN, MOMENT, asked_expiry, send_before
from services.gateway.checkout.lines import LINES_MAX, PageLine, check_lines, line_items
from services.gateway.checkout.locales import AUTO, LOCALES, page_locale
from services.gateway.checkout.modes import MODES, mode_of
from services.gateway.intents.domain import Intent, IntentFacts, SessionState, advances, apply, is_current, page_state
from services.gateway.stripe_api.currencies import AmountNotChargeable
from services.gateway.stripe_api.session_objects import intent_in, session_facts
from services.shared.states import AttemptKind, IntentState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AMOUNT = 10_000
MONEY_STATES = {IntentState.PROCESSING, IntentState.REQUIRES_CAPTURE, IntentState.SUCCEEDED}


def page(**changes: object) -> Intent:
    made = Intent(
        attempt=1,
        amount_minor=AMOUNT,
        application_fee_minor=0,
        create_time=NOW,
        kind=AttemptKind.CHECKOUT_SESSION,
        session_id="cs_1",
        session_state=SessionState.OPEN,
        session_expire_time=NOW + LIFE_MAX,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of an Intent


def session(**changes: object) -> SessionFacts:
    shown = SessionFacts(
        session_id="cs_1",
        state=SessionState.OPEN,
        expire_time=NOW + LIFE_MAX,
        intent_id="",
        payment_status="unpaid",
        amount_minor=AMOUNT,
        currency_code="CHF",
        url="https://checkout.example/cs_1",
    )
    return replace(shown, **changes)  # type: ignore[arg-type]  # fields of SessionFacts


def intent(state: IntentState, **changes: object) -> IntentFacts:
    shown = IntentFacts(intent_id="pi_1", state=state, amount_minor=AMOUNT, currency_code="CHF")
    return replace(shown, **changes)  # type: ignore[arg-type]  # fields of IntentFacts


# Modes.


def test_each_way_of_timing_has_one_mode() -> None:
    assert [(one.timing, one.mode, one.capture_method) for one in MODES] == [
        ("IMMEDIATE", "payment", ""),
        ("MANUAL_CAPTURE", "payment", "manual"),
        ("SCHEDULED", "setup", ""),
    ]
    for one in MODES:
        assert mode_of(setup_only=one.setup_only, capture_manually=one.capture_manually) is one


# Rows.


@pytest.mark.parametrize("parts", [[AMOUNT], [3_333, 3_333, 3_334], [AMOUNT, 0], [1] * 99 + [AMOUNT - 99]])
def test_rows_that_sum_to_the_amount_are_sent_as_they_are(parts: list[int]) -> None:
    lines = [PageLine(name="A lesson", amount_minor=one) for one in parts]

    check_lines(lines, amount_minor=AMOUNT, currency_code="CHF", is_setup=False)

    sent = [item["price_data"] for item in line_items(lines, currency_code="CHF")]
    assert [one["unit_amount"] for one in sent] == parts  # type: ignore[index]
    assert sent[0] == {"currency": "chf", "unit_amount": parts[0], "product_data": {"name": "A lesson"}}


def test_rows_are_in_stripes_unit_of_their_currency() -> None:
    lines = [PageLine(name="A lesson", amount_minor=500, description="In the morning")]

    check_lines(lines, amount_minor=500, currency_code="ISK", is_setup=False)
    (item,) = line_items(lines, currency_code="ISK")

    assert item["price_data"] == {
        "currency": "isk",
        "unit_amount": 50_000,
        "product_data": {"name": "A lesson", "description": "In the morning"},
    }


def test_rows_that_do_not_fit_are_refused_with_their_field() -> None:
    def refused(problem: type[Exception], parts: list[int], *, currency: str = "CHF", is_setup: bool = False) -> str:
        lines = [PageLine(name="A lesson", amount_minor=one) for one in parts]
        with pytest.raises(problem) as caught:
            check_lines(lines, amount_minor=AMOUNT, currency_code=currency, is_setup=is_setup)
        return str(caught.value.field)  # type: ignore[attr-defined]

    assert refused(FieldInvalid, [AMOUNT - 1]) == "lines"
    assert refused(FieldInvalid, [AMOUNT, 1]) == "lines"
    assert refused(FieldMissing, []) == "lines"
    assert refused(FieldInvalid, [0] * LINES_MAX + [AMOUNT]) == "lines"
    assert refused(FieldInvalid, [AMOUNT], is_setup=True) == "lines"
    assert refused(AmountNotChargeable, [5_001, 4_999], currency="KWD") == "lines[0].amount"  # digits Stripe has not


# Languages.


def test_the_list_is_stripes() -> None:
    hint = str(SessionCreateParams.__annotations__["locale"])  # a name that only a type checker resolves

    assert set(re.findall(r"'([A-Za-z0-9-]+)'", hint)) == LOCALES | {AUTO}


@pytest.mark.parametrize(
    ("locale", "shown"),
    [
        ("de-CH", "de"),
        ("fr-CA", "fr-CA"),
        ("fr_ca", "fr-CA"),
        ("en-GB", "en-GB"),
        ("en-US", "en"),
        ("es-MX", "es-419"),
        ("es-ES", "es"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("pt-PT", "pt"),
        ("zh-Hant", "zh-TW"),
        ("zh-Hant-HK", "zh-HK"),
        ("zh-Hans-CN", "zh"),
        ("hi", "hi-IN"),
        ("rm-CH", AUTO),
        ("gsw", AUTO),
        ("x", AUTO),
        ("-", AUTO),
        ("", AUTO),
    ],
)
def test_a_page_speaks_the_payers_language_or_the_nearest_that_it_knows(locale: str, shown: str) -> None:
    assert page_locale(locale) == shown
    assert page_locale(shown) == shown


# Life.


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (None, None),
        (LIFE_MAX, None),
        (LIFE_MAX + MOMENT, None),
        (LIFE_MAX - MOMENT, None),
        (timedelta(hours=2), timedelta(hours=2)),
        (LIFE_MIN, LIFE_MIN + MOMENT),
        (LIFE_MIN - MOMENT, LIFE_MIN + MOMENT),
    ],
)
def test_a_page_ends_when_it_is_asked_to_or_a_moment_later(asked: timedelta | None, sent: timedelta | None) -> None:
    expiry = asked_expiry(None if asked is None else NOW + asked, NOW)

    assert expiry == (None if sent is None else NOW + sent)


@pytest.mark.parametrize("life", [timedelta(0), LIFE_MIN - MOMENT * 2, LIFE_MAX + MOMENT * 2, timedelta(days=-1)])
def test_a_page_that_stripe_would_not_make_is_refused(life: timedelta) -> None:
    with pytest.raises(FieldInvalid) as caught:
        asked_expiry(NOW + life, NOW)

    assert caught.value.field == "expire_time"


def test_a_page_is_not_asked_for_once_stripe_would_not_take_its_end() -> None:
    assert send_before(None, None) is None
    assert send_before(NOW, None) == NOW
    assert send_before(None, NOW + LIFE_MIN) == NOW
    assert send_before(NOW, NOW + LIFE_MIN + MOMENT) == NOW
    assert send_before(NOW + LIFE_MAX, NOW + LIFE_MIN + MOMENT) == NOW + MOMENT


# What a session makes of its attempt.


@pytest.mark.parametrize("state", IntentState)
def test_an_attempt_stands_as_its_page_and_its_intent_say(state: IntentState) -> None:
    waits, over = IntentState.REQUIRES_PAYMENT_METHOD, IntentState.CANCELED

    assert page_state(SessionState.OPEN, state) == (waits if state == over else state)
    assert page_state(SessionState.COMPLETE, state) == state
    assert page_state(SessionState.EXPIRED, state) == (state if state in MONEY_STATES else over)
    assert page_state(None, state) == state


def test_a_page_without_an_intent_waits_is_to_be_read_or_is_over() -> None:
    assert page_state(SessionState.OPEN, None) == IntentState.REQUIRES_PAYMENT_METHOD
    assert page_state(SessionState.COMPLETE, None) == IntentState.PROCESSING
    assert page_state(SessionState.EXPIRED, None) == IntentState.CANCELED


def test_a_page_is_read_until_it_is_over_and_its_intent_is_known() -> None:
    assert page().is_page_to_be_read
    assert page(session_state=SessionState.COMPLETE).is_page_to_be_read
    assert not page(session_state=SessionState.COMPLETE, intent_id="pi_1").is_page_to_be_read
    assert not page(session_state=SessionState.EXPIRED).is_page_to_be_read
    assert not page(session_state=None, session_id="", intent_id="pi_1").is_page_to_be_read


def test_the_intent_of_a_page_is_bound_when_it_appears_and_kept() -> None:
    bound = with_session(page(), session(intent_id="pi_1"), currency_code="CHF")
    again = with_session(bound, session(), currency_code="CHF")

    assert (bound.intent_id, again.intent_id, bound.state) == ("pi_1", "pi_1", IntentState.REQUIRES_PAYMENT_METHOD)


def test_what_failed_after_the_page_was_complete_is_the_payers_turn_and_over() -> None:
    complete = with_session(page(), session(state=SessionState.COMPLETE, intent_id="pi_1"), currency_code="CHF")
    waiting = apply(complete, intent(IntentState.PROCESSING), currency_code="CHF")
    failed = apply(waiting, intent(IntentState.REQUIRES_PAYMENT_METHOD), currency_code="CHF")

    assert (complete.state, waiting.state) == (IntentState.PROCESSING, IntentState.PROCESSING)
    assert (failed.state, failed.is_over, waiting.is_over) == (IntentState.REQUIRES_PAYMENT_METHOD, True, False)
    assert not apply(page(), intent(IntentState.REQUIRES_PAYMENT_METHOD), currency_code="CHF").is_over


def test_money_on_an_attempt_that_was_let_go_is_money() -> None:
    gone = page(state=IntentState.CANCELED, is_released=True, session_state=SessionState.COMPLETE, intent_id="pi_1")

    late = apply(gone, intent(IntentState.SUCCEEDED, captured_minor=AMOUNT), currency_code="CHF")

    assert (late.state, late.captured_minor) == (IntentState.SUCCEEDED, AMOUNT)
    assert apply(gone, intent(IntentState.REQUIRES_PAYMENT_METHOD), currency_code="CHF").state == IntentState.CANCELED


def test_an_event_of_an_open_pages_intent_has_both_read() -> None:
    paid = intent(IntentState.SUCCEEDED, captured_minor=AMOUNT)

    assert not advances(page(intent_id="pi_1"), paid)
    assert advances(page(intent_id="pi_1", session_state=SessionState.COMPLETE), paid)


def test_an_intent_whose_page_expired_shows_nothing_new() -> None:
    over = page(intent_id="pi_1", session_state=SessionState.EXPIRED, state=IntentState.CANCELED)

    assert is_current(over, intent(IntentState.REQUIRES_PAYMENT_METHOD))
    assert not is_current(over, intent(IntentState.PROCESSING))


def test_another_amount_on_the_page_needs_a_person() -> None:
    assert "99.99 CHF" in with_session(page(), session(amount_minor=9_999), currency_code="CHF").mismatch
    assert "100.00 EUR" in with_session(page(), session(currency_code="EUR"), currency_code="CHF").mismatch
    assert not with_session(page(is_setup=True), session(amount_minor=0), currency_code="CHF").mismatch


@pytest.mark.parametrize(
    ("known", "shown", "is_shown"),
    [
        ({}, {}, True),
        ({}, {"state": SessionState.EXPIRED}, False),
        ({"session_state": SessionState.EXPIRED, "state": IntentState.CANCELED}, {"state": SessionState.EXPIRED}, True),
        ({}, {"intent_id": "pi_1"}, False),
        ({"state": IntentState.SUCCEEDED}, {"payment_status": "paid"}, True),
        ({"state": IntentState.PROCESSING}, {"payment_status": "paid"}, False),
        ({"state": IntentState.REQUIRES_CAPTURE}, {}, True),
        ({"state": IntentState.PROCESSING}, {}, False),  # it may have failed since
        ({"state": IntentState.REQUIRES_PAYMENT_METHOD}, {}, False),
        ({"state": IntentState.SUCCEEDED, "is_setup": True}, {"payment_status": "no_payment_required"}, True),
    ],
)
def test_whether_an_event_of_a_page_shows_anything_new(
    known: dict[str, object], shown: dict[str, object], *, is_shown: bool
) -> None:
    if "state" in known and "session_state" not in known:
        known = {"session_state": SessionState.COMPLETE, "intent_id": "pi_1"} | known
        shown = {"state": SessionState.COMPLETE, "intent_id": "pi_1"} | shown

    assert shows_session(page(**known), session(**shown)) == is_shown


# Stripe's objects.


def test_a_session_is_read_whether_its_intent_is_expanded_or_not() -> None:
    plain = {
        "id": "cs_1",
        "object": "checkout.session",
        "status": "complete",
        "payment_status": "paid",
        "amount_total": AMOUNT,
        "currency": "chf",
        "expires_at": int((NOW + LIFE_MAX).timestamp()),
        "payment_intent": "pi_1",
        "setup_intent": None,
        "url": None,
    }
    expected = session(state=SessionState.COMPLETE, payment_status="paid", intent_id="pi_1", url="")

    assert session_facts(plain) == expected
    assert session_facts(plain | {"payment_intent": {"id": "pi_1", "object": "payment_intent"}}) == expected
    assert intent_in(plain) == {}
    assert intent_in(plain | {"setup_intent": {"id": "seti_1"}}) == {"id": "seti_1"}
    assert session_facts(plain | {"payment_intent": None, "setup_intent": "seti_1"}).intent_id == "seti_1"
    assert session_facts(plain | {"amount_total": None, "currency": None}).amount_minor == 0


def test_what_an_intent_or_a_charge_claims() -> None:
    ours = {"payment_id": "pay_1", "attempt": "2"}
    claim = Claim(payment_id="pay_1", attempt=2, intent_id="pi_1")
    shown = {"id": "pi_1", "object": "payment_intent", "metadata": ours}

    assert claim_of(shown) == claim
    assert claim.is_borne_out_by(shown)
    assert not claim.is_borne_out_by(shown | {"metadata": ours | {"attempt": "1"}})
    assert claim_of({"id": "ch_1", "object": "charge", "payment_intent": "pi_1", "metadata": ours}) == claim
    for nothing in ({}, {"payment_id": "pay_1"}, ours | {"attempt": "-1"}, ours | {"attempt": ""}):
        assert claim_of(shown | {"metadata": nothing}) is None
