"""Reads requests; one that is wrong is refused with the name of its field, before anything is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol, cast
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.orchestrator.v1 import ops_pb2, orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain import policies
from services.orchestrator.domain.errors import TooManySellers
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.plan import NewPayment, RequestKey
from services.orchestrator.domain.recovery import RECOVERIES, Interruption
from services.orchestrator.domain.start_switch import StartSwitch
from services.orchestrator.wire.terms import check_terms, course, terms
from services.runtime.rpc import call_context
from services.runtime.rpc.identity import PAYER
from services.shared import fields
from services.shared.cards import holds_card_number

NAME_CHARACTERS_MAX: Final = 200
TYPE_CHARACTERS_MAX: Final = 64
REASON_CHARACTERS_MAX: Final = 200
LINES_MAX: Final = 1_000
BOOKINGS_MAX: Final = 100
SELLERS_MAX: Final = 100
"""Of one payment: each is checked before and gets a transfer of its own after the charge, a second or so apiece."""
WHY_CHARACTERS_MAX: Final = 500
PUBLIC_MESSAGE_CHARACTERS_MAX: Final = 200
"""It goes with each refusal, in a header of HTTP/2."""

DIGESTS_MAX: Final = 8
"""Tried for a payment's id. One id of some millions has digits that pass for a card's number; it would be refused
wherever it is sent, so the next digest is taken."""
PAYMENT_ID: Final = "{PAYMENT_ID}"
"""In an address to come back to: the payment's id, as Stripe has `{CHECKOUT_SESSION_ID}` for a page's."""
_BASE32: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letters that look like digits


class _Identified(Protocol):
    """What every request that changes something has."""

    request_id: str


def request_key(message: Message) -> RequestKey:
    """Return what a request is known by: its caller, its method and the id that its caller made."""
    return RequestKey(
        tenant_id=call_context.current_tenant(),
        caller=call_context.current_caller().subject,
        method=type(message).__name__.removesuffix("Request"),
        request_id=fields.request_id(cast("_Identified", message).request_id),
    )


def own_payer() -> str | None:
    """Return the payer whose payments alone the caller may touch; None when it may touch all of its tenant."""
    return call_context.current_caller().subject if PAYER in call_context.current_access().own_as else None


def check_start(request: orchestrator_pb2.StartPaymentRequest) -> None:
    """Refuse what cannot be started, whatever the state."""
    fields.identifier(request.payer.payer_id, field="payer.payer_id")
    if request.payer.email:
        fields.email(request.payer.email, field="payer.email")
    fields.text(request.payer.name, field="payer.name", characters_max=NAME_CHARACTERS_MAX)
    if request.payer.locale:
        fields.locale(request.payer.locale, field="payer.locale")
    if not request.lines:
        raise FieldMissing(field="lines")
    if len(request.lines) > LINES_MAX:
        raise FieldInvalid(field="lines", detail=f"must be at most {LINES_MAX} lines")
    check_booking_ids(request.booking_ids)
    if request.on_open_payment not in orchestrator_pb2.OnOpenPayment.values():
        offered = orchestrator_pb2.OnOpenPayment
        raise FieldInvalid(field="on_open_payment", detail=fields.one_of(offered.items(), offered.values()))
    fields.text(request.session_type, field="session_type", characters_max=TYPE_CHARACTERS_MAX)
    fields.text(request.session_name, field="session_name", characters_max=NAME_CHARACTERS_MAX)
    fields.reference(request.client_reference, field="client_reference")
    fields.url(request.return_url, field="return_url")
    if request.cancel_url:
        fields.url(request.cancel_url, field="cancel_url")
    fields.labels(request.labels)
    check_terms(request)
    sellers = _seller_ids(request)
    if len(sellers) > SELLERS_MAX:
        raise TooManySellers(field="lines", sellers=len(sellers))
    for place, line in enumerate(request.lines):
        fields.identifier(line.seller_id, field=f"lines[{place}].seller_id")


def check_booking_ids(booking_ids: Sequence[str]) -> None:
    """Refuse bookings that are too many, named twice, or no ids."""
    if len(booking_ids) > BOOKINGS_MAX:
        raise FieldInvalid(field="booking_ids", detail=f"must be at most {BOOKINGS_MAX} bookings")
    for place, booking_id in enumerate(booking_ids):
        fields.identifier(booking_id, field=f"booking_ids[{place}]")
    if len(set(booking_ids)) != len(booking_ids):
        raise FieldInvalid(field="booking_ids", detail="must have each booking once")


def new_payment(
    request: orchestrator_pb2.StartPaymentRequest, payment_id: str, *, abandoned_after: timedelta
) -> NewPayment:
    """Return what is to be paid for; personal data of the payer stays out, who is waited for `abandoned_after`."""
    its_terms = terms(request)
    its_terms = replace(its_terms, cancel_url=its_terms.cancel_url.replace(PAYMENT_ID, payment_id))
    quote_request = pricing_pb2.CreateQuoteRequest(
        request_id=str(derived_id(payment_id, "step:quote:1")),
        lines=request.lines,
        payer_id=request.payer.payer_id,
        coupon_codes=request.coupon_codes,
        locales=request.display_locales,
    )
    quote_request.ttl.FromTimedelta(policies.quote_ttl(its_terms, abandoned_after))
    return NewPayment(
        payment_id=payment_id,
        payer_id=request.payer.payer_id,
        quote_request=quote_request.SerializeToString(),
        session_type=request.session_type,
        session_name=request.session_name,
        client_reference=request.client_reference,
        return_url=request.return_url.replace(PAYMENT_ID, payment_id),
        seller_ids=_seller_ids(request),
        booking_ids=tuple(request.booking_ids),
        labels=dict(request.labels),
        terms=its_terms,
        course=course(request),
    )


def _seller_ids(request: orchestrator_pb2.StartPaymentRequest) -> tuple[str, ...]:
    return tuple(dict.fromkeys(line.seller_id for line in request.lines))


def derived_payment_id(key: RequestKey) -> str:
    """Return the id of the payment that a start makes: `pay_` and 26 characters, the same for the same request.

    So a start that is repeated after the rows of the first were lost, as with a failover to a standby that lagged,
    makes no second payment: pricing, status and gateway hear the same ids again. A request id of version 7 gives the
    first ten characters, its millisecond, so that the ids of one time stand together; all else is a hash.
    """
    name = "\0".join((key.tenant_id, key.caller, str(key.request_id)))
    digest = name.encode()
    for _ in range(DIGESTS_MAX):
        digest = hashlib.sha256(digest).digest()
        payment_id = _payment_id(digest, key.request_id)
        if not holds_card_number(payment_id):
            break
    return payment_id


def started_as(request_id: str) -> str:
    """Return the id of the payment that the caller's StartPayment of this request id makes."""
    key = RequestKey(
        tenant_id=call_context.current_tenant(),
        caller=call_context.current_caller().subject,
        method="StartPayment",
        request_id=fields.request_id(request_id),
    )
    return derived_payment_id(key)


