"""What other services say of a payment as values of a diagnosis, and a diagnosis as its message."""

from __future__ import annotations

import json
from collections.abc import Sequence

from batzen.gateway.v1 import diagnosis_pb2
from batzen.orchestrator.v1 import ops_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.orchestrator.diagnosis.domain import Attempt, Diagnosis, Examination, HistoryEntry, Recorded
from services.orchestrator.diagnosis.round import Finding
from services.orchestrator.domain.payment import Snapshot
from services.orchestrator.wire.payments import observation, snapshot, snapshot_message


def as_told(latest: Snapshot) -> Snapshot:
    """Return a snapshot as status has it once it was told."""
    return snapshot(snapshot_message(latest))


def recorded(payment: status_pb2.Payment, history: Sequence[status_pb2.Transition] | None) -> Recorded:
    """Read a payment as status has it."""
    return Recorded(
        revision=payment.revision,
        state=_state(payment.state),
        snapshot=snapshot(payment.snapshot),
        total_minor=payment.total.amount_minor,
        currency_code=payment.total.currency_code,
        payer_id=payment.payer_id,
        seller_ids=tuple(payment.seller_ids),
        booking_ids=tuple(payment.booking_ids),
        client_reference=payment.client_reference,
        quote_id=payment.quote_id,
        open_time=wire.instant(payment, "open_time"),
        history=None if history is None else tuple(map(_entry, history)),
    )


def _entry(transition: status_pb2.Transition) -> HistoryEntry:
    return HistoryEntry(
        revision=transition.revision, state=_state(transition.state), snapshot=snapshot(transition.snapshot)
    )


def _state(number: int) -> str:
    return payment_pb2.PaymentState.Name(number).removeprefix("PAYMENT_STATE_")


def examination(message: diagnosis_pb2.Examination) -> Examination:
    """Read what the gateway says of a payment."""
    return Examination(
        payment_id=message.payment_id,
        observation=observation(message.observation),
        payer_id=message.payer_id,
        currency_code=message.currency_code,
        attempts=tuple(
            Attempt(attempt=one.attempt, amount_minor=one.amount.amount_minor, taken_minor=one.taken.amount_minor)
            for one in message.attempts
        ),
        sides=tuple(map(wire.side_in, message.sides)),
        disagreements=tuple(map(wire.disagreement_in, message.disagreements)),
        is_moving=message.is_moving,
        is_delivering=message.is_delivering,
    )


def diagnosis(one: Diagnosis) -> ops_pb2.Diagnosis:
    """Return the message of a diagnosis."""
    return ops_pb2.Diagnosis(
        payment_id=one.payment_id,
        is_moving=one.is_moving,
        sides=map(wire.side, one.sides),
        disagreements=map(wire.disagreement, one.disagreements),
    )


def finding(one: Finding) -> ops_pb2.FoundDisagreement:
    """Return the message of what a round found."""
    return ops_pb2.FoundDisagreement(
        payment_id=one.payment_id,
        check=one.check_name,
        about=one.about,
        waits=one.waits,
        first_time=wire.timestamp(one.first_time),
        last_time=wire.timestamp(one.last_time),
        stands=one.stands,
    )


def place_of(one: Finding) -> str:
    """Return where a finding is in the list of all, as a token keeps it."""
    return json.dumps(one.place)


def read_place(position: str) -> tuple[str, str, str]:
    """Read what `place_of` wrote; raises ValueError for anything else."""
    place = json.loads(position)
    if not isinstance(place, list) or [type(one) for one in place] != [str] * 3:
        raise ValueError(position)
    payment_id, check_name, about = place
    return payment_id, check_name, about
