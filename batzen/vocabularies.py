"""The older words for how a payment stands, as pure functions of its state, whether it has a booking, and a method.

And those for why it was refused.

    words = words_of(update, has_booking=True)
    words.flow_phase, words.booking_status
    refusal_word(error.reason)

One table says all of them; the first line that fits counts. A state newer than this package is read as the known state
that `phase` and `settled` are nearest to. Two rules hold everywhere: no word says that a payment is paid before the
money was taken, and an outcome that is not known is never called failed.

Flow phase, checkout step, reservation and modal tell how the collection of the money ended; refunds and disputes
afterwards show in the booking's payment status alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, cast

from batzen.status.v1.status_pb2 import Payment, Phase, Transition
from batzen.type.v1.payment_pb2 import PaymentState


class FlowPhase(StrEnum):
    """How far the flow of booking and paying has come."""

    INITIAL = "INITIAL"
    PRE_BOOKING = "PRE_BOOKING"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    PAYMENT_ACTIVE = "PAYMENT_ACTIVE"
    PAYMENT_PROCESSING = "PAYMENT_PROCESSING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class CheckoutStep(StrEnum):
    """The page of the checkout that the payer is on."""

    SESSION = "SESSION"
    METHOD = "METHOD"
    REVIEW = "REVIEW"
    PROCESSING = "PROCESSING"
    CONFIRMATION = "CONFIRMATION"


class BookingStatus(StrEnum):
    """The payment status of a booking."""

    DRAFT = "draft"
    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    REFUNDED = "refunded"
    PARTIALLY_REFUNDED = "partially_refunded"
    DISPUTED = "disputed"


class ReservationStatus(StrEnum):
    """The payment status of a reservation."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class ModalState(StrEnum):
    """What the old payment dialog shows."""

    BOOKING = "BOOKING"
    PAYMENT_PENDING = "PAYMENT_PENDING"
    PAYMENT_ACTIVE = "PAYMENT_ACTIVE"
    PAYMENT_COMPLETE = "PAYMENT_COMPLETE"
    PAYMENT_FAILED = "PAYMENT_FAILED"


