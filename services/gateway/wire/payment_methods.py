"""Requests about a payer's methods as domain values, and what is answered as messages."""

from __future__ import annotations

from datetime import datetime

from batzen.gateway.v1 import payer_pb2, payment_methods_pb2
from services.errors import PermissionDenied
from services.gateway.payment_methods.domain import KeptMethod, PayerMethods
from services.gateway.payment_methods.kept_methods import MethodRequest
from services.gateway.stripe_api import stripe_ids
from services.gateway.wire.requests import NAME_CHARACTERS_MAX
from services.gateway.wire.responses import timestamp
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import PAYER
from services.shared import fields

ChangeRequest = (
    payment_methods_pb2.AttachPaymentMethodRequest
    | payment_methods_pb2.DetachPaymentMethodRequest
    | payment_methods_pb2.SetDefaultPaymentMethodRequest
)


def own_payer() -> str | None:
    """Return the payer whose methods alone the caller may touch; None when it may touch all of its tenant."""
    return call_context.current_caller().subject if PAYER in call_context.current_access().own_as else None


def is_anothers(payer_id: str) -> bool:
    """Whether the caller names another payer, and may touch its own alone."""
    return own_payer() not in (None, payer_id)


def payer_id_of(named: str, *, field: str = "payer_id") -> str:
    """Return which payer a request names; a payer who names none means themselves."""
    return fields.identifier(named or own_payer() or "", field=field)


def person_of(payer: payer_pb2.Payer) -> payer_pb2.Payer:
    """Return for whom a method is kept, checked. A payer keeps methods for nobody else."""
    payer_id = payer_id_of(payer.payer_id, field="payer.payer_id")
    if is_anothers(payer_id):
        raise PermissionDenied
    if payer.email:
        fields.email(payer.email, field="payer.email")
    fields.text(payer.name, field="payer.name", characters_max=NAME_CHARACTERS_MAX)
    fields.text(payer.locale, field="payer.locale", characters_max=fields.LOCALE_CHARACTERS_MAX)
    return payer_pb2.Payer(payer_id=payer_id, email=payer.email, name=payer.name, locale=payer.locale)


def consent_actor(named: str, *, payer_id: str) -> str:
    """Return who agreed that a method is kept: the payer, unless somebody else who may says who did."""
    if own_payer() is not None or not named:
        return payer_id
    return fields.identifier(named, field="consent_actor_id")


def method_request(request: ChangeRequest, *, tenant_id: str, payer_id: str) -> MethodRequest:
    """Read which method a call is about."""
    is_attached = isinstance(request, payment_methods_pb2.AttachPaymentMethodRequest)
    # Who attaches the same method for the same payer asks for the same, whatever is known of the person by then.
    content = request_hash(request, "payer") + payer_id.encode() if is_attached else request_hash(request)
    return MethodRequest(
        tenant_id=tenant_id,
        request_id=fields.request_id(request.request_id),
        request_hash=content,
        payer_id=payer_id,
        payment_method_id=stripe_ids.read(
            request.payment_method_id, stripe_ids.PAYMENT_METHOD, field="payment_method_id"
        ),
    )


def method_to_proto(kept: KeptMethod, *, payer: PayerMethods, now: datetime) -> payment_methods_pb2.PaymentMethod:
    """Return the message of a method that a payer keeps."""
    message = payment_methods_pb2.PaymentMethod(
        payment_method_id=kept.method_id,
        type=kept.method.type,
        brand=kept.method.brand,
        last4=kept.method.last4,
        expire_month=kept.method.expire_month,
        expire_year=kept.method.expire_year,
        default=kept.method_id == payer.default_id,
        expired=kept.is_expired(now),
        keep_time=timestamp(kept.keep_time),
    )
    if kept.consent is not None:
        message.consent_time.CopyFrom(timestamp(kept.consent.consent_time))
        message.consent_actor_id = kept.consent.actor_id
    return message
