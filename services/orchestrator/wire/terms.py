"""Reads when and how a payment is to be collected, as its start asks for it; refuses what does not go together."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services import wire
from services.errors import FieldInvalid
from services.orchestrator.domain.errors import NotOffered
from services.orchestrator.domain.terms import DEFAULT_ZONE, Collection, Terms, Timing
from services.shared import fields

CHECKOUT_TYPE_CHARACTERS_MAX: Final = 64
CHECKOUT_DESCRIPTION_CHARACTERS_MAX: Final = 500

_TIMINGS: Final = {
    pb.TIMING_UNSPECIFIED: Timing.IMMEDIATE,
    pb.TIMING_IMMEDIATE: Timing.IMMEDIATE,
    pb.TIMING_MANUAL_CAPTURE: Timing.MANUAL_CAPTURE,
    pb.TIMING_SCHEDULED: Timing.SCHEDULED,
}
_COLLECTIONS: Final = {
    pb.COLLECTION_UNSPECIFIED: Collection.CHECKOUT,
    pb.COLLECTION_CHECKOUT: Collection.CHECKOUT,
    pb.COLLECTION_ELEMENTS: Collection.ELEMENTS,
}
_OFFERED_TIMINGS: Final = frozenset({Timing.IMMEDIATE, Timing.MANUAL_CAPTURE})
_OFFERED_COLLECTIONS: Final = frozenset({Collection.ELEMENTS})


def check_terms(request: pb.StartPaymentRequest) -> None:
    """Refuse terms that are wrong, or that do not go together, whatever the state."""
    if request.timing not in _TIMINGS:
        raise FieldInvalid(field="timing")
    if _TIMINGS[request.timing] not in _OFFERED_TIMINGS:
        raise NotOffered(field="timing")
    check_collection(request.collection)
    if request.HasField("charge_time"):
        raise FieldInvalid(field="charge_time", detail="Only a scheduled payment has one.")
    if _TIMINGS[request.timing] is Timing.MANUAL_CAPTURE:
        _instant(request, "capture_time")
    elif request.HasField("capture_time"):
        raise FieldInvalid(field="capture_time", detail="Only a hold has one.")
    elif request.release_before_lapse:
        raise FieldInvalid(field="release_before_lapse", detail="Only a hold is released.")


def check_collection(asked: pb.Collection) -> None:
    """Refuse a way to collect that there is not."""
    if asked not in _COLLECTIONS:
        raise FieldInvalid(field="collection")
    if _COLLECTIONS[asked] not in _OFFERED_COLLECTIONS:
        raise NotOffered(field="collection")


def collection(asked: pb.Collection) -> Collection:
    """Return a way to collect that was checked."""
    return _COLLECTIONS[asked]


def terms(request: pb.StartPaymentRequest) -> Terms:
    """Return the terms of a start that was checked."""
    options = request.checkout
    expires_after = options.expire_after.ToTimedelta() if options.HasField("expire_after") else None
    return Terms(
        timing=_TIMINGS[request.timing],
        collection=_COLLECTIONS[request.collection],
        cancel_url=request.cancel_url,
        locale=request.payer.locale,
        time_zone=request.time_zone or DEFAULT_ZONE,
        capture_time=_instant(request, "capture_time"),
        release_before_lapse=request.release_before_lapse,
        keep_method=request.keep_method,
        checkout_type=fields.text(options.type, field="checkout.type", characters_max=CHECKOUT_TYPE_CHARACTERS_MAX),
        cart_line_ids=tuple(options.cart_line_ids),
        checkout_description=fields.text(
            options.description, field="checkout.description", characters_max=CHECKOUT_DESCRIPTION_CHARACTERS_MAX
        ),
        checkout_expires_after_s=None if expires_after is None else int(expires_after.total_seconds()),
    )


def untimely(asked: Terms, now: datetime) -> FieldInvalid | None:
    """Return what is wrong with terms that plan something for a time that is past; None if nothing."""
    if asked.capture_time is not None and asked.capture_time <= now:
        return FieldInvalid(field="capture_time", detail="It is past.")
    return None


def _instant(request: pb.StartPaymentRequest, name: str) -> datetime | None:
    try:
        return wire.instant(request, name)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=name, detail="It is no instant of the years 1 to 9999.") from None