@dataclass(frozen=True, slots=True)
class Words:
    """What the older vocabularies call one payment."""

    flow_phase: FlowPhase
    checkout_step: CheckoutStep
    booking_status: BookingStatus
    reservation_status: ReservationStatus
    modal_state: ModalState


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table; None fits both."""

    state: PaymentState
    has_booking: bool | None
    method_chosen: bool | None
    words: Words


def _line(state: str, has_booking: bool | None, method_chosen: bool | None, words: str) -> Line:
    flow, step, booking, reservation, modal = words.split()
    return Line(
        cast("PaymentState", PaymentState.Value(f"PAYMENT_STATE_{state}")),
        has_booking,
        method_chosen,
        Words(
            FlowPhase(flow),
            CheckoutStep(step),
            BookingStatus(booking),
            ReservationStatus(reservation),
            ModalState(modal),
        ),
    )


_NO, _YES, _ANY = False, True, None
TABLE: Final[tuple[Line, ...]] = (
    _line("INITIALIZED", _NO, _ANY, "INITIAL SESSION draft pending BOOKING"),
    _line("INITIALIZED", _YES, _ANY, "PAYMENT_PENDING METHOD pending pending PAYMENT_PENDING"),
    _line("REQUIRES_PAYMENT_METHOD", _NO, _NO, "PRE_BOOKING METHOD draft pending BOOKING"),
    _line("REQUIRES_PAYMENT_METHOD", _NO, _YES, "PRE_BOOKING REVIEW draft pending BOOKING"),
    _line("REQUIRES_PAYMENT_METHOD", _YES, _NO, "PAYMENT_PENDING METHOD pending pending PAYMENT_PENDING"),
    _line("REQUIRES_PAYMENT_METHOD", _YES, _YES, "PAYMENT_ACTIVE REVIEW pending pending PAYMENT_ACTIVE"),
    _line("SCHEDULED", _ANY, _ANY, "PAYMENT_PENDING CONFIRMATION pending pending PAYMENT_PENDING"),
    _line("REQUIRES_ACTION", _ANY, _ANY, "PAYMENT_ACTIVE PROCESSING processing processing PAYMENT_ACTIVE"),
    _line("PROCESSING", _ANY, _ANY, "PAYMENT_PROCESSING PROCESSING processing processing PAYMENT_ACTIVE"),
    _line("AUTHORIZED", _ANY, _ANY, "PAYMENT_PROCESSING CONFIRMATION processing processing PAYMENT_ACTIVE"),
    _line("SUCCEEDED", _ANY, _ANY, "COMPLETED CONFIRMATION completed succeeded PAYMENT_COMPLETE"),
    _line("FAILED", _ANY, _ANY, "FAILED METHOD failed failed PAYMENT_FAILED"),
    _line("CANCELED", _ANY, _ANY, "FAILED SESSION cancelled failed PAYMENT_FAILED"),
    _line("EXPIRED", _ANY, _ANY, "FAILED SESSION cancelled failed PAYMENT_FAILED"),
    _line("PARTIALLY_REFUNDED", _ANY, _ANY, "COMPLETED CONFIRMATION partially_refunded succeeded PAYMENT_COMPLETE"),
    _line("REFUNDED", _ANY, _ANY, "COMPLETED CONFIRMATION refunded succeeded PAYMENT_COMPLETE"),
    _line("DISPUTED", _ANY, _ANY, "COMPLETED CONFIRMATION disputed succeeded PAYMENT_COMPLETE"),
    _line("DISPUTE_LOST", _ANY, _ANY, "COMPLETED CONFIRMATION disputed succeeded PAYMENT_COMPLETE"),
)
"""What the payment is called, by state, whether it has a booking, and whether a method was chosen."""

PHASES: Final[Mapping[PaymentState, Phase]] = MappingProxyType(
    {
        PaymentState.PAYMENT_STATE_INITIALIZED: Phase.PHASE_COLLECTING,
        PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD: Phase.PHASE_COLLECTING,
        PaymentState.PAYMENT_STATE_SCHEDULED: Phase.PHASE_COLLECTING,
        PaymentState.PAYMENT_STATE_REQUIRES_ACTION: Phase.PHASE_COLLECTING,
        PaymentState.PAYMENT_STATE_PROCESSING: Phase.PHASE_PROCESSING,
        PaymentState.PAYMENT_STATE_AUTHORIZED: Phase.PHASE_COLLECTED,
        PaymentState.PAYMENT_STATE_SUCCEEDED: Phase.PHASE_COLLECTED,
        PaymentState.PAYMENT_STATE_FAILED: Phase.PHASE_ENDED,
        PaymentState.PAYMENT_STATE_CANCELED: Phase.PHASE_ENDED,
        PaymentState.PAYMENT_STATE_EXPIRED: Phase.PHASE_ENDED,
        PaymentState.PAYMENT_STATE_PARTIALLY_REFUNDED: Phase.PHASE_REVERSED,
        PaymentState.PAYMENT_STATE_REFUNDED: Phase.PHASE_REVERSED,
        PaymentState.PAYMENT_STATE_DISPUTED: Phase.PHASE_REVERSED,
        PaymentState.PAYMENT_STATE_DISPUTE_LOST: Phase.PHASE_REVERSED,
    }
)
"""The phase of each state, as status computes it."""

NEAREST: Final[Mapping[tuple[Phase, bool], PaymentState]] = MappingProxyType(
    {
        (Phase.PHASE_COLLECTING, False): PaymentState.PAYMENT_STATE_REQUIRES_PAYMENT_METHOD,
        (Phase.PHASE_PROCESSING, False): PaymentState.PAYMENT_STATE_PROCESSING,
        (Phase.PHASE_COLLECTED, False): PaymentState.PAYMENT_STATE_AUTHORIZED,
        (Phase.PHASE_COLLECTED, True): PaymentState.PAYMENT_STATE_SUCCEEDED,
        (Phase.PHASE_ENDED, True): PaymentState.PAYMENT_STATE_FAILED,
        (Phase.PHASE_REVERSED, False): PaymentState.PAYMENT_STATE_DISPUTED,
        (Phase.PHASE_REVERSED, True): PaymentState.PAYMENT_STATE_REFUNDED,
    }
)
"""The known state that a newer one is read as, by phase and settled; PROCESSING where nothing here fits."""


REFUSALS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "SELLER_NOT_FOUND": "COACH_PAYMENTS_NOT_CONFIGURED",
        "SELLER_NOT_PAYABLE": "COACH_PAYMENTS_NOT_CONFIGURED",
    }
)
"""What the older vocabulary calls reasons of refusals, where it has a word."""


def refusal_word(reason: str) -> str:
    """Return what the older vocabulary calls a refusal, and where it has no word the reason itself.

    `reason` is an error's, or the `last_error.code` of a payment that failed by it, which is in lower case.
    """
    return REFUSALS.get(reason.upper(), reason)


def words_of(update: Payment | Transition, *, has_booking: bool, method_chosen: bool | None = None) -> Words:
    """Return what the older vocabularies call a payment; whether a method was chosen is read from it by default."""
    if method_chosen is None:
        method_chosen = update.snapshot.HasField("method")
    state = known_state(update.state, settled=update.settled, phase=update.phase)
    return next(line.words for line in TABLE if _fits(line, state, has_booking, method_chosen))


def known_state(state: PaymentState, *, settled: bool, phase: Phase) -> PaymentState:
    """Return the state itself, or the one that a state newer than this package is read as."""
    if state in PHASES:
        return state
    return NEAREST.get((phase, settled), PaymentState.PAYMENT_STATE_PROCESSING)


def _fits(line: Line, state: PaymentState, has_booking: bool, method_chosen: bool) -> bool:
    return (
        line.state == state and line.has_booking in (None, has_booking) and line.method_chosen in (None, method_chosen)
    )
