"""Reads when and how a payment is to be collected, as its start asks for it; refuses what does not go together."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain import timings
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.terms import DEFAULT_ZONE, Collection, Terms, Timing
from services.orchestrator.wire import charge_times
from services.shared import fields
from services.wire import fill_optional_instant

CHECKOUT_TYPE_CHARACTERS_MAX: Final = 64
CHECKOUT_DESCRIPTION_CHARACTERS_MAX: Final = 500

PAGE_LIFE_MIN: Final = timedelta(minutes=30)
PAGE_LIFE_MAX: Final = timedelta(hours=24)
"""Of a hosted page at Stripe."""

WITHOUT_CANCEL_URL: Final = (
    "must be given: the payer pays on a hosted page (COLLECTION_CHECKOUT, also where `collection` is left out); "
    "COLLECTION_ELEMENTS needs none"
)

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

_TIMINGS_ASKED: Final = {timing: asked for asked, timing in _TIMINGS.items() if asked}
_COLLECTIONS_ASKED: Final = {collection: asked for asked, collection in _COLLECTIONS.items() if asked}


def describe(session: pb.PaymentSession, plan: Plan) -> None:
    """Say in a session what its payer has agreed to, or may choose: when and how the money is taken."""
    session.timing = _TIMINGS_ASKED[plan.terms.timing]
    session.collection = _COLLECTIONS_ASKED[plan.collection]
    session.session_name = plan.session_name
    session.keep_method = plan.terms.keep_method or plan.terms.timing is Timing.SCHEDULED
    fill_optional_instant(session, "charge_time", plan.course.charge_time)
    if plan.terms.timing is Timing.MANUAL_CAPTURE:
        fill_optional_instant(session, "capture_time", plan.terms.capture_time)
    for one in timings.open_to(plan):
        offered = session.timings_offered.add(timing=_TIMINGS_ASKED[one])
        if one is Timing.SCHEDULED:
            fill_optional_instant(offered, "charge_time", timings.charge_time(plan.terms))
        elif one is Timing.MANUAL_CAPTURE:
            fill_optional_instant(offered, "capture_time", plan.terms.capture_time)


def check_terms(request: pb.StartPaymentRequest) -> None:
    """Refuse terms that are wrong, or that do not go together, whatever the state."""
    check_timing(request.timing)
    _check_offer(request)
    check_collection(request.collection)
    _check_page(request, is_page=_COLLECTIONS[request.collection] is Collection.CHECKOUT)
    charge_times.check_time_zone(request.time_zone)
    possible = {_TIMINGS[one] for one in (request.timing, *request.timings_offered)}
    if Timing.SCHEDULED in possible:
        charge_times.planned(request, Course(), time_zone=request.time_zone)
    else:
        charge_times.refuse_charge_time(request)
    if Timing.MANUAL_CAPTURE in possible:
        charge_times.instant(request, "capture_time")
    elif request.HasField("capture_time"):
        raise FieldInvalid(field="capture_time", detail="must be empty: only a hold (TIMING_MANUAL_CAPTURE) has one")
    elif request.release_before_lapse:
        raise FieldInvalid(
            field="release_before_lapse", detail="must not be set: only a hold (TIMING_MANUAL_CAPTURE) is released"
        )


def _check_offer(request: pb.StartPaymentRequest) -> None:
    """Refuse timings to choose among that there are not, or not so often, or without the one that holds until then."""
    offered = request.timings_offered
    if len(offered) > len(_TIMINGS_ASKED):
        raise FieldInvalid(field="timings_offered", detail=f"must be at most {len(_TIMINGS_ASKED)} timings")
    for place, one in enumerate(offered):
        field = f"timings_offered[{place}]"
        if one not in _TIMINGS_ASKED.values():
            raise FieldInvalid(field=field, detail=fields.one_of(pb.Timing.items(), _TIMINGS_ASKED.values()))
        if one in offered[:place]:
            raise FieldInvalid(field=field, detail="must be another one than those before it")
    if offered and _TIMINGS[request.timing] not in {_TIMINGS[one] for one in offered}:
        raise FieldInvalid(field="timing", detail="must be one of `timings_offered`")


def check_timing(asked: pb.Timing, *, field: str = "timing") -> None:
    """Refuse a timing that there is not."""
    if asked not in _TIMINGS:
        raise FieldInvalid(field=field, detail=fields.one_of(pb.Timing.items(), _TIMINGS))


def timing(asked: pb.Timing) -> Timing:
    """Return a timing that was checked."""
    return _TIMINGS[asked]


def _check_page(request: pb.StartPaymentRequest, *, is_page: bool) -> None:
    """Refuse a hosted page that nobody could come back from, that lives too long or too shortly, or is none."""
    if not is_page:
        if request.HasField("checkout"):
            raise FieldInvalid(
                field="checkout", detail="must be empty: only a hosted page (COLLECTION_CHECKOUT) has it"
            )
        return
    if not request.cancel_url:
        raise FieldMissing(field="cancel_url", detail=WITHOUT_CANCEL_URL)
    options = request.checkout
    line_ids = {line.line_id for line in request.lines}
    for place, line_id in enumerate(options.cart_line_ids):
        if line_id not in line_ids:
            raise FieldInvalid(field=f"checkout.cart_line_ids[{place}]", detail="must be a line of the cart")
    life = options.expire_after.ToTimedelta()
    if options.HasField("expire_after") and not PAGE_LIFE_MIN <= life <= PAGE_LIFE_MAX:
        raise FieldInvalid(field="checkout.expire_after", detail="must be 30 minutes to 24 hours")


def check_collection(asked: pb.Collection) -> None:
    """Refuse a way to collect that there is not."""
    if asked not in _COLLECTIONS:
        raise FieldInvalid(field="collection", detail=fields.one_of(pb.Collection.items(), _COLLECTIONS))


def collection(asked: pb.Collection) -> Collection:
    """Return a way to collect that was checked."""
    return _COLLECTIONS[asked]


def terms(request: pb.StartPaymentRequest) -> Terms:
    """Return the terms of a start that was checked."""
    options = request.checkout
    expires_after = options.expire_after.ToTimedelta() if options.HasField("expire_after") else None
    return Terms(
        timing=_TIMINGS[request.timing],
        timings_offered=tuple(_TIMINGS[one] for one in request.timings_offered),
        collection=_COLLECTIONS[request.collection],
        cancel_url=request.cancel_url,
        locale=request.payer.locale,
        time_zone=request.time_zone or DEFAULT_ZONE,
        charge_time=charge_times.instant(request, "charge_time"),
        charge_local_time=request.charge_local_time,
        capture_time=charge_times.instant(request, "capture_time"),
        release_before_lapse=request.release_before_lapse,
        keep_method=request.keep_method,
        checkout_type=fields.text(options.type, field="checkout.type", characters_max=CHECKOUT_TYPE_CHARACTERS_MAX),
        cart_line_ids=tuple(dict.fromkeys(options.cart_line_ids)),
        checkout_description=fields.text(
            options.description, field="checkout.description", characters_max=CHECKOUT_DESCRIPTION_CHARACTERS_MAX
        ),
        checkout_expires_after_s=None if expires_after is None else int(expires_after.total_seconds()),
    )


def course(request: pb.StartPaymentRequest) -> Course:
    """Return the course that a payment begins with."""
    return timings.begun(terms(request))


def untimely(asked: Terms, now: datetime) -> FieldInvalid | None:
    """Return what is wrong with what a start plans for a time that is past, or too far away; None if nothing."""
    if asked.capture_time is not None and asked.capture_time <= now:
        return FieldInvalid(field="capture_time", detail="must be in the future")
    planned = timings.charge_planned(asked, Course())
    return charge_times.untimely(planned, is_local=bool(asked.charge_local_time), start_time=now, now=now)