def check_named(named: str, *, field: str) -> None:
    """Refuse what payments cannot be found by: no id, or no reference."""
    if field == "client_reference":
        fields.reference(named, field=field)
    else:
        fields.identifier(named, field=field)


def is_same_cart(request: orchestrator_pb2.StartPaymentRequest, quote_request: bytes) -> bool:
    """Whether a start has the lines, and so the currency, and the coupons of a payment that was started before."""
    other = pricing_pb2.CreateQuoteRequest.FromString(quote_request)
    return list(request.lines) == list(other.lines) and set(request.coupon_codes) == set(other.coupon_codes)


def _payment_id(digest: bytes, request_id: UUID) -> str:
    number = int.from_bytes(digest[:16], "big")
    if request_id.version == 7:
        number = request_id.int >> 80 << 80 | number & (1 << 80) - 1
    return "pay_" + "".join(_BASE32[number >> shift & 31] for shift in range(125, -1, -5))


def paused_starts(request: ops_pb2.PauseStartsRequest, *, now: datetime) -> StartSwitch:
    """Return what an operator says who stops new payments; refuse what is wrong."""
    end = None
    if request.HasField("expected_end_time"):
        end = _instant(request.expected_end_time, field="expected_end_time")
    return StartSwitch(
        paused=True,
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        reason=_why(request.reason),
        create_time=now,
        public_message=fields.text(
            request.public_message, field="public_message", characters_max=PUBLIC_MESSAGE_CHARACTERS_MAX
        ),
        expected_end_time=end,
    )


def resumed_starts(request: ops_pb2.ResumeStartsRequest, *, now: datetime) -> StartSwitch:
    """Return what an operator says who takes new payments again; refuse what is wrong."""
    return StartSwitch(
        paused=False,
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        reason=_why(request.reason),
        create_time=now,
    )


def _why(reason: str) -> str:
    if not reason:
        raise FieldMissing(field="reason")
    return fields.text(reason, field="reason", characters_max=WHY_CHARACTERS_MAX)


def preserve_window(request: orchestrator_pb2.PreservePaymentRequest) -> timedelta:
    """Return for how long a payer asks to be waited for; refuse what is none, or longer than they may."""
    policy = RECOVERIES[Interruption.PRESERVED]
    if not request.HasField("window"):
        return policy.window
    window = request.window.ToTimedelta()
    if not timedelta(0) < window <= policy.window_max:
        hours = int(policy.window_max.total_seconds() // 3600)
        raise FieldInvalid(field="window", detail=f"must be more than nothing and at most {hours} hours")
    return window


def _instant(value: Timestamp, *, field: str) -> datetime:
    try:
        return value.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=field, detail="must be an instant of the years 1 to 9999") from None
