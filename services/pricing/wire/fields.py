"""Reads single fields of requests: each returns the domain's value, or raises and names the field by its path."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from google.protobuf import timestamp_pb2
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

from batzen.type.v1 import money_pb2
from services.errors import FieldInvalid, FieldMissing
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import (
    AmountNegative,
    CurrencyUnknown,
    DateInvalid,
    PercentOutOfRange,
    TimeZoneUnknown,
)
from services.pricing.domain.exact import Percent, parse_decimal, require_amount
from services.shared import fields

YEAR_MIN: Final = 1970
YEAR_MAX: Final = 9998
"""One less than `datetime` has, so that no zone's offset carries an instant beyond it."""

PERCENT_FRACTION_DIGITS_MAX: Final = 4
"""More than any tax, fee or discount has."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SECONDS_MIN: Final = int(datetime(YEAR_MIN, 1, 2, tzinfo=UTC).timestamp())
_SECONDS_MAX: Final = int(datetime(YEAR_MAX, 12, 30, tzinfo=UTC).timestamp())
_NANOS: Final = 1_000_000_000

N = TypeVar("N", bound=int)
T = TypeVar("T")


def read_word(known: Mapping[N, T], value: N, *, enum: EnumTypeWrapper, field: str) -> T:
    """Return the domain's word. Enums are open, so a number that is none of ours can arrive; 0 may be one of ours."""
    word = known.get(value)
    if word is not None:
        return word
    offered = fields.one_of(enum.items(), known)
    if value:
        raise FieldInvalid(field=field, detail=offered)
    raise FieldMissing(field=field, detail=offered)


def read_currency(code: str, *, currencies: Mapping[str, Currency], field: str) -> str:
    """Return the code; raise `FieldMissing` or `CurrencyUnknown`."""
    if not code:
        raise FieldMissing(field=field)
    if code not in currencies:
        raise CurrencyUnknown(field=field)
    return code


def read_amount(
    money: money_pb2.Money, *, currencies: Mapping[str, Currency], field: str, at_least: int = 0
) -> tuple[int, str]:
    """Return minor units, of which there must be `at_least` so many, and the currency."""
    currency_code = read_currency(money.currency_code, currencies=currencies, field=f"{field}.currency_code")
    if money.amount_minor < 0:
        raise AmountNegative(field=f"{field}.amount_minor")
    if money.amount_minor < at_least:
        raise FieldInvalid(field=f"{field}.amount_minor", detail=f"must be at least {at_least}")
    return require_amount(money.amount_minor, field=f"{field}.amount_minor"), currency_code


def read_percent(text: str, *, field: str, at_most: int, may_be_zero: bool) -> Percent:
    """Return the percentage, from 0 or above 0 to `at_most`."""
    value = parse_decimal(text, field=field, fraction_digits_max=PERCENT_FRACTION_DIGITS_MAX)
    if not 0 <= value <= at_most or (value == 0 and not may_be_zero):
        detail = f"must be {'0 to' if may_be_zero else 'above 0 and at most'} {at_most}"
        raise PercentOutOfRange(field=field, detail=detail, percent_max=at_most)
    return Percent.of(_without_sign(value))


def read_date(text: str, *, field: str) -> date:
    """Return the date, `YYYY-MM-DD`; raise `DateInvalid`."""
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError(text)
        day = date.fromisoformat(text)
    except ValueError as error:
        raise DateInvalid(field=field) from error
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise DateInvalid(field=field)
    return day


def read_instant(timestamp: timestamp_pb2.Timestamp, *, field: str) -> datetime:
    """Return the instant, in UTC and whole microseconds; raise `DateInvalid`."""
    if not (_SECONDS_MIN <= timestamp.seconds <= _SECONDS_MAX and 0 <= timestamp.nanos < _NANOS):
        raise DateInvalid(field=field)
    return timestamp.ToDatetime(UTC)


def read_zone(key: str, *, field: str) -> ZoneInfo:
    """Return the zone. Only names of the database are looked up: what a caller sends never becomes a path.

    The database is the system's, or that of the package `tzdata` where the system has none.
    """
    if key not in _zone_names():
        raise TimeZoneUnknown(field=field)
    return ZoneInfo(key)


@cache
def _zone_names() -> frozenset[str]:
    return frozenset(available_timezones() - {"Factory", "localtime"})


def _without_sign(value: Decimal) -> Decimal:
    """Make 0 of -0."""
    return value.copy_abs()
