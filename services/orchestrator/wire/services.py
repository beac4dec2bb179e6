"""Reads from what was asked to be priced when the services of its lines begin, and when they are over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from batzen.pricing.v1 import pricing_pb2
from services.orchestrator.domain import local_time
from services.orchestrator.domain.terms import DEFAULT_ZONE


def begins(quote_request: bytes) -> Mapping[str, datetime | None]:
    """Return when the service of each line begins: with its day in its zone, where only that is said."""
    return _each(quote_request, _begin)


def ends(quote_request: bytes) -> Mapping[str, datetime | None]:
    """Return when the service of each line is over: with its day in its zone, where only that is said."""
    return _each(quote_request, _end)


def _each(
    quote_request: bytes, instant: Callable[[pricing_pb2.Line], datetime | None]
) -> Mapping[str, datetime | None]:
    lines = pricing_pb2.CreateQuoteRequest.FromString(quote_request).lines
    return {line.line_id: instant(line) for line in lines}


def _begin(line: pricing_pb2.Line) -> datetime | None:
    return _of(line, days=0)


def _end(line: pricing_pb2.Line) -> datetime | None:
    return _of(line, days=1)


def _of(line: pricing_pb2.Line, *, days: int) -> datetime | None:
    """Return its instant, or the begin of its day, or of a day that comes so many later; pricing checked the zone."""
    match line.WhichOneof("service"):
        case "service_time":
            return line.service_time.ToDatetime(UTC)
        case "service_date":
            zone = local_time.zone(line.time_zone or DEFAULT_ZONE) or ZoneInfo(DEFAULT_ZONE)
            day = datetime.fromisoformat(line.service_date).date() + timedelta(days=days)
            return local_time.instant(datetime.combine(day, time()), zone)
        case _:
            return None
