"""How the operating pages write instants, names and the cells of tables. Pure: nothing is ever a float."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.type.v1.money_pb2 import Money
from services.console.amounts import plain, sum_of
from services.console.operating.blocks import Cell, CellKind, Tone

ZONE: Final = ZoneInfo("Europe/Zurich")
"""Whose clock the pages show."""
NOTHING: Final = "–"
MINUTE: Final = timedelta(minutes=1)
_STEPS: Final = (("d", 86_400), ("h", 3_600), ("min", 60))
_PAYMENT: Final = re.compile(r"pay_[A-Za-z0-9]{1,64}")


def amount(value: Money, *, tone: Tone = Tone.PLAIN) -> Cell:
    """Return an amount for a table."""
    return Cell(
        text=sum_of(value),
        kind=CellKind.NUMBER,
        tone=tone,
        raw=f"{plain(value.amount_minor, value.currency_code)} {value.currency_code}",
    )


def amounts(values: Iterable[Money]) -> str:
    """Return amounts of several currencies in one line."""
    return ", ".join(sum_of(value) for value in values) or NOTHING


def count(value: int, *, tone: Tone = Tone.PLAIN) -> Cell:
    """Return a number for a table."""
    return Cell(text=f"{value:,}".replace(",", "’"), kind=CellKind.NUMBER, tone=tone, raw=str(value))


def instant(stamp: Timestamp) -> datetime:
    """Return an instant of a message."""
    return stamp.ToDatetime(UTC)


def at(moment: datetime) -> str:
    """Return `29 Nov 2026, 14:05`, by the clock of the pages."""
    return format_datetime(moment.astimezone(ZONE), "d MMM y, HH:mm", locale="en")


def moment(stamp: Timestamp, *, now: datetime | None = None, is_set: bool = True, tone: Tone = Tone.PLAIN) -> Cell:
    """Return an instant for a table; with `now` also how far from it that is."""
    if not is_set or not stamp.seconds:
        return Cell(text=NOTHING, kind=CellKind.TIME, tone=Tone.QUIET)
    when = instant(stamp)
    return Cell(
        text=at(when), kind=CellKind.TIME, tone=tone, raw=when.isoformat(), note="" if now is None else away(when, now)
    )


def away(when: datetime, now: datetime) -> str:
    """Return `2 d ago` or `in 3 h`."""
    if abs(when - now) < MINUTE:
        return "now"
    said = span(abs(when - now))
    return f"in {said}" if when > now else f"{said} ago"


def span(length: timedelta) -> str:
    """Return the largest unit of a span of time: `3 d`, `5 min`."""
    seconds = int(length.total_seconds())
    for unit, size in _STEPS:
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def word(name: str, prefix: str = "") -> str:
    """Return `Needs response` of `STATE_NEEDS_RESPONSE`."""
    text = name.removeprefix(prefix).replace("_", " ").strip().lower()
    return text[:1].upper() + text[1:]


def payment(payment_id: str) -> Cell:
    """Return a payment, which leads to its page."""
    if not payment_id:
        return Cell(text=NOTHING, tone=Tone.QUIET)
    href = f"/payments/{payment_id}" if _PAYMENT.fullmatch(payment_id) else ""
    return Cell(text=payment_id, kind=CellKind.CODE, href=href)


def code(text: str, *, href: str = "", note: str = "") -> Cell:
    """Return an id, or a word of Stripe's."""
    return Cell(text=text or NOTHING, kind=CellKind.CODE if text else CellKind.TEXT, href=href, note=note)


def badge(text: str, tone: Tone, *, note: str = "") -> Cell:
    """Return a state."""
    return Cell(text=text, kind=CellKind.BADGE, tone=tone, note=note)


def said(text: str, *, note: str = "", tone: Tone = Tone.PLAIN, href: str = "") -> Cell:
    """Return a text; a dash where there is none."""
    return Cell(text=text or NOTHING, note=note, tone=tone if text else Tone.QUIET, href=href)


def yes_no(is_so: bool, *, good: str, bad: str) -> Cell:
    """Return whether something is as it should be."""
    return badge(good, Tone.GOOD) if is_so else badge(bad, Tone.BAD)
