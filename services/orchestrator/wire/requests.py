"""Reads requests: what is wrong with one is said with its field, before anything is written down."""

from __future__ import annotations

import hashlib
import re
import uuid
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.type.v1 import money_pb2
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain import NotOffered, TooManySellers, derived_id
from services.orchestrator.store import NewPayment, Request, RequestKey
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import PAYER
from services.shared.amounts import AMOUNT_MINOR_MAX

ID_CHARACTERS_MAX: Final = 128
NAME_CHARACTERS_MAX: Final = 200
TYPE_CHARACTERS_MAX: Final = 64
REASON_CHARACTERS_MAX: Final = 200
EMAIL_CHARACTERS_MAX: Final = 320
LOCALE_CHARACTERS_MAX: Final = 35
URL_CHARACTERS_MAX: Final = 2_000
LINES_MAX: Final = 1_000
BOOKINGS_MAX: Final = 100
LABELS_MAX: Final = 50
LABEL_KEY_CHARACTERS_MAX: Final = 40
LABEL_CHARACTERS_MAX: Final = 500

_ID: Final = re.compile(r"[!-~]+")
_PAYMENT_ID: Final = re.compile(r"pay_[0-9a-z]{26}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+")
_LOCALE: Final = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")
_BASE32: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letters that look like digits
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_REQUEST_HASHED: Final = "request_id"


def request_from(request: Any, payment_id: str, *, command: bytes) -> Request:
    """Return the request under its key, with the hash of every field that is set but its id."""
    try:
        request_id = uuid.UUID(request.request_id)
    except ValueError:
        if not request.request_id:
            raise FieldMissing(field="request_id") from None
        raise FieldInvalid(field="request_id", detail="It is a UUID, made before the first try.") from None
    content = type(request)()
    content.CopyFrom(request)
    content.ClearField(_REQUEST_HASHED)
    return Request(
        key=RequestKey(
            tenant_id=call_context.current_tenant(),
            caller=call_context.current_caller().subject,
            method=type(request).__name__.removesuffix("Request"),
            request_id=request_id,
        ),
        request_hash=hashlib.sha256(content.SerializeToString(deterministic=True)).digest(),
        payment_id=payment_id,
        command=command,
    )


def own_payer() -> str | None:
    """Return the payer whose payments alone the caller may touch; None when it may touch all of its tenant."""
    return call_context.current_caller().subject if PAYER in call_context.current_access().own_as else None


def new_payment(request: orchestrator_pb2.StartPaymentRequest, payment_id: str, *, quote_ttl: timedelta) -> NewPayment:
    """Read what is to be paid for; personal data of the payer stays out. The quote is to stand for `quote_ttl`."""
    check_id(request.payer.payer_id, field="payer.payer_id")
    check_text(request.payer.email, field="payer.email", characters_max=EMAIL_CHARACTERS_MAX)
    if request.payer.email and not _EMAIL.fullmatch(request.payer.email):
        raise FieldInvalid(field="payer.email", detail="It is no e-mail address.")
    check_text(request.payer.name, field="payer.name", characters_max=NAME_CHARACTERS_MAX)
    check_text(request.payer.locale, field="payer.locale", characters_max=LOCALE_CHARACTERS_MAX)
    if request.payer.locale and not _LOCALE.fullmatch(request.payer.locale):
        raise FieldInvalid(field="payer.locale", detail="It is no BCP 47 locale.")
    if not request.lines:
        raise FieldMissing(field="lines")
    if len(request.lines) > LINES_MAX:
        raise FieldInvalid(field="lines", detail=f"At most {LINES_MAX} lines.")
    if len(request.booking_ids) > BOOKINGS_MAX:
        raise FieldInvalid(field="booking_ids", detail=f"At most {BOOKINGS_MAX} bookings.")
    for place, booking_id in enumerate(request.booking_ids):
        check_id(booking_id, field=f"booking_ids[{place}]")
    if len(set(request.booking_ids)) != len(request.booking_ids):
        raise FieldInvalid(field="booking_ids", detail="Each booking once.")
    check_text(request.session_type, field="session_type", characters_max=TYPE_CHARACTERS_MAX)
    check_text(request.session_name, field="session_name", characters_max=NAME_CHARACTERS_MAX)
    check_text(request.client_reference, field="client_reference", characters_max=ID_CHARACTERS_MAX)
    if not request.client_reference.isprintable():
        raise FieldInvalid(field="client_reference", detail="It holds a character that cannot be printed.")
    check_url(request.return_url, field="return_url")
    if request.cancel_url:
        check_url(request.cancel_url, field="cancel_url")
    _check_labels(dict(request.labels))
    _check_offered(request)
    seller_ids = tuple(dict.fromkeys(line.seller_id for line in request.lines))
    if len(seller_ids) > 1:
        raise TooManySellers(field="lines", sellers=len(seller_ids))
    check_id(seller_ids[0], field="lines[0].seller_id")
    quote_request = pricing_pb2.CreateQuoteRequest(
        request_id=str(derived_id(payment_id, "step:quote:1")),
        lines=request.lines,
        payer_id=request.payer.payer_id,
        coupon_codes=request.coupon_codes,
        locales=request.display_locales,
    )
    quote_request.ttl.FromTimedelta(quote_ttl)
    return NewPayment(
        payment_id=payment_id,
        payer_id=request.payer.payer_id,
        quote_request=quote_request.SerializeToString(),
        session_type=request.session_type,
        session_name=request.session_name,
        client_reference=request.client_reference,
        return_url=request.return_url,
        seller_ids=seller_ids,
        booking_ids=tuple(request.booking_ids),
        labels=dict(request.labels),
    )


