"""What the service remembers, into messages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, cast

from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from services.errors import ServiceError
from services.status.domain import PHASES, Cause, Snapshot, State, is_settled, state_of
from services.status.filters import Relation
from services.status.records import Payment, Transition

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
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


def payment_message(payment: Payment) -> status_pb2.Payment:
    opening, state = payment.opening, state_of(payment.snapshot)
    return status_pb2.Payment(
        payment_id=opening.payment_id,
        revision=payment.revision,
        state=_STATES[state],
        settled=is_settled(payment.snapshot),
        phase=_PHASES[state],
        snapshot=snapshot_message(payment.snapshot),
        total=money_pb2.Money(amount_minor=opening.total_amount_minor, currency_code=opening.currency_code),
        payer_id=opening.payer_id,
        seller_ids=opening.seller_ids,
        booking_ids=opening.booking_ids,
        client_reference=opening.client_reference,
        quote_id=opening.quote_id,
        labels=opening.labels,
        open_time=_timestamp(payment.open_time),
        update_time=_timestamp(payment.update_time),
        complete_time=None if payment.complete_time is None else _timestamp(payment.complete_time),
    )


def transition_message(transition: Transition) -> status_pb2.Transition:
    state = state_of(transition.snapshot)
    return status_pb2.Transition(
        payment_id=transition.payment_id,
        revision=transition.revision,
        state=_STATES[state],
        settled=is_settled(transition.snapshot),
        phase=_PHASES[state],
        snapshot=snapshot_message(transition.snapshot),
        record_time=_timestamp(transition.record_time),
        request_id=transition.request_id,
    )


def snapshot_message(snapshot: Snapshot) -> payment_pb2.PaymentSnapshot:
    amounts, error, attention, method = snapshot.amounts, snapshot.last_error, snapshot.attention, snapshot.method
    return payment_pb2.PaymentSnapshot(
        collection=_STATES[snapshot.collection],
        cause=_CAUSES[snapshot.cause],
        amounts=payment_pb2.PaymentSnapshot.Amounts(
            authorized_minor=amounts.authorized_minor,
            capturable_minor=amounts.capturable_minor,
            captured_minor=amounts.captured_minor,
            refund_pending_minor=amounts.refund_pending_minor,
            refunded_minor=amounts.refunded_minor,
            disputed_open_minor=amounts.disputed_open_minor,
            disputed_lost_minor=amounts.disputed_lost_minor,
            surplus_minor=amounts.surplus_minor,
        ),
        last_error=None
        if error is None
        else payment_pb2.PaymentError(
            code=error.code,
            decline_code=error.decline_code,
            message=error.message,
            recoverable=error.recoverable,
        ),
        attention=None
        if attention is None
        else payment_pb2.PaymentSnapshot.Attention(reason=attention.reason, detail=attention.detail),
        reason=snapshot.reason,
        method=None
        if method is None
        else payment_pb2.PaymentSnapshot.Method(
            payment_method_id=method.payment_method_id,
            type=method.type,
            brand=method.brand,
            last4=method.last4,
            expire_month=method.expire_month,
            expire_year=method.expire_year,
        ),
        attempt=snapshot.attempt,
        decline_count=snapshot.decline_count,
    )


# What streams carry, written once for all of them.


def watch_header(payment: Payment, *, with_payment: bool) -> bytes:
    header = status_pb2.WatchPaymentResponse.Header(current_revision=payment.revision)
    if with_payment:
        header.payment.CopyFrom(payment_message(payment))
    return status_pb2.WatchPaymentResponse(header=header).SerializeToString()


def watch_update(transition: Transition) -> bytes:
    response = status_pb2.WatchPaymentResponse()
    response.updates.transitions.append(transition_message(transition))
    return response.SerializeToString()


def watch_heartbeat(revision: int) -> bytes:
    heartbeat = status_pb2.WatchPaymentResponse.Heartbeat(revision=revision)
    return status_pb2.WatchPaymentResponse(heartbeat=heartbeat).SerializeToString()


def many_created(payment: Payment, *, with_payment: bool) -> bytes:
    response = status_pb2.WatchManyResponse()
    created = response.events.add().created
    created.payment_id = payment.opening.payment_id
    created.current_revision = payment.revision
    if with_payment:
        created.payment.CopyFrom(payment_message(payment))
    return response.SerializeToString()


def many_update(transition: Transition) -> bytes:
    response = status_pb2.WatchManyResponse()
    response.events.add().transition.CopyFrom(transition_message(transition))
    return response.SerializeToString()


def many_canceled(payment_id: str, *, error: ServiceError | None, resume_after_revision: int | None) -> bytes:
    """Write that a watch ended; without an error because its caller wanted it to."""
    canceled = status_pb2.WatchManyResponse.Canceled(payment_id=payment_id, resume_after_revision=resume_after_revision)
    if error is not None:
        canceled.code = code_pb2.Code.Value(error.status)
        canceled.reason = error.reason
        canceled.message = str(error)
        canceled.metadata.update(error.metadata if error.field is None else {"field": error.field, **error.metadata})
    event = status_pb2.WatchManyResponse.Event(canceled=canceled)
    return status_pb2.WatchManyResponse(events=[event]).SerializeToString()


MANY_HEARTBEAT: Final = status_pb2.WatchManyResponse(
    events=[status_pb2.WatchManyResponse.Event(heartbeat=status_pb2.WatchManyResponse.Heartbeat())]
).SerializeToString()


def change_message(payment: Payment, relation: Relation) -> bytes:
    change = status_pb2.WatchPaymentsResponse.Change(payment=payment_message(payment), relation=_RELATIONS[relation])
    return status_pb2.WatchPaymentsResponse(changes=[change]).SerializeToString()


def cursor_message(cursor: str) -> bytes:
    return status_pb2.WatchPaymentsResponse(cursor=cursor).SerializeToString()


def _timestamp(instant: datetime) -> Timestamp:
    since = instant - _EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)
