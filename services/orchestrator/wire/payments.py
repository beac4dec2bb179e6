"""What is true of a payment, and what was observed of it, as messages of the contracts and back."""

from __future__ import annotations

from datetime import UTC, datetime

from batzen.gateway.v1 import observation_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.orchestrator.domain.payment import Observation, Snapshot
from services.shared.states import AttemptKind, Cause, IntentState, State


def observation(message: observation_pb2.PaymentObservation) -> Observation:
    """Read an observation of the gateway's."""
    return Observation(
        mirror_version=message.mirror_version,
        attempt=message.attempt,
        intent_state=IntentState(observation_pb2.IntentState.Name(message.intent_state).removeprefix("INTENT_STATE_")),
        outcome_unknown=message.outcome_unknown,
        amounts=wire.amounts(message),
        last_error=wire.last_error(message),
        method=wire.method(message),
        attentions=wire.attentions(message),
        decline_count=message.decline_count,
        attempt_kind=_attempt_kind(message.attempt_kind),
        is_setup=message.is_setup,
        hold_expire_time=wire.instant(message, "hold_expire_time"),
        can_capture_again=message.can_capture_again,
        hold_lapsed=message.hold_lapsed,
        session_expire_time=wire.instant(message, "session_expire_time"),
        advice_code=message.advice_code,
        mandate_id=message.mandate_id,
        is_held_back=message.is_held_back,
        early_fraud_warning=message.early_fraud_warning,
    )


def _attempt_kind(kind: int) -> AttemptKind:
    """Return the kind of an attempt; a gateway of before knew of intents alone."""
    name = observation_pb2.AttemptKind.Name(kind)
    return AttemptKind.INTENT if kind == 0 else AttemptKind(name.removeprefix("ATTEMPT_KIND_"))


def observed_at(stored: bytes) -> datetime:
    """Return when the gateway kept an observation that it delivered."""
    return observation_pb2.PaymentObservation.FromString(stored).observe_time.ToDatetime(UTC)


def delivered_observation(stored: bytes) -> Observation:
    """Read an observation as the event sink stored it."""
    return observation(observation_pb2.PaymentObservation.FromString(stored))


def snapshot_message(snapshot: Snapshot) -> payment_pb2.PaymentSnapshot:
    """Return the message of a snapshot."""
    message = payment_pb2.PaymentSnapshot(
        collection=f"PAYMENT_STATE_{snapshot.collection}",
        cause=f"CAUSE_{snapshot.cause}",
        reason=snapshot.reason,
        attempt=snapshot.attempt,
        decline_count=snapshot.decline_count,
        recovery_count=snapshot.recovery_count,
        recovered_from=snapshot.recovered_from,
        total_minor=snapshot.total_minor,
        quote_id=snapshot.quote_id,
    )
    wire.fill_optional_instant(message, "charge_time", snapshot.charge_time)
    wire.fill_optional_instant(message, "hold_expire_time", snapshot.hold_expire_time)
    wire.fill(message.amounts, snapshot.amounts)
    wire.fill(message.last_error, snapshot.last_error)
    wire.fill_attentions(message, snapshot.attentions)
    wire.fill(message.method, snapshot.method)
    return message


def snapshot(message: payment_pb2.PaymentSnapshot) -> Snapshot:
    """Read a snapshot, the other way round of `snapshot_message`."""
    return Snapshot(
        collection=State(payment_pb2.PaymentState.Name(message.collection).removeprefix("PAYMENT_STATE_")),
        amounts=wire.amounts(message),
        last_error=wire.last_error(message),
        attentions=wire.attentions(message),
        cause=Cause(payment_pb2.PaymentSnapshot.Cause.Name(message.cause).removeprefix("CAUSE_")),
        reason=message.reason,
        method=wire.method(message),
        attempt=message.attempt,
        decline_count=message.decline_count,
        charge_time=wire.instant(message, "charge_time"),
        hold_expire_time=wire.instant(message, "hold_expire_time"),
        recovery_count=message.recovery_count,
        recovered_from=message.recovered_from,
        total_minor=message.total_minor if message.HasField("total_minor") else None,
        quote_id=message.quote_id,
    )
