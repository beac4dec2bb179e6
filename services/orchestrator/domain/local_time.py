"""Times by the clock on a seller's wall, and the instants that they are. Pure.

A local time that the night of a clock change leaves out moves forward by what was left out; of one that comes twice the
first is taken. The rules of a zone are those of the installed IANA data, at the moment when they are asked.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*")
"""The names of the IANA data; no other text reaches its files."""
_LOCAL: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?")


def zone(name: str) -> ZoneInfo | None:
    """Return the IANA zone of this name; None if there is none."""
    if not _ZONE.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, KeyError):  # a folder of zones, what is no zone's file, and no file at all
        return None


def local_time(text: str) -> datetime | None:
    """Read `YYYY-MM-DDTHH:MM`, or with seconds; None if it is no such time, as 30 February is none."""
    if not _LOCAL.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def instant(local: datetime, where: ZoneInfo) -> datetime:
    """Return the instant of a local time without a zone; raises OverflowError outside of the years 1 to 9999."""
    return local.replace(tzinfo=where, fold=0).astimezone(UTC)


def wall_time(moment: datetime, where: ZoneInfo) -> time:
    """Return what the clock on the wall shows at an instant."""
    return moment.astimezone(where).time().replace(microsecond=0, fold=0)


def day_of(moment: datetime, where: ZoneInfo) -> date:
    """Return the day of an instant."""
    return moment.astimezone(where).date()
