"""Requests of the gateway as domain values; a wrong one is refused with its field's name before anything is written.

What every service asks of a field is in services/shared/fields; here is what only the gateway's requests have.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Final, Protocol

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import intents_pb2, refunds_pb2
from batzen.type.v1 import money_pb2
from services.errors import FieldInvalid, FieldMissing
from services.gateway.intents.cancel import CancelIntentParams
from services.gateway.intents.capture import CaptureIntentParams
from services.gateway.intents.confirm import ConfirmIntentParams
from services.gateway.intents.creation import IntentRequest
from services.gateway.refunds.operations import CreateRefundParams
from services.gateway.stripe_api import currencies, metadata, stripe_ids
from services.gateway.wire import splits
from services.runtime.database.idempotency import request_hash
from services.shared import fields

NAME_CHARACTERS_MAX: Final = 256
DESCRIPTION_CHARACTERS_MAX: Final = 500
ATTEMPTS_MAX: Final = 100
SEND_BEFORE: Final = "send_before_time"
"""The field that says when it is too late; a repeat may say another, and is the same request."""
REFUND_NAMESPACE: Final = uuid.UUID("0c6e5d1a-7d0e-4a56-9d2f-5a0f3e1f7c44")

CANCEL_REASONS: Final = {
    intents_pb2.CancelIntentRequest.REASON_UNSPECIFIED: "",
    intents_pb2.CancelIntentRequest.REASON_REQUESTED: "requested_by_customer",
    intents_pb2.CancelIntentRequest.REASON_ABANDONED: "abandoned",
    intents_pb2.CancelIntentRequest.REASON_FRAUDULENT: "fraudulent",
    intents_pb2.CancelIntentRequest.REASON_DUPLICATE: "duplicate",
}
REFUND_REASONS: Final = {
    refunds_pb2.CreateRefundRequest.REASON_UNSPECIFIED: "",
    refunds_pb2.CreateRefundRequest.REASON_REQUESTED_BY_PAYER: "requested_by_customer",
    refunds_pb2.CreateRefundRequest.REASON_DUPLICATE: "duplicate",
    refunds_pb2.CreateRefundRequest.REASON_FRAUDULENT: "fraudulent",
}


def intent_request(request: intents_pb2.CreateIntentRequest, *, tenant_id: str) -> IntentRequest:
    """Read what is asked of a new intent."""
    request_id = fields.request_id(request.request_id)
    payment_id = fields.identifier(request.payment_id, field="payment_id")
    number = attempt(request.attempt)
    payer_id = fields.identifier(request.payer.payer_id, field="payer.payer_id")
    amount = fields.money(request.amount, is_set=request.HasField("amount"), field="amount", least_minor=1)
    fee = application_fee(request, amount)
    split = splits.split(request.seller_parts, amount=amount)
    seller_id = splits.destination(request, split, fee_minor=fee.amount_minor)
    payer = request.payer
    if payer.email:
        fields.email(payer.email, field="payer.email")
    currencies.charge_to_stripe(amount.amount_minor, amount.currency_code)
    currencies.to_stripe(fee.amount_minor, fee.currency_code, field="application_fee")
    if request.setup_only and request.capture_manually:
        raise FieldInvalid(field="capture_manually", detail="must not be set: a setup takes nothing that could be held")
    keeps = request.setup_only or request.keep_method
    return IntentRequest(
        tenant_id=tenant_id,
        request_id=request_id,
        # Who goes on after a crash knows the payer's id alone.
        request_hash=request_hash(request, "payer", SEND_BEFORE) + payer_id.encode(),
        payment_id=payment_id,
        attempt=number,
        payer_id=payer_id,
        email=payer.email,
        name=fields.text(payer.name, field="payer.name", characters_max=NAME_CHARACTERS_MAX),
        locale=fields.text(payer.locale, field="payer.locale", characters_max=fields.LOCALE_CHARACTERS_MAX),
        seller_id=seller_id,
        split=split,
        settlement=splits.terms(request),
        amount_minor=amount.amount_minor,
        currency_code=amount.currency_code,
        application_fee_minor=fee.amount_minor,
        description=fields.text(request.description, field="description", characters_max=DESCRIPTION_CHARACTERS_MAX),
        capture_manually=request.capture_manually,
        setup_only=request.setup_only,
        keep_method=request.keep_method and not request.setup_only,
        consent_actor_id=consent_actor(request.consent_actor_id, keeps=keeps) or (payer_id if keeps else ""),
        metadata=metadata.checked(request.metadata, field="metadata"),
        send_before_time=send_before(request),
    )


def confirm_params(request: intents_pb2.ConfirmIntentRequest) -> ConfirmIntentParams:
    """Read with what an intent is confirmed."""
    method_id = token_id = None
    match request.WhichOneof("method"):
        case "payment_method_id":
            method_id = stripe_ids.read(request.payment_method_id, stripe_ids.PAYMENT_METHOD, field="payment_method_id")
        case "confirmation_token_id":
            token_id = stripe_ids.read(
                request.confirmation_token_id, stripe_ids.CONFIRMATION_TOKEN, field="confirmation_token_id"
            )
        case _:
            raise FieldMissing(field="payment_method_id")
    if request.off_session and method_id is None:
        raise FieldInvalid(field="off_session", detail="must not be set with a token: its payer is there")
    if request.use_stripe_sdk and token_id is None:
        raise FieldInvalid(field="use_stripe_sdk", detail="must not be set without a token that the library made")
    if request.off_session and request.keep_method:
        raise FieldInvalid(field="keep_method", detail="must not be set: what is charged off-session is kept already")
    return ConfirmIntentParams(
        attempt=attempt(request.attempt),
        payment_method_id=method_id,
        confirmation_token_id=token_id,
        return_url=fields.url(request.return_url, field="return_url"),
        off_session=request.off_session,
        keep_method=request.keep_method,
        consent_actor_id=consent_actor(request.consent_actor_id, keeps=request.keep_method),
        use_stripe_sdk=request.use_stripe_sdk,
        send_before_time=send_before(request),
    )


def capture_params(request: intents_pb2.CaptureIntentRequest) -> CaptureIntentParams:
    """Read what is captured."""
    amount = fields.money(request.amount, is_set=request.HasField("amount"), field="amount", least_minor=1)
    fee = application_fee(request, amount)
    currencies.to_stripe(amount.amount_minor, amount.currency_code)
    currencies.to_stripe(fee.amount_minor, fee.currency_code, field="application_fee")
    return CaptureIntentParams(
        amount_minor=amount.amount_minor,
        currency_code=amount.currency_code,
        application_fee_minor=fee.amount_minor,
        final_capture=request.final_capture,
        line_amounts=splits.line_amounts(request.line_amounts, amount_minor=amount.amount_minor),
    )


def cancel_params(request: intents_pb2.CancelIntentRequest) -> CancelIntentParams:
    """Read why an intent is cancelled."""
    reason = CANCEL_REASONS.get(request.reason)
    if reason is None:
        offered = fields.one_of(intents_pb2.CancelIntentRequest.Reason.items(), CANCEL_REASONS)
        raise FieldInvalid(field="reason", detail=offered)
    return CancelIntentParams(attempt=attempt(request.attempt), reason=reason, unless_kept=request.unless_kept)


def refund_params(
    request: refunds_pb2.CreateRefundRequest, *, tenant_id: str, currency_code: str
) -> CreateRefundParams:
    """Read what is given back of a payment in a currency."""
    amount = fields.money(request.amount, is_set=request.HasField("amount"), field="amount", least_minor=1)
    expected = fields.money(
        request.expected_refundable,
        is_set=request.HasField("expected_refundable"),
        field="expected_refundable",
        least_minor=0,
    )
    for field, value in (("amount", amount), ("expected_refundable", expected)):
        if value.currency_code != currency_code:
            raise FieldInvalid(field=f"{field}.currency_code", detail=f"must be {currency_code}, as the payment is")
    currencies.to_stripe(amount.amount_minor, amount.currency_code)
    reason = REFUND_REASONS.get(request.reason)
    if reason is None:
        offered = fields.one_of(refunds_pb2.CreateRefundRequest.Reason.items(), REFUND_REASONS)
        raise FieldInvalid(field="reason", detail=offered)
    for flag in ("reverse_transfer", "refund_application_fee"):
        if not request.HasField(flag):
            raise FieldMissing(field=flag)
    if request.refund_application_fee and not request.reverse_transfer:
        raise FieldInvalid(field="refund_application_fee", detail="must not be set without `reverse_transfer`")
    request_id = fields.request_id(request.request_id)
    return CreateRefundParams(
        refund_id=f"refund_{uuid.uuid5(REFUND_NAMESPACE, f'{tenant_id}/{request_id}').hex}",
        amount_minor=amount.amount_minor,
        expected_refundable_minor=expected.amount_minor,
        reverse_transfer=request.reverse_transfer,
        refund_application_fee=request.refund_application_fee,
        reason=reason,
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        attempt=attempt(request.attempt) if request.attempt else 0,
        line_amounts=splits.line_amounts(request.line_amounts, amount_minor=amount.amount_minor),
        line_ids=splits.line_ids(request),
    )


def application_fee(
    request: intents_pb2.CreateIntentRequest | intents_pb2.CaptureIntentRequest, amount: money_pb2.Money
) -> money_pb2.Money:
    """Return what the platform keeps of an amount."""
    fee = fields.money(
        request.application_fee,
        is_set=request.HasField("application_fee"),
        field="application_fee",
        least_minor=0,
    )
    if fee.currency_code != amount.currency_code:
        raise FieldInvalid(field="application_fee.currency_code", detail="must be that of the amount")
    if fee.amount_minor > amount.amount_minor:
        raise FieldInvalid(field="application_fee.amount_minor", detail="must be at most the amount")
    return fee


def consent_actor(actor_id: str, *, keeps: bool) -> str:
    """Return who agreed that a method is kept; empty where that is the payer, and where none is kept."""
    if not actor_id:
        return ""
    if not keeps:
        raise FieldInvalid(field="consent_actor_id", detail="must be empty: no method is kept")
    return fields.identifier(actor_id, field="consent_actor_id")


def attempt(value: int) -> int:
    """Return the number of an attempt."""
    if not value:
        raise FieldMissing(field="attempt")
    if not 1 <= value <= ATTEMPTS_MAX:
        raise FieldInvalid(field="attempt", detail=f"must be 1 to {ATTEMPTS_MAX}")
    return value


class _MaySayBefore(Protocol):
    @property
    def send_before_time(self) -> Timestamp: ...
    def HasField(self, field_name: str) -> bool: ...


def send_before(request: _MaySayBefore) -> datetime | None:
    """Return when a call is too old to be sent; None where it may be sent at any time."""
    if not request.HasField(SEND_BEFORE):
        return None
    try:
        return request.send_before_time.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=SEND_BEFORE, detail="must be an instant of the years 1 to 9999") from None
