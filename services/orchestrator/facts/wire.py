"""Payments of status's feed, as facts are found in them."""

from __future__ import annotations

from datetime import UTC

from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.orchestrator.facts.rules import Revision, Seen

METHOD_FIELDS = ("type", "brand", "last4")
"""What of a method may be shown to whom a fact is told."""


def revision_of(payment: status_pb2.Payment) -> Revision:
    """Read a payment as one revision left it."""
    snapshot = payment.snapshot
    amounts, method = snapshot.amounts, snapshot.method
    details = {one.reason: one.detail for one in wire.attentions(snapshot)}
    return Revision(
        payment_id=payment.payment_id,
        revision=payment.revision,
        record_time=payment.update_time.ToDatetime(UTC),
        open_time=wire.instant(payment, "open_time"),
        payer_id=payment.payer_id,
        seller_ids=tuple(payment.seller_ids),
        total_minor=payment.total.amount_minor,
        currency_code=payment.total.currency_code,
        client_reference=payment.client_reference,
        is_imported=snapshot.cause == payment_pb2.PaymentSnapshot.CAUSE_IMPORT,
        seen=Seen(
            collection=_name(payment_pb2.PaymentState.items(), snapshot.collection).removeprefix("PAYMENT_STATE_"),
            captured_minor=amounts.captured_minor,
            refund_pending_minor=amounts.refund_pending_minor,
            refunded_minor=amounts.refunded_minor,
            decline_count=snapshot.decline_count,
            recovery_count=snapshot.recovery_count,
            charge_time=wire.instant(snapshot, "charge_time"),
            attentions=tuple(details),
        ),
        reason=snapshot.reason,
        error_code=snapshot.last_error.code,
        decline_code=snapshot.last_error.decline_code,
        method={f"method_{name}": value for name in METHOD_FIELDS if (value := getattr(method, name))},
        details=details,
        payment=payment.SerializeToString(),
    )


def as_of(payment: status_pb2.Payment, transition: status_pb2.Transition) -> status_pb2.Payment:
    """Return a payment as one of its transitions left it; labels and bookings are those of now, as in the feed."""
    then = status_pb2.Payment()
    then.CopyFrom(payment)
    then.revision, then.state = transition.revision, transition.state
    then.settled, then.phase = transition.settled, transition.phase
    then.snapshot.CopyFrom(transition.snapshot)
    then.update_time.CopyFrom(transition.record_time)
    if transition.snapshot.HasField("total_minor"):
        then.total.amount_minor, then.quote_id = transition.snapshot.total_minor, transition.snapshot.quote_id
    if payment.HasField("complete_time") and payment.complete_time.ToDatetime(UTC) > then.update_time.ToDatetime(UTC):
        then.ClearField("complete_time")
    return then


def _name(known: list[tuple[str, int]], number: int) -> str:
    """Return the word of an open enum; the number of one that a later release has."""
    return next((name for name, its in known if its == number), str(number))
