"""The rules of the mirror: amounts that hold whatever is seen, and in whatever order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.gateway.call_log import backoff
from services.gateway.call_log.call import IDEMPOTENCY_KEY_TTL
from services.gateway.intents.domain import NEVER_BACK, RANK, Hold, Intent, IntentFacts, advances, apply, is_current
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.observation import conclude as conclude_in
from services.gateway.refunds.domain import Refund, RefundState
from services.shared import codec
from services.shared.payment import Method, PaymentError
from services.shared.states import IntentState

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AMOUNT = 10_000
VISA = Method(payment_method_id="pm_1", type="card", brand="visa", last4="4242", expire_month=4, expire_year=2030)
ID_ALONE = Method(payment_method_id="pm_1")
DECLINED = PaymentError(code="card_declined", decline_code="insufficient_funds", message="No.")
HOLD = Hold(expire_time=NOW + timedelta(days=7))
START = Observation(payment_id="pay_1")
conclude = partial(conclude_in, currency_code="CHF")


def intent(attempt: int = 1, **changes: object) -> Intent:
    """An attempt as it was made, with `changes`."""
    made = Intent(
        attempt=attempt, amount_minor=AMOUNT, application_fee_minor=0, create_time=NOW, intent_id=f"pi_{attempt}"
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # fields of an Intent


def facts(state: str = IntentState.REQUIRES_PAYMENT_METHOD, **changes: object) -> IntentFacts:
    shown = IntentFacts(
        intent_id="pi_1",
        state=state,
        amount_minor=AMOUNT,
        currency_code="CHF",
        captured_minor=AMOUNT if state == IntentState.SUCCEEDED else 0,
        capturable_minor=AMOUNT if state == IntentState.REQUIRES_CAPTURE else 0,
        hold=HOLD if state == IntentState.REQUIRES_CAPTURE else None,
    )
    return replace(shown, **changes)  # type: ignore[arg-type]  # fields of IntentFacts


def refund(amount_minor: int, *, state: str = RefundState.SUCCEEDED, attempt: int = 1) -> Refund:
    refund_id = f"refund_{attempt}_{amount_minor}_{state}"
    return Refund(refund_id=refund_id, attempt=attempt, amount_minor=amount_minor, create_time=NOW, state=state)


def paid(attempt: int = 1, **changes: object) -> Intent:
    return intent(attempt, state=IntentState.SUCCEEDED, captured_minor=AMOUNT, **changes)


# What is seen of one intent.


def test_each_decline_is_counted_once() -> None:
    first = facts(error=DECLINED, error_mark="ch_1")

    once = apply(intent(), first, currency_code="CHF")
    again = apply(once, first, currency_code="CHF")
    twice = apply(again, facts(error=DECLINED, error_mark="ch_2"), currency_code="CHF")

    assert [one.decline_count for one in (once, again, twice)] == [1, 1, 2]


def test_the_same_card_may_fail_to_authenticate_twice() -> None:
    failed = facts(error=DECLINED, error_mark="failed:pm_1")

    state = apply(intent(), failed, currency_code="CHF")
    state = apply(state, facts(IntentState.REQUIRES_ACTION), currency_code="CHF")
    state = apply(state, failed, currency_code="CHF")

    assert state.decline_count == 2


def test_what_is_shown_in_part_does_not_erase_what_was_seen_in_full() -> None:
    known = apply(
        intent(), facts(IntentState.SUCCEEDED, method=VISA, disputed=True, charge_id="ch_1"), currency_code="CHF"
    )

    after = apply(known, facts(IntentState.SUCCEEDED, method=ID_ALONE), currency_code="CHF")

    assert (after.method, after.disputed, after.charge_id) == (VISA, True, "ch_1")


def test_another_method_replaces_the_one_before() -> None:
    other = Method(payment_method_id="pm_2", type="card", brand="amex", last4="0005")

    after = apply(intent(method=VISA), facts(method=other), currency_code="CHF")

    assert after.method == other


@pytest.mark.parametrize("shown", [facts(amount_minor=1), facts(currency_code="EUR")])
def test_another_amount_or_currency_than_asked_for_is_a_mismatch(shown: IntentFacts) -> None:
    after = apply(intent(), shown, currency_code="CHF")

    assert "100.00 CHF" in after.mismatch
    assert [one.reason for one in conclude(START, [after], []).attentions] == ["AMOUNT_MISMATCH"]
    assert apply(after, facts(), currency_code="CHF").mismatch == ""


# Which snapshots may be applied without a reading.


@pytest.mark.parametrize("state", sorted(RANK))
def test_whatever_follows_an_untouched_intent_advances_it(state: str) -> None:
    assert advances(intent(), facts(state)) == (state != IntentState.REQUIRES_PAYMENT_METHOD)


@pytest.mark.parametrize("state", sorted(RANK))
def test_after_a_decline_only_what_is_never_left_backwards_advances(state: str) -> None:
    declined = intent(error=DECLINED, error_mark="ch_1")

    assert advances(declined, facts(state)) == (state in NEVER_BACK)


@pytest.mark.parametrize("last", [IntentState.SUCCEEDED, IntentState.CANCELED])
@pytest.mark.parametrize("state", sorted(RANK))
def test_nothing_advances_what_is_over(last: str, state: str) -> None:
    assert not advances(intent(state=last), facts(state))


def test_a_snapshot_that_takes_back_money_or_changes_the_amount_does_not_advance() -> None:
    held = intent(state=IntentState.REQUIRES_CAPTURE, captured_minor=500)

    assert advances(held, facts(IntentState.SUCCEEDED, captured_minor=500))
    assert not advances(held, facts(IntentState.SUCCEEDED, captured_minor=499))
    assert not advances(held, facts(IntentState.SUCCEEDED, amount_minor=1))


def test_a_method_of_which_only_the_id_is_shown_has_to_be_read_unless_it_is_known() -> None:
    assert not advances(intent(), facts(IntentState.SUCCEEDED, method=ID_ALONE))
    assert advances(intent(method=VISA), facts(IntentState.SUCCEEDED, method=ID_ALONE))
    assert advances(intent(), facts(IntentState.SUCCEEDED, method=VISA))


def test_a_snapshot_says_nothing_new_only_when_nothing_it_shows_is_new() -> None:
    known = apply(intent(), facts(IntentState.SUCCEEDED, method=VISA), currency_code="CHF")

    assert is_current(known, facts(IntentState.SUCCEEDED, method=ID_ALONE))
    for news in (
        facts(IntentState.CANCELED),
        facts(IntentState.SUCCEEDED, captured_minor=1),
        facts(IntentState.SUCCEEDED, amount_minor=1),
        facts(IntentState.SUCCEEDED, error_mark="ch_2"),
        facts(IntentState.SUCCEEDED, refunded_minor=1),
        facts(IntentState.SUCCEEDED, method=Method(payment_method_id="pm_2")),
    ):
        assert not is_current(known, news)


# What is true of the payment.


def test_nothing_is_observed_before_an_intent_exists() -> None:
    assert conclude(START, [intent(intent_id="")], []) == START


def test_a_version_says_something_new() -> None:
    first = conclude(START, [intent()], [])
    again = conclude(first, [intent()], [])
    later = conclude(again, [paid()], [])

    assert [one.mirror_version for one in (first, again, later)] == [1, 1, 2]


def test_the_time_of_a_version_says_nothing_new() -> None:
    kept = replace(conclude(START, [intent()], []), observe_time=NOW)

    assert conclude(kept, [intent()], []) == kept


def test_an_unknown_outcome_is_news_and_its_end_too() -> None:
    first = conclude(START, [intent()], [])
    unknown = conclude(first, [intent()], [], outcome_unknown=True)
    settled = conclude(unknown, [intent()], [])

    assert unknown.outcome_unknown
    assert not settled.outcome_unknown
    assert [one.mirror_version for one in (first, unknown, settled)] == [1, 2, 3]


def test_what_was_held_stays_the_largest_amount_agreed_to() -> None:
    held = conclude(START, [intent(state=IntentState.REQUIRES_CAPTURE, capturable_minor=AMOUNT)], [])
    partly = conclude(held, [intent(state=IntentState.SUCCEEDED, captured_minor=4_000)], [])

    assert (held.amounts.authorized_minor, held.amounts.capturable_minor) == (AMOUNT, AMOUNT)
    assert (partly.amounts.authorized_minor, partly.amounts.captured_minor) == (AMOUNT, 4_000)
    assert partly.amounts.capturable_minor == 0


def test_the_attempt_that_took_money_first_keeps_counting() -> None:
    canceled = intent(1, state=IntentState.CANCELED)
    counted = conclude(START, [canceled, paid(2)], [])

    late = conclude(counted, [paid(1), paid(2)], [refund(1_000, attempt=2)])

    assert (counted.attempt, late.attempt) == (2, 2)
    assert (late.amounts.captured_minor, late.amounts.surplus_minor) == (AMOUNT, AMOUNT)
    assert (late.amounts.refunded_minor, late.refundable_minor) == (1_000, AMOUNT - 1_000)
    assert [one.reason for one in late.attentions] == ["SURPLUS"]


def test_money_taken_counts_before_money_held() -> None:
    held = intent(1, state=IntentState.REQUIRES_CAPTURE, capturable_minor=AMOUNT)
    before = conclude(START, [held], [])

    after = conclude(before, [held, paid(2)], [])

    assert (after.attempt, after.amounts.captured_minor) == (2, AMOUNT)
    assert after.amounts.surplus_minor == 0, "nothing of it was taken"


@pytest.mark.parametrize("other", [paid(2), intent(2, state=IntentState.REQUIRES_CAPTURE, capturable_minor=AMOUNT)])
def test_what_is_held_beside_the_attempt_that_counts_wants_attention(other: Intent) -> None:
    held = intent(1, state=IntentState.REQUIRES_CAPTURE, capturable_minor=AMOUNT)
    before = conclude(START, [held], [])

    after = conclude(before, [held, other], [])
    released = conclude(after, [replace(one, capturable_minor=0) for one in (held, other)], [])

    assert before.attentions == ()
    assert [one.reason for one in after.attentions] == ["SURPLUS"]
    assert "100.00 CHF is held" in after.attentions[0].detail
    assert released.attentions == ()


def test_giving_surplus_back_is_no_refund_of_the_payment() -> None:
    both = [paid(1), paid(2)]

    partly = conclude(START, both, [refund(4_000, attempt=2)])
    wholly = conclude(partly, both, [refund(AMOUNT, attempt=2)])

    assert (partly.amounts.surplus_minor, partly.amounts.refunded_minor) == (6_000, 0)
    assert (wholly.amounts.surplus_minor, wholly.attentions) == (0, ())


def test_a_refund_that_failed_is_refundable_again() -> None:
    refunds = [
        refund(1_000),
        refund(2_000, state=RefundState.PENDING),
        refund(3_000, state=RefundState.FAILED),
        refund(500, state=RefundState.CANCELED),
    ]

    amounts = conclude(START, [paid()], refunds)

    assert (amounts.amounts.refunded_minor, amounts.amounts.refund_pending_minor) == (1_000, 2_000)
    assert amounts.refundable_minor == AMOUNT - 3_000


def test_declines_are_counted_over_all_attempts_and_success_clears_the_error() -> None:
    first = intent(1, state=IntentState.CANCELED, decline_count=2, error=DECLINED)
    second = intent(2, decline_count=1, error=DECLINED)

    trying = conclude(START, [first, second], [])
    done = conclude(trying, [first, paid(2, decline_count=1, error=DECLINED)], [])

    assert (trying.decline_count, trying.last_error) == (3, DECLINED)
    assert (done.decline_count, done.last_error) == (3, None)


_INTENTS = st.lists(
    st.builds(
        lambda state, captured, capturable: (state, captured, capturable),
        st.sampled_from(sorted(RANK)),
        st.integers(0, AMOUNT),
        st.integers(0, AMOUNT),
    ),
    min_size=1,
    max_size=4,
)
_REFUNDS = st.lists(
    st.tuples(st.integers(1, 4), st.integers(1, AMOUNT), st.sampled_from(["PENDING", "SUCCEEDED", "FAILED"])),
    max_size=5,
)


@given(st.lists(st.tuples(_INTENTS, _REFUNDS), min_size=1, max_size=4))
def test_whatever_is_seen_money_is_neither_lost_nor_made(
    steps: list[tuple[list[tuple[str, int, int]], list[tuple[int, int, str]]]],
) -> None:
    known = START
    for shown, given_back in steps:
        intents = [
            intent(number, state=state, captured_minor=captured, capturable_minor=min(capturable, AMOUNT - captured))
            for number, (state, captured, capturable) in enumerate(shown, 1)
        ]
        refunds = [refund(amount, state=state, attempt=attempt) for attempt, amount, state in given_back]
        before, known = known, conclude(known, intents, refunds)
        amounts = known.amounts

        others = sum(one.captured_minor for one in intents if one.attempt != known.attempt)
        assert amounts.surplus_minor == sum(
            max(
                0,
                one.captured_minor
                - sum(amount for number, amount, state in given_back if (number, state) == (one.attempt, "SUCCEEDED")),
            )
            for one in intents
            if one.attempt != known.attempt
        )
        assert amounts.captured_minor == intents[known.attempt - 1].captured_minor
        assert amounts.captured_minor or not others  # what was taken is surplus only beside an attempt that took some
        assert amounts.capturable_minor + amounts.captured_minor <= amounts.authorized_minor
        assert known.refundable_minor >= 0
        assert known.mirror_version == before.mirror_version + (
            replace(known, mirror_version=before.mirror_version) != before
        )
        assert codec.from_json(Observation, codec.to_json(known)) == known


def test_what_is_kept_is_read_back_as_it_was() -> None:
    kept = apply(intent(), facts(method=VISA, error=DECLINED, error_mark="ch_1"), currency_code="CHF")
    given_back = refund(1)

    assert codec.from_json(Intent, codec.to_json(kept)) == kept
    assert codec.from_json(Refund, codec.to_json(given_back)) == given_back


def test_the_rest_between_tries_to_settle_doubles_up_to_its_bound() -> None:
    assert [backoff.settle_delay(tries).total_seconds() for tries in (0, 1, 2, 3)] == [1, 2, 4, 8]
    assert backoff.settle_delay(10_000) == backoff.SETTLE_MAX
    assert timedelta(hours=24) > IDEMPOTENCY_KEY_TTL
