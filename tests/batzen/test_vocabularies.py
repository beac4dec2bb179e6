"""The older words: one for every payment, each of them used, and none of them a lie."""

from __future__ import annotations

from enum import StrEnum
from itertools import product

import pytest

from batzen.errors import by_reason
from batzen.status.v1.status_pb2 import Payment, Phase, Transition
from batzen.type.v1.payment_pb2 import PaymentSnapshot, PaymentState
from batzen.vocabularies import (
    NEAREST,
    PHASES,
    REFUSALS,
    TABLE,
    BookingStatus,
    CheckoutStep,
    FlowPhase,
    ModalState,
    ReservationStatus,
    Words,
    refusal_word,
    words_of,
)
from services.shared.states import State
from services.status.domain import snapshot

KNOWN = [state for state in PaymentState.values() if state]
TAKEN = ("SUCCEEDED", "PARTIALLY_REFUNDED", "REFUNDED", "DISPUTED", "DISPUTE_LOST")
NEWER = 99


def everything() -> dict[tuple[int, bool, bool], Words]:
    return {
        (state, has_booking, method_chosen): words_of(
            Payment(state=state, phase=PHASES[state]), has_booking=has_booking, method_chosen=method_chosen
        )
        for state, has_booking, method_chosen in product(KNOWN, (False, True), (False, True))
    }


@pytest.mark.parametrize(
    ("vocabulary", "field"),
    [
        (FlowPhase, "flow_phase"),
        (CheckoutStep, "checkout_step"),
        (BookingStatus, "booking_status"),
        (ReservationStatus, "reservation_status"),
        (ModalState, "modal_state"),
    ],
)
def test_every_word_is_used(vocabulary: type[StrEnum], field: str) -> None:
    assert {getattr(words, field) for words in everything().values()} == set(vocabulary)


def test_every_line_of_the_table_is_the_first_that_fits_for_some_payment() -> None:
    assert {id(words) for words in everything().values()} == {id(line.words) for line in TABLE}


def test_a_state_is_read_as_settled_only_where_it_can_be() -> None:
    for (_, settled), state in NEAREST.items():
        name = State(PaymentState.Name(state).removeprefix("PAYMENT_STATE_"))
        assert settled != (name in snapshot.NEVER_SETTLED)


def test_no_word_says_paid_before_the_money_was_taken() -> None:
    for (state, _, _), words in everything().items():
        is_taken = PaymentState.Name(state).removeprefix("PAYMENT_STATE_") in TAKEN
        assert (words.flow_phase is FlowPhase.COMPLETED) == is_taken
        assert (words.reservation_status is ReservationStatus.SUCCEEDED) == is_taken
        assert (words.modal_state is ModalState.PAYMENT_COMPLETE) == is_taken
        if words.booking_status is BookingStatus.COMPLETED:
            assert is_taken


def test_what_is_not_known_is_not_failed() -> None:
    words = words_of(Payment(state=PaymentState.PAYMENT_STATE_PROCESSING), has_booking=True)

    assert "FAILED" not in {word.upper() for word in (words.flow_phase, words.booking_status, words.modal_state)}


@pytest.mark.parametrize(("phase", "settled"), list(product(Phase.values(), (False, True))))
def test_a_newer_state_is_read_by_phase_and_settled(phase: Phase, settled: bool) -> None:
    newer = Payment(state=NEWER, phase=phase, settled=settled)  # type: ignore[arg-type]
    stand_in = NEAREST.get((phase, settled), PaymentState.PAYMENT_STATE_PROCESSING)
    nearest = Payment(state=stand_in, phase=phase, settled=settled)

    assert words_of(newer, has_booking=True) == words_of(nearest, has_booking=True)
    assert (phase, settled) not in NEAREST or PHASES[stand_in] == phase


def test_a_phase_newer_than_the_package_is_processing() -> None:
    newer = Payment(state=NEWER, phase=NEWER, settled=True)  # type: ignore[arg-type]

    assert words_of(newer, has_booking=False).booking_status is BookingStatus.PROCESSING


def test_whether_a_method_was_chosen_is_read_from_the_payment() -> None:
    method = PaymentSnapshot.Method(type="card")
    asked = PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD
    chosen = Transition(state=asked, phase=Phase.PHASE_COLLECTING, snapshot=PaymentSnapshot(method=method))

    assert words_of(chosen, has_booking=True).checkout_step is CheckoutStep.REVIEW
    assert words_of(chosen, has_booking=True, method_chosen=False).checkout_step is CheckoutStep.METHOD


def test_the_phases_are_those_that_status_computes() -> None:
    computed = {
        PaymentState.Value(f"PAYMENT_STATE_{state}"): Phase.Value(f"PHASE_{phase}")
        for state, phase in snapshot.PHASES.items()
    }

    assert dict(PHASES) == computed


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("SELLER_NOT_PAYABLE", "COACH_PAYMENTS_NOT_CONFIGURED"),
        ("seller_not_found", "COACH_PAYMENTS_NOT_CONFIGURED"),
        ("PAYMENT_STATE", "PAYMENT_STATE"),
        ("card_declined", "card_declined"),
    ],
)
def test_a_refusal_has_its_older_word_or_its_own(reason: str, word: str) -> None:
    assert refusal_word(reason) == word


def test_every_reason_that_has_an_older_word_is_in_a_contract() -> None:
    assert set(REFUSALS) <= set(by_reason)
