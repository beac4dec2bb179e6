"""Reads when a payment is charged, as a start or a reschedule says it: as an instant, or by the clock of its zone."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services import wire
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain import charge_plan, local_time
from services.orchestrator.domain.course import Course
from services.orchestrator.domain.terms import DEFAULT_ZONE

NO_INSTANT: Final = "must be an instant of the years 1 to 9999"
TimeRequest = pb.StartPaymentRequest | pb.ReschedulePaymentRequest


def instant(request: TimeRequest, name: str) -> datetime | None:
    """Return the instant of a field, None where it is not set."""
    try:
        return wire.instant(request, name)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=name, detail=NO_INSTANT) from None


def check_time_zone(name: str) -> None:
    """Refuse what is no IANA zone; empty is the default."""
    if name and local_time.zone(name) is None:
        raise FieldInvalid(field="time_zone", detail="must be a time zone of the IANA data, such as Europe/Zurich")


def refuse_charge_time(request: pb.StartPaymentRequest) -> None:
    """Refuse a time of charge of a payment that is not scheduled."""
    said = {"charge_time": request.HasField("charge_time"), "charge_local_time": bool(request.charge_local_time)}
    for field, is_set in said.items():
        if is_set:
            raise FieldInvalid(field=field, detail="must be empty: only a payment that is or may be scheduled has one")


def planned(request: TimeRequest, course: Course, *, time_zone: str) -> Course:
    """Return the course of a payment that is charged when a request says; refuse what says no time, or two."""
    where = local_time.zone(time_zone) or local_time.zone(DEFAULT_ZONE)
    assert where is not None, "the data of zones is installed with us"  # noqa: S101
    field = "charge_local_time" if request.charge_local_time else "charge_time"
    charge_time = instant(request, "charge_time")
    try:
        if request.charge_local_time:
            if charge_time is not None:
                raise FieldInvalid(field=field, detail="must be empty beside `charge_time`")
            return charge_plan.planned_local(course, _local(request.charge_local_time), where)
        if charge_time is None:
            raise FieldMissing(field=field)
        return charge_plan.planned(course, charge_time.replace(microsecond=0), where)
    except OverflowError:
        raise FieldInvalid(field=field, detail=NO_INSTANT) from None


def _local(text: str) -> datetime:
    local = local_time.local_time(text)
    if local is None:
        detail = "must be YYYY-MM-DDTHH:MM, or with seconds, of a day that there is"
        raise FieldInvalid(field="charge_local_time", detail=detail)
    return local


def untimely(course: Course, *, is_local: bool, start_time: datetime, now: datetime) -> FieldInvalid | None:
    """Return what is wrong with a charge that is planned for a time past, or for too long after its start."""
    field = "charge_local_time" if is_local else "charge_time"
    if course.charge_time is None:
        return None
    if course.charge_time < now - charge_plan.PAST_MAX:
        return FieldInvalid(field=field, detail="must be in the future")
    if course.charge_time > start_time + charge_plan.AHEAD_MAX:
        return FieldInvalid(
            field=field, detail=f"must be at most {charge_plan.AHEAD_MAX.days} days after the payment's start"
        )
    return None
