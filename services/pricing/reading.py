"""Reads a request of the contract into a `Cart`, or says which field is wrong. Knows protobuf, decides no price.

Fields are read in the order of the contract, so a request that is wrong twice always gets the same answer. What the
contract has and this server does not offer is refused, never passed over.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import Final, TypeVar
from zoneinfo import ZoneInfo, available_timezones

from batzen.pricing.v1 import pricing_pb2
from services.errors import FieldInvalid, FieldMissing, ServiceError

from .domain.cart import (
    LINES_MAX,
    QUANTITY_FRACTION_DIGITS_MAX,
    Cart,
    CartLine,
    Rounding,
    RoundingPoint,
)
from .domain.errors import CurrencyUnknown, DateInvalid, FeatureNotAvailable, TimeZoneUnknown, TooManyLines
from .domain.exact import parse_decimal
from .words import BEHAVIORS, KINDS, LIABILITIES, MODES, POINTS, TREATMENTS

TTL_DEFAULT: Final = timedelta(hours=24)
"""As long as a payment may lie before it counts as abandoned."""
TTL_MIN: Final = timedelta(minutes=1)
TTL_MAX: Final = timedelta(days=90)
"""A charge may be scheduled that far ahead."""

COUNTRY_DEFAULT: Final = "CH"
TAX_CATEGORY_DEFAULT: Final = "standard"
TIME_ZONE_DEFAULT: Final = "Europe/Zurich"

YEAR_MIN: Final = 1970
YEAR_MAX: Final = 9998
"""One less than `datetime` has, so that no zone's offset carries an instant beyond it."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SECONDS_MIN: Final = int(datetime(YEAR_MIN, 1, 2, tzinfo=UTC).timestamp())
_SECONDS_MAX: Final = int(datetime(YEAR_MAX, 12, 30, tzinfo=UTC).timestamp())
_NANOS: Final = 1_000_000_000

N = TypeVar("N")
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteOrder:
    """What CreateQuote is asked for."""

    request_id: uuid.UUID | None
    """None in a preview that names none."""
    cart: Cart
    ttl: timedelta
    preview: bool


def read_create_quote(
    request: pricing_pb2.CreateQuoteRequest, *, currencies: Mapping[str, int], now: datetime
) -> QuoteOrder:
    """Return what is asked for; raise a `ServiceError` that names the first field at fault."""
    request_id = None
    if request.request_id or not request.preview:
        request_id = read_request_id(request.request_id)
    if not request.lines:
        raise FieldMissing(field="lines")
    if len(request.lines) > LINES_MAX:  # before a million of them are looked at
        raise TooManyLines(field="lines", lines_max=LINES_MAX)
    _refuse_unoffered(request)
    lines = []
    for index, line in enumerate(request.lines):
        try:
            lines.append(_read_line(line, currencies=currencies, now=now))
        except ServiceError as error:
            error.field = f"lines[{index}].{error.field}"
            raise
    rounding = Rounding(
        point=_one_of(POINTS, request.rounding.point, field="rounding.point"),
        mode=_one_of(MODES, request.rounding.mode, field="rounding.mode"),
    )
    if rounding.point is RoundingPoint.PER_TOTAL:
        raise FeatureNotAvailable(field="rounding.point", feature="rounding per total")
    return QuoteOrder(
        request_id=request_id,
        cart=Cart(lines=tuple(lines), payer_id=request.payer_id, rounding=rounding),
        ttl=_read_ttl(request),
        preview=request.preview,
    )


def read_request_id(text: str) -> uuid.UUID:
    """Return the UUID; raise `FieldMissing` or `FieldInvalid` at `request_id`."""
    if not text:
        raise FieldMissing(field="request_id")
    try:
        return uuid.UUID(text)
    except ValueError as error:
        raise FieldInvalid(field="request_id", detail="It must be a UUID.") from error


def _refuse_unoffered(request: pricing_pb2.CreateQuoteRequest) -> None:
    for field in ("coupon_codes", "adjustments", "locales"):
        if len(getattr(request, field)):
            raise FeatureNotAvailable(field=field, feature=field)


def _read_line(line: pricing_pb2.Line, *, currencies: Mapping[str, int], now: datetime) -> CartLine:
    if not line.kind:
        raise FieldMissing(field="kind")
    if not line.HasField("unit_amount"):
        raise FieldMissing(field="unit_amount")
    currency_code = line.unit_amount.currency_code
    if not currency_code:
        raise FieldMissing(field="unit_amount.currency_code")
    if currency_code not in currencies:
        raise CurrencyUnknown(field="unit_amount.currency_code")
    return CartLine(
        line_id=line.line_id,
        seller_id=line.seller_id,
        kind=_one_of(KINDS, line.kind, field="kind"),
        quantity=parse_decimal(line.quantity, field="quantity", fraction_digits_max=QUANTITY_FRACTION_DIGITS_MAX),
        unit_amount_minor=line.unit_amount.amount_minor,
        currency_code=currency_code,
        tax_category=line.tax_category or TAX_CATEGORY_DEFAULT,
        country=line.country or COUNTRY_DEFAULT,
        tax_behavior=_one_of(BEHAVIORS, line.tax_behavior, field="tax_behavior"),
        tax_treatment=_one_of(TREATMENTS, line.tax_treatment, field="tax_treatment"),
        tax_treatment_reason=line.tax_treatment_reason,
        vat_liability=_one_of(LIABILITIES, line.vat_liability, field="vat_liability"),
        tax_date=_read_tax_date(line, now=now),
    )


def _read_tax_date(line: pricing_pb2.Line, *, now: datetime) -> date:
    zone = _zone(line.time_zone or TIME_ZONE_DEFAULT)
    if zone is None:
        raise TimeZoneUnknown(field="time_zone")
    match line.WhichOneof("service"):
        case "service_date":
            return _read_date(line.service_date, field="service_date")
        case "service_time":
            seconds, nanos = line.service_time.seconds, line.service_time.nanos
            if not (_SECONDS_MIN <= seconds <= _SECONDS_MAX and 0 <= nanos < _NANOS):
                raise DateInvalid(field="service_time")
            return datetime.fromtimestamp(seconds, zone).date()
        case _:
            return now.astimezone(zone).date()


def _read_date(text: str, *, field: str) -> date:
    try:
        if _DATE.fullmatch(text) is None:
            raise ValueError(text)
        day = date.fromisoformat(text)
    except ValueError as error:
        raise DateInvalid(field=field) from error
    if not YEAR_MIN <= day.year <= YEAR_MAX:
        raise DateInvalid(field=field)
    return day


def _read_ttl(request: pricing_pb2.CreateQuoteRequest) -> timedelta:
    if not request.HasField("ttl"):
        return TTL_DEFAULT
    seconds = request.ttl.seconds
    if request.ttl.nanos or not TTL_MIN.total_seconds() <= seconds <= TTL_MAX.total_seconds():
        raise FieldInvalid(field="ttl", detail="It must be from 1 minute to 90 days, in whole seconds.")
    return timedelta(seconds=seconds)


def _one_of(known: Mapping[N, T], value: N, *, field: str) -> T:
    """Return the domain's word; enums are open, so a number that is none of ours can arrive."""
    try:
        return known[value]
    except KeyError as error:
        raise FieldInvalid(field=field, detail="It is none of the values known here.") from error


def _zone(key: str) -> ZoneInfo | None:
    return ZoneInfo(key) if key in _zone_names() else None


@cache
def _zone_names() -> frozenset[str]:
    """Asked for by name only: what a caller sends never becomes a path."""
    return frozenset(available_timezones() - {"Factory", "localtime"})
