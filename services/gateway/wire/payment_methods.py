"""Requests about a payer's methods as domain values, and what is answered as messages."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from batzen.gateway.v1 import intents_pb2, payer_pb2, payment_methods_pb2
from batzen.type.v1 import payment_pb2
from services.errors import FieldInvalid, PermissionDenied
from services.gateway.payment_methods.domain import KeptMethod, PayerMethods, is_expired
from services.gateway.payment_methods.kept_methods import MethodRequest
from services.gateway.payment_methods.setup_intents import Seen, SetupRequest
from services.gateway.payment_methods.setups import OVER
from services.gateway.stripe_api import stripe_ids
from services.gateway.stripe_api.intent_objects import redirect_of
from services.gateway.stripe_api.objects import text
from services.gateway.wire.requests import NAME_CHARACTERS_MAX
from services.gateway.wire.responses import timestamp
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import PAYER
from services.shared import fields
from services.shared.payment import Method

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


def setup_request(
    request: payment_methods_pb2.CreateSetupIntentRequest, *, tenant_id: str, person: payer_pb2.Payer
) -> SetupRequest:
    """Read what is asked of a new setup intent."""
    if request.payment_id:
        raise FieldInvalid(
            field="payment_id", detail="must be empty: the setup of a payment is an attempt, by CreateIntent"
        )
    method_id, token_id = request.payment_method_id, request.confirmation_token_id
    if method_id:
        stripe_ids.read(method_id, stripe_ids.PAYMENT_METHOD, field="payment_method_id")
    if token_id:
        stripe_ids.read(token_id, stripe_ids.CONFIRMATION_TOKEN, field="confirmation_token_id")
    is_confirmed = bool(method_id or token_id)
    if request.return_url and not is_confirmed:
        raise FieldInvalid(field="return_url", detail="must be empty without a method")
    return SetupRequest(
        tenant_id=tenant_id,
        request_id=fields.request_id(request.request_id),
        request_hash=request_hash(request, "payer") + person.payer_id.encode(),
        payer_id=person.payer_id,
        email=person.email,
        name=person.name,
        locale=person.locale,
        payment_method_id=method_id,
        confirmation_token_id=token_id,
        return_url=fields.url(request.return_url, field="return_url") if is_confirmed else "",
        consent_actor_id=consent_actor(request.consent_actor_id, payer_id=person.payer_id),
    )


def setup_to_proto(seen: Seen, *, now: datetime) -> payment_methods_pb2.SetupIntent:
    """Return the message of a setup intent."""
    setup = seen.setup
    message = payment_methods_pb2.SetupIntent(
        setup_intent_id=setup.setup_intent_id, payer_id=seen.payer_id, state=f"INTENT_STATE_{setup.state}"
    )
    if setup.method is not None:
        message.payment_method.CopyFrom(_method_to_proto(setup.method, now=now))
    if setup.error is not None:
        message.last_error.CopyFrom(payment_pb2.PaymentError(**asdict(setup.error)))
    return message


def secret_of(seen: Seen) -> str:
    """Return what a browser needs to confirm a setup intent; empty once it is over, or where it was not read."""
    return "" if seen.live is None or seen.setup.state in OVER else text(seen.live, "client_secret")


def next_action_of(seen: Seen) -> intents_pb2.NextAction | None:
    """Return what the payer has to do; None when nothing, or where it was not read."""
    redirect_url = None if seen.live is None else redirect_of(seen.live)
    return None if redirect_url is None else intents_pb2.NextAction(redirect_url=redirect_url)


def method_to_proto(kept: KeptMethod, *, payer: PayerMethods, now: datetime) -> payment_methods_pb2.PaymentMethod:
    """Return the message of a method that a payer keeps."""
    message = _method_to_proto(kept.method, now=now)
    message.default = kept.method_id == payer.default_id
    message.keep_time.CopyFrom(timestamp(kept.keep_time))
    if kept.consent is not None:
        message.consent_time.CopyFrom(timestamp(kept.consent.consent_time))
        message.consent_actor_id = kept.consent.actor_id
    return message


def _method_to_proto(method: Method, *, now: datetime) -> payment_methods_pb2.PaymentMethod:
    return payment_methods_pb2.PaymentMethod(
        payment_method_id=method.payment_method_id,
        type=method.type,
        brand=method.brand,
        last4=method.last4,
        expire_month=method.expire_month,
        expire_year=method.expire_year,
        expired=is_expired(method, now),
    )
