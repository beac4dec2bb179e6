"""Bodies of `/v1` as messages to the services."""

from __future__ import annotations

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2
from services.bff.api.modern import models
from services.bff.api.operations import DISPLAY_LOCALES, Operations
from services.web.failures import Refusal


def start_request(body: models.StartPayment, operations: Operations, *, request_id: str) -> pb.StartPaymentRequest:
    """Return a start. Without addresses of its own it comes back to this front."""
    request = pb.StartPaymentRequest(
        request_id=request_id,
        payer=pb.Payer(
            payer_id=body.payer.payer_id,
            email=body.payer.email,
            name=body.payer.name,
            locale=body.payer.locale,
        ),
        lines=[_line(one) for one in body.lines],
        booking_ids=body.booking_ids,
        session_type=body.session_type,
        session_name=body.session_name,
        client_reference=body.client_reference,
        return_url=body.return_url or operations.return_url(),
        cancel_url=body.cancel_url or body.return_url or operations.return_url(),
        timing=f"TIMING_{body.timing}",
        timings_offered=[f"TIMING_{one}" for one in body.timings_offered],
        collection=f"COLLECTION_{body.collection}",
        coupon_codes=body.coupon_codes,
        keep_method=body.keep_method,
        labels=body.labels,
        display_locales=DISPLAY_LOCALES,
    )
    if body.charge_time is not None:
        if body.charge_time.tzinfo is None:
            raise Refusal(400, "FIELD_INVALID", field="charge_time", explanation="must name its offset from UTC")
        request.charge_time.FromDatetime(body.charge_time)
    return request


def confirm_request(
    body: models.ConfirmPayment, operations: Operations, *, payment_id: str, request_id: str
) -> pb.SubmitPaymentRequest:
    """Return a submit of one method. Raises `Refusal` where none is named, or two."""
    if bool(body.payment_method_id) == bool(body.confirmation_token_id):
        raise Refusal(
            400,
            "FIELD_INVALID",
            field="payment_method_id",
            explanation="must be given, or `confirmation_token_id`, and not both",
        )
    request = pb.SubmitPaymentRequest(
        request_id=request_id,
        payment_id=payment_id,
        return_url=body.return_url or operations.return_url(payment_id),
        keep_method=body.keep_method,
        expected_total=None if body.expected_total is None else money(body.expected_total),
        expected_timing=f"TIMING_{body.expected_timing or 'UNSPECIFIED'}",
    )
    if body.payment_method_id:
        request.payment_method_id = body.payment_method_id
    else:
        request.confirmation_token_id = body.confirmation_token_id
    return request


def capture_request(body: models.CapturePayment, *, payment_id: str, request_id: str) -> pb.CapturePaymentRequest:
    """Return a capture."""
    return pb.CapturePaymentRequest(
        request_id=request_id,
        payment_id=payment_id,
        amount=None if body.amount is None else money(body.amount),
        final_capture=body.final_capture,
        actor_id=body.actor_id,
    )


def refund_request(body: models.RefundPayment, *, payment_id: str, request_id: str) -> pb.RefundPaymentRequest:
    """Return a refund on what its caller saw."""
    return pb.RefundPaymentRequest(
        request_id=request_id,
        payment_id=payment_id,
        amount=None if body.amount is None else money(body.amount),
        expected_refundable=money(body.expected_refundable),
        reason=f"REASON_{body.reason or 'UNSPECIFIED'}",
        seller_id=body.seller_id,
        actor_id=body.actor_id,
    )


def filter_of(
    payer_id: str, booking_id: str, client_reference: str, *, unsettled_only: bool
) -> status_pb2.PaymentFilter:
    """Return which payments are meant."""
    return status_pb2.PaymentFilter(
        payer_id=payer_id, booking_id=booking_id, client_reference=client_reference, unsettled_only=unsettled_only
    )


def money(body: models.Money) -> money_pb2.Money:
    """Return an amount."""
    return money_pb2.Money(amount_minor=body.amount_minor, currency_code=body.currency_code)


def _line(body: models.Line) -> pricing_pb2.Line:
    return pricing_pb2.Line(
        line_id=body.line_id,
        seller_id=body.seller_id,
        kind=f"LINE_KIND_{body.kind}",
        quantity=body.quantity,
        unit_amount=money(body.unit_amount),
        tax_category=body.tax_category,
        tax_behavior=f"TAX_BEHAVIOR_{body.tax_behavior}",
    )
