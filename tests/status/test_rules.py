"""The rules of a payment's state, without anything around them."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.shared.payment import Amounts, Attention, Method, PaymentError
from services.shared.states import Cause, Phase, State
from services.status.domain.snapshot import (
    COLLECTIONS,
    ENDS,
    MOVES,
    NEVER_SETTLED,
    PHASES,
    Snapshot,
    is_settled,
    legal_from,
    state_of,
)
from services.status.domain.state_tables import render_tables
from services.status.storage.rows import snapshot_from, snapshot_json
from tests.status.samples import rules_snapshot

minor = st.integers(min_value=0, max_value=2**63 - 1)
signed_minor = st.integers(min_value=-(2**63), max_value=2**63 - 1)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)


@st.composite
def possible_amounts(draw: st.DrawFn) -> Amounts:
    """Amounts as money can move: an authorisation, captures out of it, refunds out of these, disputes of anything."""
    authorized = draw(minor)
    captured = draw(st.integers(0, authorized))
    refunded = draw(st.integers(0, captured))
    return Amounts(
        authorized_minor=authorized,
        captured_minor=captured,
        capturable_minor=draw(st.integers(0, authorized - captured)),
        refunded_minor=refunded,
        refund_pending_minor=draw(st.integers(0, captured - refunded)),
        disputed_open_minor=draw(minor),
        disputed_lost_minor=draw(minor),
        surplus_minor=draw(minor),
    )


any_amounts = st.builds(Amounts, **dict.fromkeys(Amounts.__slots__, signed_minor))
snapshots = st.builds(
    Snapshot,
    collection=st.sampled_from(COLLECTIONS),
    cause=st.sampled_from(Cause),
    amounts=possible_amounts(),
    last_error=st.none()
    | st.builds(PaymentError, code=texts, decline_code=texts, message=texts, recoverable=st.booleans()),
    attentions=st.lists(st.builds(Attention, reason=texts, detail=texts), max_size=3).map(tuple),
    reason=texts,
    method=st.none() | st.builds(Method, payment_method_id=texts, type=texts, brand=texts, last4=texts),
    attempt=st.integers(0, 2**31 - 1),
    decline_count=st.integers(0, 2**31 - 1),
)


def test_the_table_has_a_row_for_each_collection_and_no_other_target() -> None:
    assert set(COLLECTIONS) == set(State) - {
        State.PARTIALLY_REFUNDED,
        State.REFUNDED,
        State.DISPUTED,
        State.DISPUTE_LOST,
    }
    assert {target for targets in MOVES.values() for target in targets} <= set(COLLECTIONS)
    assert all(origin not in targets for origin, targets in MOVES.items())
    assert set(PHASES) == set(State)
    assert set(PHASES.values()) == set(Phase)


def test_a_success_is_never_left() -> None:
    assert MOVES[State.SUCCEEDED] == ()


@pytest.mark.parametrize("ended", [State.FAILED, State.CANCELED, State.EXPIRED])
def test_late_money_is_legal_and_nothing_else(ended: State) -> None:
    assert set(MOVES[ended]) == {State.PROCESSING, State.AUTHORIZED, State.SUCCEEDED}


def test_every_collection_can_be_reached_from_the_first() -> None:
    reached = {State.INITIALIZED}
    for _ in COLLECTIONS:
        reached |= {target for origin in reached for target in MOVES[origin]}

    assert reached == set(COLLECTIONS)


@pytest.mark.parametrize(("origin", "target"), [*product(COLLECTIONS, COLLECTIONS)])
def test_the_guard_says_what_the_table_says(origin: State, target: State) -> None:
    taken = Amounts(authorized_minor=5, captured_minor=5) if target is State.SUCCEEDED else Amounts()
    in_table = origin is target or target in MOVES[origin]
    snapshot = rules_snapshot(target, amounts=taken)

    assert (origin in legal_from(snapshot, total_is_zero=True)) is in_table
    is_free_success = (origin, target) == (State.INITIALIZED, State.SUCCEEDED)
    assert (origin in legal_from(snapshot, total_is_zero=False)) is (in_table and not is_free_success)


def test_a_success_of_nothing_is_legal_only_when_nothing_was_to_collect() -> None:
    nothing_captured = rules_snapshot(State.SUCCEEDED)

    assert State.INITIALIZED in legal_from(nothing_captured, total_is_zero=True)
    assert legal_from(nothing_captured, total_is_zero=False) == ()


def test_an_operator_moves_by_the_same_table() -> None:
    by_operator = Snapshot(collection=State.FAILED, cause=Cause.OPERATOR)

    assert State.SUCCEEDED not in legal_from(by_operator, total_is_zero=False)
    assert State.PROCESSING in legal_from(by_operator, total_is_zero=False)


@given(snapshots)
def test_the_state_follows_the_first_rule_that_holds(snapshot: Snapshot) -> None:
    amounts, state = snapshot.amounts, state_of(snapshot)

    if amounts.disputed_open_minor:
        assert state is State.DISPUTED
    elif amounts.disputed_lost_minor:
        assert state is State.DISPUTE_LOST
    elif amounts.refunded_minor and amounts.refunded_minor == amounts.captured_minor and not amounts.capturable_minor:
        assert state is State.REFUNDED
    elif amounts.refunded_minor:
        assert state is State.PARTIALLY_REFUNDED
    else:
        assert state is snapshot.collection


@given(snapshots)
def test_settled_means_that_nothing_is_awaited(snapshot: Snapshot) -> None:
    awaited = snapshot.amounts.refund_pending_minor > 0 or snapshot.amounts.disputed_open_minor > 0

    assert is_settled(snapshot) is (snapshot.collection in ENDS and not awaited)
    assert not (is_settled(snapshot) and state_of(snapshot) in NEVER_SETTLED)


@given(possible_amounts())
def test_what_can_happen_to_money_is_never_refused(amounts: Amounts) -> None:
    assert amounts.contradiction() is None


@given(any_amounts)
def test_what_cannot_happen_is_refused(amounts: Amounts) -> None:
    is_possible = (
        all(getattr(amounts, name) >= 0 for name in Amounts.__slots__)
        and amounts.capturable_minor + amounts.captured_minor <= amounts.authorized_minor
        and amounts.refunded_minor + amounts.refund_pending_minor <= amounts.captured_minor
    )

    assert (amounts.contradiction() is None) is is_possible


def test_a_refund_that_fails_late_takes_the_state_back() -> None:
    refunded = Amounts(authorized_minor=10, captured_minor=10, refunded_minor=10)
    failed = Amounts(authorized_minor=10, captured_minor=10)

    assert state_of(rules_snapshot(amounts=refunded)) is State.REFUNDED
    assert state_of(rules_snapshot(amounts=failed)) is State.SUCCEEDED
    assert State.SUCCEEDED in legal_from(rules_snapshot(amounts=failed), total_is_zero=False)


def test_what_was_captured_and_given_back_while_more_is_held_is_never_refunded() -> None:
    held = Amounts(authorized_minor=10, capturable_minor=6, captured_minor=4, refunded_minor=4)
    released = Amounts(authorized_minor=10, captured_minor=4, refunded_minor=4)

    for collection in (State.AUTHORIZED, State.PROCESSING):
        assert state_of(rules_snapshot(collection=collection, amounts=held)) is State.PARTIALLY_REFUNDED
    assert state_of(rules_snapshot(amounts=released)) is State.REFUNDED


def test_a_bank_may_dispute_in_full_what_was_refunded_in_part() -> None:
    amounts = Amounts(authorized_minor=10, captured_minor=10, refunded_minor=4, disputed_open_minor=11)

    assert amounts.contradiction() is None
    assert state_of(rules_snapshot(amounts=amounts)) is State.DISPUTED


def test_a_surplus_that_is_given_back_is_no_refund() -> None:
    with_surplus = Amounts(authorized_minor=10, captured_minor=10, surplus_minor=10)
    given_back = Amounts(authorized_minor=10, captured_minor=10)

    assert state_of(rules_snapshot(amounts=with_surplus)) is state_of(rules_snapshot(amounts=given_back))


@given(snapshots)
def test_a_snapshot_is_read_as_it_was_stored(snapshot: Snapshot) -> None:
    assert snapshot_from(snapshot_json(snapshot)) == snapshot


def test_the_documentation_shows_each_rule() -> None:
    text = render_tables()

    assert all(f"`{state}`" in text for state in State)
    assert all(f"`{phase}`" in text for phase in Phase)
    assert "| `SUCCEEDED` | nothing |" in text
