"""Spans and moments as people write them: `30m`, `2d`, `2026-12-24T18:00`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

UNITS: Final = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
SPAN: Final = re.compile(r"([1-9]\d{0,4})([smhd])")
DEFAULT_ZONE: Final = "Europe/Zurich"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When something is to happen: after a span from now, at an instant, or by the clock of a zone. One of them."""

    span: timedelta | None = None
    instant: datetime | None = None
    local: datetime | None = None

    def timestamp(self, zone: ZoneInfo | None = None) -> Timestamp:
        """Return the instant, of a local time by the clock of `zone`.

        One that does not exist moves forward; of one that comes twice it is the first.
        """
        stamp = Timestamp()
        if self.span is not None:
            stamp.FromDatetime(datetime.now(UTC) + self.span)
        elif self.instant is not None:
            stamp.FromDatetime(self.instant)
        elif self.local is not None:
            stamp.FromDatetime(self.local.replace(tzinfo=zone, fold=0).astimezone(UTC))
        return stamp

    @property
    def local_time(self) -> str:
        """What the clock of the zone shows, for whoever knows the zone; empty if it was not given by that."""
        return self.local.isoformat(timespec="seconds") if self.local is not None else ""


def read_span(value: str) -> timedelta:
    """Read 10s, 30m, 2h or 1d."""
    found = SPAN.fullmatch(value)
    if found is None:
        raise typer.BadParameter("Write it as 10s, 30m, 2h or 1d.")
    return int(found[1]) * UNITS[found[2]]


def read_moment(value: str) -> Moment:
    """Read a span from now, a local time such as 2026-12-24T18:00, or one with its offset."""
    if SPAN.fullmatch(value):
        return Moment(span=read_span(value))
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        raise typer.BadParameter("Write it as 10s, 2d, 2026-12-24T18:00 or 2026-12-24T18:00+01:00.") from None
    return Moment(local=at) if at.tzinfo is None else Moment(instant=at.astimezone(UTC))


def read_zone(value: str) -> ZoneInfo:
    """Read an IANA zone."""
    try:
        return ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise typer.BadParameter(f"There is no zone {value!r}; write it as Europe/Zurich.") from None


def duration(span: timedelta) -> Duration:
    """Return a span for a request."""
    message = Duration()
    message.FromTimedelta(span)
    return message


def shown(stamp: Timestamp) -> str:
    """Return an instant by this machine's clock, and which zone that has."""
    return stamp.ToDatetime(UTC).astimezone().strftime("%d.%m.%Y %H:%M:%S %Z")


def brief(stamp: Timestamp) -> str:
    """Return the same for a list: without year, seconds and zone."""
    return stamp.ToDatetime(UTC).astimezone().strftime("%d.%m. %H:%M")
