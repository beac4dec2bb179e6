"""Records as operators send them, and what gateway and status are sent of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC
from typing import Final

from batzen.gateway.v1 import imports_pb2 as gateway_pb
from batzen.orchestrator.v1 import imports_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.errors import FieldInvalid, FieldMissing, ServiceError
from services.orchestrator.domain.payment import NAMESPACE, derived_id
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.imports.domain import Contested, GivenBack, PaymentRecord, Revision, Step
from services.orchestrator.wire.payments import snapshot_message
from services.orchestrator.wire.requests import (
    NAME_CHARACTERS_MAX,
    TYPE_CHARACTERS_MAX,
    check_booking_ids,
    derived_payment_id,
)
from services.runtime.database.idempotency import content_hash
from services.shared import fields
from services.shared.payment import Method, PaymentError
from services.shared.split import LinePart, Split
from services.shared.states import State
from services.wire import fill_instant

STEPS_MAX: Final = 50
STATES: Final = {payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{state}"): state for state in State}


def payment_id_of(record_id: str, *, tenant_id: str) -> str:
    """Return the id of the payment that a record becomes: the same for the same record."""
    request_id = uuid.uuid5(NAMESPACE, f"import/{record_id}")
    return derived_payment_id(
        RequestKey(tenant_id=tenant_id, caller="import", method="ImportRecords", request_id=request_id)
    )


def payment_record(message: pb.ImportRecord, *, tenant_id: str) -> PaymentRecord:
    """Read the record of a payment; what concerns Stripe alone is the gateway's to read."""
    payment = message.payment
    record_id = fields.reference(message.record_id, field="record_id", required=True)
    check_booking_ids(payment.booking_ids)
    if not payment.currency_code:
        raise FieldMissing(field="currency_code")
    return PaymentRecord(
        record_id=record_id,
        payment_id=payment_id_of(record_id, tenant_id=tenant_id),
        payer_id=fields.identifier(payment.payer_id, field="payer_id"),
        currency_code=payment.currency_code,
        total_minor=payment.total_minor,
        steps=_steps(payment.history),
        split=Split(lines=tuple(map(_line, payment.lines))),
        booking_ids=tuple(payment.booking_ids),
        client_reference=fields.reference(payment.client_reference, field="client_reference"),
        labels=tuple(fields.labels(payment.labels).items()),
        session_type=fields.text(payment.session_type, field="session_type", characters_max=TYPE_CHARACTERS_MAX),
        session_name=fields.text(payment.session_name, field="session_name", characters_max=NAME_CHARACTERS_MAX),
        has_charge=payment.HasField("charge"),
        captured_minor=payment.charge.captured_minor,
        method=wire.read(Method, payment.charge.method) if payment.charge.HasField("method") else None,
        refunds=tuple(
            GivenBack(amount_minor=one.amount_minor, time=one.create_time.ToDatetime(UTC)) for one in payment.refunds
        ),
        disputes=tuple(
            Contested(
                amount_minor=one.amount_minor,
                is_lost=one.is_lost,
                open_time=one.open_time.ToDatetime(UTC),
                close_time=one.close_time.ToDatetime(UTC),
            )
            for one in payment.disputes
        ),
    )


def _steps(messages: Sequence[pb.PaymentRecord.Step]) -> tuple[Step, ...]:
    if not messages:
        raise FieldMissing(field="history")
    if len(messages) > STEPS_MAX:
        raise FieldInvalid(field="history", detail=f"must be at most {STEPS_MAX}")
    return tuple(_step(one, at=f"history[{place}]") for place, one in enumerate(messages))


def _step(message: pb.PaymentRecord.Step, *, at: str) -> Step:
    state, time = STATES.get(message.state), wire.instant(message, "time")
    if state is None:
        raise FieldInvalid(field=f"{at}.state", detail="must be one of INITIALIZED to EXPIRED")
    if time is None:
        raise FieldMissing(field=f"{at}.time")
    return Step(
        state=state, time=time, error=wire.read(PaymentError, message.error) if message.HasField("error") else None
    )


def _line(message: gateway_pb.ImportedLine) -> LinePart:
    return LinePart(
        line_id=message.line_id,
        seller_id=message.seller_id,
        gross_minor=message.gross_minor,
        seller_minor=message.gross_minor - message.fee_minor,
        platform_fee_minor=message.fee_minor,
        is_platform=message.is_platform,
    )


def gateway_record(message: pb.ImportRecord, record: PaymentRecord | None) -> gateway_pb.ImportRecordsRequest.Record:
    """Return what the gateway is sent of a record, with a digest of all of it."""
    sent = gateway_pb.ImportRecordsRequest.Record(record_id=message.record_id, digest=content_hash(message))
    if record is None:
        kind = message.WhichOneof("record")
        if kind == "customer":
            sent.customer.CopyFrom(message.customer)
        elif kind == "seller":
            sent.seller.CopyFrom(message.seller)
        return sent
    payment = message.payment
    sent.payment.payment_id, sent.payment.payer_id = record.payment_id, record.payer_id
    sent.payment.currency_code, sent.payment.total_minor = record.currency_code, record.total_minor
    sent.payment.sellers_bear_disputes = payment.sellers_bear_disputes
    fill_instant(sent.payment.open_time, record.open_time)
    sent.payment.lines.extend(payment.lines)
    if payment.HasField("charge"):
        sent.payment.charge.CopyFrom(payment.charge)
    sent.payment.refunds.extend(payment.refunds)
    sent.payment.disputes.extend(payment.disputes)
    return sent


def status_payment(record: PaymentRecord, history: Sequence[Revision]) -> status_pb2.ImportedPayment:
    """Return what status is sent of a payment."""
    sent = status_pb2.ImportedPayment(
        opening=status_pb2.OpenPaymentRequest(
            request_id=_request_id(record, 1),
            payment_id=record.payment_id,
            payer_id=record.payer_id,
            seller_ids=dict.fromkeys(line.seller_id for line in record.split.lines),
            booking_ids=record.booking_ids,
            client_reference=record.client_reference,
            total=wire.money(record.total_minor, record.currency_code),
            labels=dict(record.labels),
        )
    )
    fill_instant(sent.open_time, record.open_time)
    for number, one in enumerate(history, start=2):
        revision = sent.revisions.add(request_id=_request_id(record, number), snapshot=snapshot_message(one.snapshot))
        fill_instant(revision.record_time, one.time)
    return sent


def _request_id(record: PaymentRecord, revision: int) -> str:
    return str(derived_id(record.payment_id, f"import:{revision}"))


def problem_of(error: ServiceError) -> gateway_pb.ImportProblem:
    """Return what is wrong with a record."""
    return gateway_pb.ImportProblem(reason=error.reason, field=error.field or "", detail=str(error))


def problem_at_status(outcome: status_pb2.ImportPaymentsResponse.Outcome) -> gateway_pb.ImportProblem:
    """Return what status has against a record, by the record's own fields.

    A payment's id is derived from the record's: one that is there with other content came from it.
    """
    field = outcome.field.removeprefix("opening.")
    if field.startswith(("revisions", "snapshot", "open_time")):
        field = "history"
    if outcome.reason == "PAYMENT_EXISTS":
        return gateway_pb.ImportProblem(reason="RECORD_CHANGED", field="record_id", detail=outcome.detail)
    return gateway_pb.ImportProblem(reason=outcome.reason, field=field, detail=outcome.detail)
