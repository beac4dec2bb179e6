"""Domain values of the gateway as messages. Protobuf on the serving side starts here."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import intents_pb2, observation_pb2, refunds_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from services import wire
from services.gateway.intents.domain import Intent
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.refunds.domain import Refund
from services.gateway.settlement.positions import lines_of
from services.gateway.wire.splits import line_amounts_to_proto, standing_to_proto

REASONS: Final = {
    "requested_by_customer": refunds_pb2.CreateRefundRequest.REASON_REQUESTED_BY_PAYER,
    "duplicate": refunds_pb2.CreateRefundRequest.REASON_DUPLICATE,
    "fraudulent": refunds_pb2.CreateRefundRequest.REASON_FRAUDULENT,
}
"""Of refunds, by Stripe's words for them."""


def to_proto(observation: Observation) -> observation_pb2.PaymentObservation:
    """Return the message of an observation."""
    message = observation_pb2.PaymentObservation(
        payment_id=observation.payment_id,
        mirror_version=observation.mirror_version,
        observe_time=optional_timestamp(observation.observe_time),
        attempt=observation.attempt,
        intent_state=f"INTENT_STATE_{observation.intent_state}",
        outcome_unknown=observation.outcome_unknown,
        amounts=payment_pb2.PaymentSnapshot.Amounts(**asdict(observation.amounts)),
        decline_count=observation.decline_count,
        refundable_minor=observation.refundable_minor,
        attempt_kind=f"ATTEMPT_KIND_{observation.attempt_kind}",
        is_setup=observation.is_setup,
        hold_expire_time=optional_timestamp(observation.hold_expire_time),
        can_capture_again=observation.can_capture_again,
        hold_lapsed=observation.hold_lapsed,
        session_expire_time=optional_timestamp(observation.session_expire_time),
        advice_code=observation.advice_code,
        mandate_id=observation.mandate_id,
        sellers=[
            observation_pb2.SellerStanding(
                seller_id=one.seller_id,
                owed_minor=one.owed_minor,
                held_minor=one.held_minor,
                transferred_minor=one.transferred_minor,
                waits_for=one.waits_for,
            )
            for one in observation.sellers
        ],
        is_held_back=observation.is_held_back,
        early_fraud_warning=observation.early_fraud_warning,
    )
    if observation.last_error is not None:
        message.last_error.CopyFrom(payment_pb2.PaymentError(**asdict(observation.last_error)))
    if observation.method is not None:
        message.method.CopyFrom(payment_pb2.PaymentSnapshot.Method(**asdict(observation.method)))
    wire.fill_attentions(message, observation.attentions)
    return message


def intent_to_proto(intent: Intent, *, payment: MirroredPayment) -> intents_pb2.Intent:
    """Return the message of an attempt's intent."""
    return intents_pb2.Intent(
        attempt=intent.attempt,
        intent_id=intent.intent_id,
        state=f"INTENT_STATE_{intent.state}",
        amount=money(intent.amount_minor, payment.currency_code),
        captured=money(intent.captured_minor, payment.currency_code),
        create_time=timestamp(intent.create_time),
        kind=f"ATTEMPT_KIND_{intent.kind}",
        session_id=intent.session_id,
        is_setup=intent.is_setup,
        refundable_minor=payment.refundable_minor(intent.attempt),
        lines=standing_to_proto(lines_of(intent, payment.refunds.values())),
        charge_id=intent.charge_id,
    )


def refund_to_proto(refund: Refund, *, payment: MirroredPayment) -> refunds_pb2.Refund:
    """Return the message of a refund."""
    return refunds_pb2.Refund(
        refund_id=refund.refund_id,
        stripe_refund_id=refund.stripe_refund_id,
        payment_id=payment.payment_id,
        amount=money(refund.amount_minor, payment.currency_code),
        state=f"STATE_{refund.state}",
        failure_reason=refund.failure_reason,
        actor_id=refund.actor_id,
        create_time=timestamp(refund.create_time),
        line_amounts=line_amounts_to_proto(refund.parts),
        bearer=f"BEARER_{refund.bearer}",
        reason=REASONS.get(refund.reason, refunds_pb2.CreateRefundRequest.REASON_UNSPECIFIED),
    )


def money(amount_minor: int, currency_code: str) -> money_pb2.Money:
    """Return the message of an amount."""
    return money_pb2.Money(amount_minor=amount_minor, currency_code=currency_code)


def optional_timestamp(instant: datetime | None) -> Timestamp | None:
    """Return the message of an instant; unset where there is none."""
    return timestamp(instant) if instant is not None else None


def timestamp(instant: datetime) -> Timestamp:
    """Return the message of an instant."""
    message = Timestamp()
    message.FromDatetime(instant)
    return message
