"""Examinations as messages, and what asks for them."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from batzen.gateway.v1 import diagnosis_pb2
from services import wire
from services.errors import FieldInvalid, FieldMissing
from services.gateway.diagnosis.examiner import Examination
from services.gateway.wire.responses import money, to_proto
from services.shared import fields

PAYMENTS_MAX: Final = 100
"""Of one request: each is read whole."""


def payment_ids(request: diagnosis_pb2.ExaminePaymentsRequest) -> list[str]:
    """Return which payments are meant."""
    if not 1 <= len(request.payment_ids) <= PAYMENTS_MAX:
        raise FieldInvalid(field="payment_ids", detail=f"must be 1 to {PAYMENTS_MAX}")
    if request.with_stripe and len(request.payment_ids) > 1:
        raise FieldInvalid(
            field="with_stripe", detail="must not be set for several payments: Stripe is asked about one at a time"
        )
    return [fields.identifier(one, field="payment_ids") for one in request.payment_ids]


def span(request: diagnosis_pb2.ListBookedPaymentsRequest) -> tuple[datetime, datetime]:
    """Return of which time payments are meant."""
    since, until = wire.instant(request, "start_time"), wire.instant(request, "end_time")
    if since is None or until is None:
        raise FieldMissing(field="start_time" if since is None else "end_time")
    if until <= since:
        raise FieldInvalid(field="end_time", detail="must be after `start_time`")
    return since, until


def examination(one: Examination) -> diagnosis_pb2.Examination:
    """Return the message of an examination."""
    payment, delivery = one.records.payment, one.records.delivery
    return diagnosis_pb2.Examination(
        payment_id=payment.payment_id,
        observation=to_proto(payment.observation),
        payer_id=payment.payer_id,
        currency_code=payment.currency_code,
        attempts=[
            diagnosis_pb2.Examination.Attempt(
                attempt=attempt,
                amount=money(intent.amount_minor, payment.currency_code),
                taken=money(intent.captured_minor + intent.capturable_minor, payment.currency_code),
            )
            for attempt, intent in sorted(payment.intents.items())
        ],
        sides=map(wire.side, one.sides),
        disagreements=map(wire.disagreement, one.disagreements),
        is_moving=one.records.is_held,
        is_delivering=delivery is not None and delivery.is_open and delivery.is_due,
    )
