"""The rules of the command side, without anything around them."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batzen.client import new_request_id
from services.orchestrator.domain import policies, quote, refund, transitions
from services.orchestrator.domain.payment import ENDED_WITHOUT_MONEY, Observation, Snapshot, derived_id
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.domain.quote import QuoteState
from services.orchestrator.domain.refund import Bearer
from services.orchestrator.domain.terms import Terms, Timing
from services.orchestrator.wire.requests import derived_payment_id
from services.shared import fields
from services.shared.cards import holds_card_number
from services.shared.payment import Amounts, Attention, Method, PaymentError
from services.shared.split import LinePart, Split, with_total
from services.shared.states import Cause, IntentState, State
from services.status.domain.snapshot import MOVES

DECLINE = PaymentError(code="card_declined", decline_code="generic_decline", message="No.", recoverable=True)
TAKEN = Amounts(authorized_minor=100, captured_minor=100)
PART_TAKEN = Amounts(authorized_minor=100, capturable_minor=60, captured_minor=40)

collections = st.sampled_from(
    [*transitions.COLLECTION_OF_INTENT.values(), State.INITIALIZED, State.EXPIRED, State.FAILED]
)
amounts = st.builds(Amounts, captured_minor=st.integers(0, 10), refunded_minor=st.integers(0, 10))
errors = st.none() | st.builds(PaymentError, code=st.just("card_declined"), recoverable=st.booleans())
seen_attentions = st.lists(
    st.builds(Attention, reason=st.sampled_from(["DISPUTE_OPEN", "SURPLUS"]), detail=st.sampled_from(["5", "6"])),
    unique_by=lambda one: one.reason,
).map(tuple)
attentions = st.builds(
    lambda reasons: tuple(Attention(reason=reason, detail=f"{reason}.") for reason in reasons),
    st.lists(st.sampled_from(["LATE_MONEY", "STUCK", "COUPON_OVER_LIMIT"]), unique=True),
)
methods = st.none() | st.builds(Method, payment_method_id=st.just("pm_1"))
snapshots = st.builds(
    Snapshot, collection=collections, amounts=amounts, last_error=errors, attentions=attentions, method=methods
)
observations = st.builds(
    Observation,
    mirror_version=st.integers(1, 100),
    attempt=st.integers(1, 3),
    intent_state=st.sampled_from(sorted(transitions.COLLECTION_OF_INTENT)),
    outcome_unknown=st.booleans(),
    amounts=amounts,
    last_error=errors,
    method=methods,
    attentions=seen_attentions,
    decline_count=st.integers(0, 12),
)


def seen(intent_state: str, **fields: object) -> Observation:
    ours: dict[str, object] = {
        "mirror_version": 2,
        "attempt": 1,
        "outcome_unknown": False,
        "amounts": Amounts(),
        "last_error": None,
        "method": None,
        "attentions": (),
        "decline_count": 0,
    }
    return Observation(intent_state=IntentState(intent_state), **(ours | fields))  # type: ignore[arg-type]


@given(
    before=snapshots,
    observation=observations,
    cancel_outcome=st.sampled_from([None, State.CANCELED, State.EXPIRED, State.FAILED]),
)
def test_what_is_observed_is_a_move_that_status_allows(
    before: Snapshot, observation: Observation, cancel_outcome: State | None
) -> None:
    after = transitions.observed(before, observation, cancel_outcome=cancel_outcome)
    origin, target = before.collection, after.collection
    # Before an intent exists nobody can have paid it, and what was authorised is never asked for a method again.
    if before.collection in (State.INITIALIZED, State.AUTHORIZED):
        return
    assert target is origin or target in MOVES[origin]


@given(before=snapshots, observation=observations)
def test_money_that_was_taken_stays_taken(before: Snapshot, observation: Observation) -> None:
    paid = replace(before, collection=State.SUCCEEDED)
    after = transitions.observed(paid, observation, cancel_outcome=State.CANCELED)
    assert after.collection == State.SUCCEEDED
    assert after.amounts == observation.amounts


@given(before=snapshots, observation=observations)
def test_the_same_observation_twice_says_nothing_new(before: Snapshot, observation: Observation) -> None:
    once = transitions.observed(before, observation, cancel_outcome=None)
    again = transitions.observed(once, observation, cancel_outcome=None)
    if before.collection in ENDED_WITHOUT_MONEY and once.collection not in ENDED_WITHOUT_MONEY:
        return  # applied once only: its version is not newer the second time
    assert not transitions.has_changed(once, again)


@given(before=snapshots)
def test_what_a_submit_changes_of_a_stored_snapshot_is_what_it_makes_true(before: Snapshot) -> None:
    before = replace(before, attentions=(), reason="OUTCOME_UNKNOWN", cause=Cause.OBSERVATION)
    changed = {**before.to_json(), **transitions.submitted_changes()}
    assert changed == transitions.submitted(before).to_json()


@given(before=snapshots)
def test_a_snapshot_is_kept_as_it_is(before: Snapshot) -> None:
    assert Snapshot.from_json(before.to_json()) == before


def test_an_outcome_that_is_not_known_is_processing_and_never_failed() -> None:
    submitted = transitions.submitted(Snapshot(collection=State.REQUIRES_PAYMENT_METHOD))
    after = transitions.observed(
        submitted, seen("REQUIRES_PAYMENT_METHOD", outcome_unknown=True), cancel_outcome=State.FAILED
    )
    assert (after.collection, after.reason) == (State.PROCESSING, "OUTCOME_UNKNOWN")


@pytest.mark.parametrize("ended", sorted(ENDED_WITHOUT_MONEY))
def test_an_outcome_that_is_not_known_does_not_bring_an_ended_payment_back(ended: State) -> None:
    after = transitions.observed(
        Snapshot(collection=ended), seen("CANCELED", outcome_unknown=True), cancel_outcome=None
    )
    assert after.collection == ended


@pytest.mark.parametrize("ended", sorted(ENDED_WITHOUT_MONEY))
@pytest.mark.parametrize("state", ["SUCCEEDED", "REQUIRES_CAPTURE", "PROCESSING"])
def test_money_after_the_end_is_applied_and_asks_for_a_person(ended: State, state: str) -> None:
    after = transitions.observed(Snapshot(collection=ended), seen(state, amounts=TAKEN), cancel_outcome=ended)
    assert after.collection == transitions.COLLECTION_OF_INTENT[IntentState(state)]
    assert after.amounts == TAKEN
    assert [one.reason for one in after.attentions] == ["LATE_MONEY"]


def test_a_surplus_that_comes_with_late_money_is_what_an_operator_hears_of_first() -> None:
    surplus = Attention(reason="SURPLUS", detail="5 too much.")
    after = transitions.observed(
        Snapshot(collection=State.EXPIRED), seen("SUCCEEDED", attentions=(surplus,)), cancel_outcome=State.EXPIRED
    )
    late = Attention(reason="LATE_MONEY", detail="Money came after the payment was EXPIRED.")
    assert after.attentions == (surplus, late)


def test_what_is_seen_at_stripe_needs_an_operator_for_as_long_as_it_is_seen() -> None:
    surplus = Attention(reason="SURPLUS", detail="5 too much.")
    paid = transitions.observed(
        Snapshot(collection=State.SUCCEEDED), seen("SUCCEEDED", attentions=(surplus,)), cancel_outcome=None
    )
    assert paid.attentions == (surplus,)
    less = transitions.observed(
        paid, seen("SUCCEEDED", attentions=(replace(surplus, detail="2 too much."),)), cancel_outcome=None
    )
    assert less.attentions == (replace(surplus, detail="2 too much."),)
    assert transitions.observed(less, seen("SUCCEEDED"), cancel_outcome=None).attentions == ()


@pytest.mark.parametrize("reason", ["LATE_MONEY", "COUPON_OVER_LIMIT", "QUOTE_REFUSED", "TRANSITION_REFUSED"])
def test_what_an_operator_has_to_resolve_stands_whatever_is_seen_or_done(reason: str) -> None:
    before = Snapshot(collection=State.REQUIRES_PAYMENT_METHOD, attentions=(Attention(reason=reason),))
    for after in (
        transitions.observed(before, seen("SUCCEEDED"), cancel_outcome=None),
        transitions.submitted(before),
        transitions.moving(before),
    ):
        assert after.attentions == before.attentions


def test_what_is_stuck_is_so_until_it_moves() -> None:
    stuck = transitions.parked(Snapshot(collection=State.INITIALIZED), Attention(reason="STUCK", detail="Away."))
    assert stuck.is_stuck
    steps = (
        transitions.opened(stuck, attempt=1),
        transitions.start_expired(stuck),
        transitions.refused(stuck, "seller_not_payable"),
        transitions.paid_nothing(stuck),
        transitions.submitted(stuck),
        transitions.submit_expired(stuck),
        transitions.observed(stuck, seen("SUCCEEDED"), cancel_outcome=None),
        transitions.moving(stuck),
    )
    assert not any(after.attentions for after in steps)


def test_every_cause_is_kept_beside_the_others_once() -> None:
    stuck = transitions.parked(
        Snapshot(collection=State.SUCCEEDED), Attention(reason="STUCK", detail="Tried 20 times.")
    )
    both = transitions.parked(
        transitions.quote_problem(stuck, "OVER_LIMIT"), Attention(reason="STUCK", detail="Tried 40 times.")
    )
    assert both.attentions == (
        Attention(reason="STUCK", detail="Tried 40 times."),
        Attention(reason="COUPON_OVER_LIMIT", detail="The payment used a coupon beyond its limit."),
    )


@pytest.mark.parametrize(
    ("cancel_outcome", "collection"),
    [(None, State.CANCELED), (State.EXPIRED, State.EXPIRED), (State.FAILED, State.FAILED)],
)
def test_a_cancelled_intent_means_what_it_was_cancelled_for(cancel_outcome: State | None, collection: State) -> None:
    before = Snapshot(collection=State.REQUIRES_ACTION, last_error=DECLINE)
    after = transitions.observed(before, seen("CANCELED"), cancel_outcome=cancel_outcome)
    assert after.collection == collection
    assert after.last_error is not None
    assert after.last_error.recoverable is (collection != State.FAILED)


@pytest.mark.parametrize(
    ("said", "is_given_up"),
    [
        (Snapshot(collection=State.REQUIRES_PAYMENT_METHOD), False),
        (Snapshot(collection=State.REQUIRES_PAYMENT_METHOD, last_error=DECLINE, decline_count=9), False),
        (Snapshot(collection=State.REQUIRES_PAYMENT_METHOD, last_error=DECLINE, decline_count=10), True),
        (Snapshot(collection=State.REQUIRES_PAYMENT_METHOD, last_error=replace(DECLINE, recoverable=False)), True),
        (Snapshot(collection=State.PROCESSING, decline_count=10), False),
        (Snapshot(collection=State.SUCCEEDED, decline_count=10), False),
    ],
)
def test_when_no_further_method_is_taken(said: Snapshot, is_given_up: bool) -> None:
    assert policies.is_given_up(said) is is_given_up


@pytest.mark.parametrize(
    ("amounts", "refundable_minor"),
    [
        (Amounts(), 0),
        (TAKEN, 100),
        (replace(TAKEN, refunded_minor=30, refund_pending_minor=20), 50),
        (replace(TAKEN, disputed_open_minor=100), 0),
        (replace(TAKEN, refunded_minor=50, disputed_lost_minor=100), 0),
    ],
)
def test_what_can_still_be_given_back(amounts: Amounts, refundable_minor: int) -> None:
    assert amounts.refundable_minor == refundable_minor


def test_waits_grow_to_a_limit_and_a_person_is_asked_after_about_a_quarter_of_an_hour() -> None:
    delays = [policies.retry_delay(tries) for tries in range(1, 200)]
    assert all(one <= other for one, other in pairwise(delays))
    assert delays[0] <= timedelta(seconds=1)
    assert delays[-1] == policies.RETRY_MAX
    until_parked = sum(delays[: policies.PARKED_AFTER_TRIES], timedelta())
    assert timedelta(minutes=10) < until_parked < timedelta(minutes=20)


def test_a_derived_id_is_the_same_for_ever_and_of_its_fact_alone() -> None:
    first = derived_id("pay_1", "step:open:1")
    assert str(first) == "84ec8339-3c88-59f6-92b5-084000b72837"
    assert derived_id("pay_2", "step:open:1") != first
    assert derived_id("pay_1", "step:intent:1") != first


# Quotes.


@pytest.mark.parametrize(
    ("before", "latest", "after"),
    [
        (None, Snapshot(), None),
        (None, Snapshot(collection=State.PROCESSING), None),
        (None, Snapshot(collection=State.AUTHORIZED), None),  # held, and nothing captured: it may still come to nothing
        (None, Snapshot(collection=State.AUTHORIZED, amounts=PART_TAKEN), QuoteState.REDEEMED),
        (None, Snapshot(collection=State.SUCCEEDED), QuoteState.REDEEMED),
        (None, Snapshot(collection=State.FAILED), QuoteState.RELEASED),
        (None, Snapshot(collection=State.CANCELED), QuoteState.RELEASED),
        (None, Snapshot(collection=State.EXPIRED), QuoteState.RELEASED),
        # Money may be coming, and is not there.
        (QuoteState.RELEASED, Snapshot(collection=State.PROCESSING), QuoteState.RELEASED),
        (QuoteState.RELEASED, Snapshot(collection=State.AUTHORIZED), QuoteState.RELEASED),
        (QuoteState.RELEASED, Snapshot(collection=State.SUCCEEDED), QuoteState.REDEEMED),
        (QuoteState.REDEEMED, Snapshot(collection=State.CANCELED), QuoteState.REDEEMED),
    ],
)
def test_a_quote_is_redeemed_for_money_and_released_for_none(
    before: QuoteState | None, latest: Snapshot, after: QuoteState | None
) -> None:
    assert quote.next_state(before, latest) == after


@given(st.lists(snapshots, max_size=6))
def test_what_was_redeemed_stays_so_and_what_was_decided_stays_decided(way: list[Snapshot]) -> None:
    states: list[QuoteState | None] = [None]
    for snapshot in way:
        states.append(quote.next_state(states[-1], snapshot))
    order = [None, QuoteState.RELEASED, QuoteState.REDEEMED]
    assert all(order.index(before) <= order.index(after) for before, after in pairwise(states))


@given(snapshots, st.sampled_from(["OVER_LIMIT", "QUOTE_NOT_FOUND"]))
def test_what_pricing_answers_is_added_to_what_an_operator_hears_already(before: Snapshot, problem: str) -> None:
    after = transitions.quote_problem(before, problem)
    assert replace(after, attentions=before.attentions, cause=before.cause) == before
    of_before = [one.reason for one in before.attentions]
    assert [one.reason for one in after.attentions][: len(of_before)] == of_before
    assert set(before.attentions) <= set(after.attentions) or "COUPON_OVER_LIMIT" in of_before


# Time.


@pytest.mark.parametrize(
    ("before", "after", "is_one"),
    [
        (Snapshot(collection=State.REQUIRES_PAYMENT_METHOD), transitions.submitted(Snapshot()), True),
        (Snapshot(), transitions.opened(Snapshot(), attempt=1), True),
        (transitions.submitted(Snapshot()), transitions.submit_expired(Snapshot()), True),
        (
            Snapshot(collection=State.PROCESSING),
            Snapshot(collection=State.REQUIRES_ACTION, cause=Cause.OBSERVATION),
            True,
        ),
        (
            Snapshot(collection=State.REQUIRES_ACTION),
            Snapshot(collection=State.REQUIRES_ACTION, cause=Cause.OBSERVATION),
            True,
        ),
        (Snapshot(collection=State.PROCESSING), Snapshot(collection=State.PROCESSING, cause=Cause.OBSERVATION), False),
        (
            Snapshot(collection=State.REQUIRES_ACTION),
            transitions.parked(Snapshot(collection=State.REQUIRES_ACTION), Attention(reason="STUCK")),
            False,
        ),
    ],
)
def test_what_is_a_sign_of_life_of_the_payer(before: Snapshot, after: Snapshot, is_one: bool) -> None:
    assert policies.is_sign_of_life(before, after) is is_one


def test_a_quote_stands_for_as_long_as_any_payment_may_wait_for_its_payer() -> None:
    for abandoned_after in (timedelta(seconds=1), policies.ABANDONED_AFTER, timedelta(days=30)):
        at_once = policies.quote_ttl(Terms(), abandoned_after)
        held = policies.quote_ttl(Terms(timing=Timing.MANUAL_CAPTURE), abandoned_after)
        assert held - policies.HOLD_MAX >= at_once > policies.life_max(abandoned_after) > abandoned_after


# Ids.


def start_of(request_id: str, *, caller: str = "shop", tenant_id: str = "main") -> RequestKey:
    return RequestKey(tenant_id=tenant_id, caller=caller, method="StartPayment", request_id=uuid.UUID(request_id))


def test_no_payments_id_passes_for_the_number_of_a_card() -> None:
    unlucky = "00000001-0000-4000-8000-000000723b4f"
    assert holds_card_number("pay_7gx4390425705705rwmepw3bg4"), "what it would be called"
    payment_id = derived_payment_id(start_of(unlucky))
    assert not holds_card_number(payment_id)
    assert payment_id == derived_payment_id(start_of(unlucky)) == fields.payment_id(payment_id)


def test_a_payments_id_is_made_of_its_start_for_ever() -> None:
    random = "5b2e0a5e-6d4c-4b6e-8f53-1f0b8f3b2c11"
    assert derived_payment_id(start_of(random)) == "pay_7cfrxemztd1xmb40nt48rbhcva"
    in_time = "0199aa00-0000-7b6e-8f53-1f0b8f3b2c11"
    assert derived_payment_id(start_of(in_time)) == "pay_01k6n0000029m5nr11r0b1341p"
    ids = {
        derived_payment_id(start_of(one, caller=caller, tenant_id=tenant_id))
        for one in (random, in_time)
        for caller in ("shop", "other")
        for tenant_id in ("main", "other")
    }
    assert len(ids) == 8


@given(st.lists(st.tuples(st.integers(0, 2**48 - 1), st.integers(0, 2**74 - 1)), min_size=2))
def test_payments_of_requests_that_are_told_by_their_time_stand_in_its_order(made: list[tuple[int, int]]) -> None:
    keys = [
        start_of(
            str(uuid.UUID(int=milliseconds << 80 | 0x7 << 76 | (rest >> 62) << 64 | 0b10 << 62 | rest & (1 << 62) - 1))
        )
        for milliseconds, rest in made
    ]
    ids = [derived_payment_id(key) for key in keys]
    assert all(re.fullmatch("pay_[0-9a-hjkmnp-tv-z]{26}", one) for one in ids)
    for (one, one_id), (other, other_id) in pairwise(zip([first for first, _ in made], ids, strict=True)):
        assert (one < other) <= (one_id < other_id)


def test_the_ids_of_the_client_are_told_by_their_time() -> None:
    ids = [uuid.UUID(new_request_id()) for _ in range(100)]
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert len(set(ids)) == 100
    milliseconds = [one.int >> 80 for one in ids]
    assert milliseconds == sorted(milliseconds)
    assert abs(milliseconds[0] / 1000 - time.time()) < 60


# Parts and refunds.


def split_of(*lines: tuple[str, int, int]) -> Split:
    """Return a split of lines, each of its own seller: whose, what is paid, what of that the platform keeps."""
    return Split(
        lines=tuple(
            LinePart(
                line_id=f"line_of_{seller_id}",
                seller_id=seller_id,
                gross_minor=gross_minor,
                seller_minor=gross_minor - fee_minor,
                platform_fee_minor=fee_minor,
            )
            for seller_id, gross_minor, fee_minor in lines
        )
    )


def standing(split: Split, gone: Mapping[str, int] | None = None) -> dict[str, refund.LineStanding]:
    """Return how the lines stand once so much of each went back, of all that was captured."""
    gone = gone or {}
    return {
        line.line_id: refund.LineStanding(
            captured_minor=line.gross_minor,
            standing_minor=line.gross_minor - gone.get(line.line_id, 0),
            refundable_minor=line.gross_minor - gone.get(line.line_id, 0),
        )
        for line in split.lines
    }


def refunded(
    amount_minor: int, split: Split, gone: Mapping[str, int] | None = None, *, bearer: Bearer = Bearer.SHARED
) -> tuple[refund.RefundedLine, ...]:
    lines = standing(split, gone)
    return refund.taken(refund.allocated(amount_minor, split, lines, tuple(lines)), split, lines, bearer)


@st.composite
def refunds_of_a_payment(draw: st.DrawFn) -> tuple[Split, list[int]]:
    """Return a split, and refunds that together give all of it back."""
    grosses = draw(st.lists(st.integers(0, 2_000), min_size=1, max_size=5).filter(any))
    split = split_of(*((f"seller_{place}", gross, draw(st.integers(0, gross))) for place, gross in enumerate(grosses)))
    left, amounts = sum(grosses), []
    while left:
        amounts.append(draw(st.integers(1, left)))
        left -= amounts[-1]
    return split, amounts


@given(refunds_of_a_payment())
def test_refunds_in_whatever_steps_take_back_each_part_and_its_fee_exactly(case: tuple[Split, list[int]]) -> None:
    split, amounts = case
    gone: dict[str, int] = {}
    fees: dict[str, int] = {}
    for amount_minor in amounts:
        taken = refunded(amount_minor, split, gone)
        assert sum(one.gross_minor for one in taken) == amount_minor
        for one in taken:
            assert one.shares.seller_minor + one.shares.platform_fee_minor == one.gross_minor
            assert min(one.gross_minor, one.shares.seller_minor) >= 0, "no seller gets more for giving back"
            gone[one.line_id] = gone.get(one.line_id, 0) + one.gross_minor
            fees[one.line_id] = fees.get(one.line_id, 0) + one.shares.platform_fee_minor
    for line in split.lines:
        assert gone.get(line.line_id, 0) == line.gross_minor
        assert fees.get(line.line_id, 0) == line.platform_fee_minor


def test_a_refund_falls_to_the_lines_by_what_is_left_of_them_the_largest_remainder_up() -> None:
    taken = refunded(100, split_of(("s1", 10_000, 1_500), ("s2", 5_000, 750), ("s3", 3_000, 450)))
    assert [one.gross_minor for one in taken] == [55, 28, 17]
    # What the platform keeps of what stands is rounded half up: of 9945 it keeps 1492 (1491.75), of 4972 746 (745.8).
    assert [one.shares.platform_fee_minor for one in taken] == [8, 4, 3]


def test_what_a_refund_takes_from_whom_follows_from_who_bears_it() -> None:
    split = split_of(("s1", 10_000, 1_500))
    for bearer, seller_minor, fee_minor, borne_minor in (
        (Bearer.SHARED, 3_400, 600, 0),
        (Bearer.SELLER, 4_000, 0, 0),
        (Bearer.PLATFORM, 0, 0, 4_000),
    ):
        [one] = refunded(4_000, split, bearer=bearer)
        assert (one.shares.seller_minor, one.shares.platform_fee_minor) == (seller_minor, fee_minor)
        assert one.platform_borne_minor == borne_minor


def test_what_was_taken_beyond_the_total_is_of_no_line() -> None:
    """Stripe took 120 where 100 were asked for: an operator sees what a refund of the rest does."""
    split = split_of(("s1", 100, 15))
    for gone, of_line in ((0, [(100, 15)]), (90, [(10, 2)]), (100, [])):
        taken = refunded(120 - gone, split, {"line_of_s1": gone})
        assert [(one.gross_minor, one.shares.platform_fee_minor) for one in taken] == of_line


def test_what_a_platform_funds_goes_back_with_a_line_that_costs_nothing() -> None:
    free = LinePart(
        line_id="free",
        seller_id="s1",
        gross_minor=0,
        seller_minor=850,
        platform_fee_minor=150,
        discounts_funded_minor=1_000,
    )
    paid = LinePart(line_id="paid", seller_id="s2", gross_minor=1_000, seller_minor=850, platform_fee_minor=150)
    taken = refunded(500, Split(lines=(free, paid)))
    assert [(one.line_id, one.gross_minor, one.shares.seller_minor) for one in taken] == [
        ("free", 0, 425),
        ("paid", 500, 425),
    ]
    assert [one.shares.discounts_funded_minor for one in taken] == [500, 0]


def test_what_rounding_adds_to_a_total_is_of_the_first_line() -> None:
    split = with_total(split_of(("s1", 33, 0), ("s2", 33, 0)), 65)
    assert [(line.gross_minor, line.rounding_minor) for line in split.lines] == [(32, -1), (33, 0)]