def _check_offered(request: orchestrator_pb2.StartPaymentRequest) -> None:
    if request.timing not in (orchestrator_pb2.TIMING_UNSPECIFIED, orchestrator_pb2.TIMING_IMMEDIATE):
        if request.timing not in orchestrator_pb2.Timing.values():
            raise FieldInvalid(field="timing")
        raise NotOffered(field="timing")
    if request.HasField("charge_time"):
        raise FieldInvalid(field="charge_time", detail="Only a scheduled payment has one.")
    if request.collection not in orchestrator_pb2.Collection.values():
        raise FieldInvalid(field="collection")
    if request.collection != orchestrator_pb2.COLLECTION_ELEMENTS:
        raise NotOffered(field="collection")


def _check_labels(labels: dict[str, str]) -> None:
    if len(labels) > LABELS_MAX:
        raise FieldInvalid(field="labels", detail=f"At most {LABELS_MAX} labels.")
    for key, value in labels.items():
        if not key or len(key) > LABEL_KEY_CHARACTERS_MAX or len(value) > LABEL_CHARACTERS_MAX:
            raise FieldInvalid(field=f"labels[{key[:LABEL_KEY_CHARACTERS_MAX]}]")
        check_text(key, field="labels", characters_max=LABEL_KEY_CHARACTERS_MAX)
        check_text(value, field=f"labels[{key}]", characters_max=LABEL_CHARACTERS_MAX)


def check_payment_id(value: str) -> None:
    """Refuse what cannot be a payment's id; one that is well formed and unknown is not found later."""
    if not value:
        raise FieldMissing(field="payment_id")
    if not _PAYMENT_ID.fullmatch(value):
        raise FieldInvalid(field="payment_id", detail="It is `pay_` and 26 characters.")


def check_id(value: str, *, field: str) -> None:
    """Refuse an opaque id that is missing, longer than 128 characters, or not of visible ASCII."""
    if not value:
        raise FieldMissing(field=field)
    if len(value) > ID_CHARACTERS_MAX or not _ID.fullmatch(value):
        raise FieldInvalid(field=field, detail=f"At most {ID_CHARACTERS_MAX} visible ASCII characters.")


def check_text(value: str, *, field: str, characters_max: int) -> None:
    """Refuse a text that is too long, or that PostgreSQL cannot keep."""
    if len(value) > characters_max:
        raise FieldInvalid(field=field, detail=f"At most {characters_max} characters.")
    if "\0" in value:
        raise FieldInvalid(field=field, detail="It holds a NUL character.")


def check_url(value: str, *, field: str) -> None:
    """Refuse what a payer's browser should not be sent to: only https, or http on loopback."""
    if not value:
        raise FieldMissing(field=field)
    problem = FieldInvalid(field=field, detail="An https URL, or http on loopback.")
    if len(value) > URL_CHARACTERS_MAX or not _ID.fullmatch(value):
        raise problem
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError:
        raise problem from None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)):
        raise problem


def check_money(value: money_pb2.Money, *, field: str, least_minor: int) -> None:
    """Refuse an amount below `least_minor`, beyond what is ever charged, or without a currency."""
    if not _CURRENCY.fullmatch(value.currency_code):
        raise FieldInvalid(field=f"{field}.currency_code", detail="Three upper case letters of ISO 4217.")
    if not least_minor <= value.amount_minor <= AMOUNT_MINOR_MAX:
        raise FieldInvalid(field=f"{field}.amount_minor", detail=f"{least_minor} to {AMOUNT_MINOR_MAX}.")


def derived_payment_id(key: RequestKey) -> str:
    """Return the id of the payment that a start makes: `pay_` and 26 characters, the same for the same request.

    So a start that is repeated after the rows of the first were lost, as with a failover to a standby that lagged,
    makes no second payment: pricing, status and gateway hear the same ids again. A request id of version 7 gives the
    first ten characters, its millisecond, so that the ids of one time stand together; all else is a hash.
    """
    name = "\0".join((key.tenant_id, key.caller, str(key.request_id)))
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    if key.request_id.version == 7:
        number = key.request_id.int >> 80 << 80 | number & (1 << 80) - 1
    return "pay_" + "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


def timestamp(instant: datetime) -> Timestamp:
    """Return the message of an instant."""
    message = Timestamp()
    message.FromDatetime(instant)
    return message
