"""What the service remembers, into messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, cast

from google.protobuf.message import Message
from google.rpc import code_pb2

from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.errors import ServiceError
from services.shared.states import Cause, State
from services.status.domain.filters import Relation
from services.status.domain.records import Payment, Transition
from services.status.domain.snapshot import PHASES, Snapshot, is_settled, state_of

# The generated types give an enum's number as a plain int.
_STATES: Final = {
    state: cast("payment_pb2.PaymentState", payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{state}")) for state in State
}
_CAUSES: Final = {
    cause: cast("payment_pb2.PaymentSnapshot.Cause", payment_pb2.PaymentSnapshot.Cause.Value(f"CAUSE_{cause}"))
    for cause in Cause
}
_PHASES: Final = {
    state: cast("status_pb2.Phase", status_pb2.Phase.Value(f"PHASE_{phase}")) for state, phase in PHASES.items()
}

_RELATIONS: Final = {
    relation: cast(
        "status_pb2.WatchPaymentsResponse.Relation",
        status_pb2.WatchPaymentsResponse.Relation.Value(f"RELATION_{relation}"),
    )
    for relation in Relation
}


# Messages are filled where they lie: a message that is given to another's constructor is copied into it, part by part,
# which takes three times as long.


def payment_message(payment: Payment) -> status_pb2.Payment:
    message = status_pb2.Payment()
    _fill_payment(message, payment)
    return message


def transition_message(transition: Transition) -> status_pb2.Transition:
    message = status_pb2.Transition()
    _fill_transition(message, transition)
    return message


def opened_response(payment: Payment, first: Transition | None) -> status_pb2.OpenPaymentResponse:
    response = status_pb2.OpenPaymentResponse()
    _fill_payment(response.payment, payment)
    if first is not None:
        _fill_transition(response.first_transition, first)
    return response


def recorded_response(payment: Payment, transition: Transition) -> status_pb2.RecordTransitionResponse:
    response = status_pb2.RecordTransitionResponse()
    _fill_payment(response.payment, payment)
    _fill_transition(response.transition, transition)
    return response


# What streams carry, written once for all of them. A transition is serialised once and put into the messages around it
# as protobuf lays a field out: its tag, its length, its content.


def _tag(message: type[Message], field: str) -> bytes:
    return bytes([message.DESCRIPTOR.fields_by_name[field].number << 3 | _LENGTH_DELIMITED])


def _within(tag: bytes, content: bytes) -> bytes:
    """Return a message with the one field of a tag, which holds a message with this content."""
    length, rest = b"", len(content)
    while rest > _VARINT_BITS:
        length += bytes([rest & _VARINT_BITS | _VARINT_MORE])
        rest >>= 7
    return tag + length + bytes([rest]) + content


_LENGTH_DELIMITED: Final = 2
_VARINT_BITS: Final = 0x7F
_VARINT_MORE: Final = 0x80
_RESPONSE_UPDATES: Final = _tag(status_pb2.WatchPaymentResponse, "updates")
_UPDATES_TRANSITIONS: Final = _tag(status_pb2.WatchPaymentResponse.Updates, "transitions")
_RESPONSE_EVENTS: Final = _tag(status_pb2.WatchManyResponse, "events")
_EVENT_TRANSITION: Final = _tag(status_pb2.WatchManyResponse.Event, "transition")


def watch_header(payment: Payment, *, with_payment: bool) -> bytes:
    response = status_pb2.WatchPaymentResponse()
    response.header.current_revision = payment.revision
    if with_payment:
        _fill_payment(response.header.payment, payment)
    return response.SerializeToString()


def watch_update(transition: bytes) -> bytes:
    """Return the WatchPaymentResponse that carries a serialised Transition."""
    return _within(_RESPONSE_UPDATES, _within(_UPDATES_TRANSITIONS, transition))


def joined_updates(messages: Sequence[bytes]) -> bytes:
    """Return the one WatchPaymentResponse with all transitions of several that `watch_update` gave.

    They are not just written one after the other. By the rules of protobuf a field that comes several times is merged,
    and its own libraries do so; others, for JavaScript among them, take the last, and would lose what is before it.
    """
    return _within(_RESPONSE_UPDATES, b"".join(map(_updates_in, messages)))


def _updates_in(message: bytes) -> bytes:
    """Return the content of the one field of a message."""
    if not message.startswith(_RESPONSE_UPDATES):
        raise ValueError("what a watch begins with goes alone")
    begin = len(_RESPONSE_UPDATES)
    while message[begin] & _VARINT_MORE:
        begin += 1
    return message[begin + 1 :]


def watch_heartbeat(revision: int) -> bytes:
    heartbeat = status_pb2.WatchPaymentResponse.Heartbeat(revision=revision)
    return status_pb2.WatchPaymentResponse(heartbeat=heartbeat).SerializeToString()


def many_created(payment: Payment, *, with_payment: bool) -> bytes:
    response = status_pb2.WatchManyResponse()
    created = response.events.add().created
    created.payment_id = payment.opening.payment_id
    created.current_revision = payment.revision
    if with_payment:
        _fill_payment(created.payment, payment)
    return response.SerializeToString()


def many_update(transition: bytes) -> bytes:
    """Return the WatchManyResponse that carries a serialised Transition."""
    return _within(_RESPONSE_EVENTS, _within(_EVENT_TRANSITION, transition))


def many_canceled(payment_id: str, *, error: ServiceError | None, resume_after_revision: int | None) -> bytes:
    """Write that a watch ended; without an error because its caller wanted it to."""
    canceled = status_pb2.WatchManyResponse.Canceled(payment_id=payment_id, resume_after_revision=resume_after_revision)
    if error is not None:
        canceled.code = code_pb2.Code.Value(error.status)
        canceled.reason = error.reason
        canceled.message = error.message
        canceled.metadata.update(error.metadata if error.field is None else {"field": error.field, **error.metadata})
    event = status_pb2.WatchManyResponse.Event(canceled=canceled)
    return status_pb2.WatchManyResponse(events=[event]).SerializeToString()


MANY_HEARTBEAT: Final = status_pb2.WatchManyResponse(
    events=[status_pb2.WatchManyResponse.Event(heartbeat=status_pb2.WatchManyResponse.Heartbeat())]
).SerializeToString()


def change_message(payment: Payment, relation: Relation) -> bytes:
    response = status_pb2.WatchPaymentsResponse()
    change = response.changes.add()
    change.relation = _RELATIONS[relation]
    _fill_payment(change.payment, payment)
    return response.SerializeToString()


def cursor_message(cursor: str) -> bytes:
    return status_pb2.WatchPaymentsResponse(cursor=cursor).SerializeToString()


def _fill_payment(message: status_pb2.Payment, payment: Payment) -> None:
    opening, snapshot = payment.opening, payment.snapshot
    state = state_of(snapshot)
    message.payment_id = opening.payment_id
    message.revision = payment.revision
    message.state = _STATES[state]
    message.settled = is_settled(snapshot)
    message.phase = _PHASES[state]
    _fill_snapshot(message.snapshot, snapshot)
    message.total.amount_minor = opening.total_amount_minor if snapshot.total_minor is None else snapshot.total_minor
    message.total.currency_code = opening.currency_code
    message.payer_id = opening.payer_id
    message.seller_ids.extend(opening.seller_ids)
    message.booking_ids.extend(opening.booking_ids)
    message.client_reference = opening.client_reference
    message.quote_id = snapshot.quote_id or opening.quote_id
    if opening.labels:
        message.labels.update(opening.labels)
    wire.fill_instant(message.open_time, payment.open_time)
    wire.fill_instant(message.update_time, payment.update_time)
    if payment.complete_time is not None:
        wire.fill_instant(message.complete_time, payment.complete_time)


def _fill_transition(message: status_pb2.Transition, transition: Transition) -> None:
    snapshot = transition.snapshot
    state = state_of(snapshot)
    message.payment_id = transition.payment_id
    message.revision = transition.revision
    message.state = _STATES[state]
    message.settled = is_settled(snapshot)
    message.phase = _PHASES[state]
    _fill_snapshot(message.snapshot, snapshot)
    wire.fill_instant(message.record_time, transition.record_time)
    message.request_id = transition.request_id


def _fill_snapshot(message: payment_pb2.PaymentSnapshot, snapshot: Snapshot) -> None:
    message.collection = _STATES[snapshot.collection]
    message.cause = _CAUSES[snapshot.cause]
    if snapshot.reason:
        message.reason = snapshot.reason
    wire.fill(message.amounts, snapshot.amounts)
    wire.fill(message.last_error, snapshot.last_error)
    wire.fill_attentions(message, snapshot.attentions)
    wire.fill(message.method, snapshot.method)
    message.attempt = snapshot.attempt
    message.decline_count = snapshot.decline_count
    wire.fill_optional_instant(message, "charge_time", snapshot.charge_time)
    wire.fill_optional_instant(message, "hold_expire_time", snapshot.hold_expire_time)
    message.recovery_count = snapshot.recovery_count
    message.recovered_from = snapshot.recovered_from
    if snapshot.total_minor is not None:
        message.total_minor = snapshot.total_minor
    message.quote_id = snapshot.quote_id
