"""Reads CreateQuote into a `Cart`, or says which field is wrong. Knows protobuf, decides no price.

Fields are read in a fixed order, so a request that is wrong twice always gets the same answer.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from services.errors import FieldInvalid, FieldMissing, ServiceError
from services.pricing.domain.cart import ADJUSTMENTS_MAX, LINES_MAX, Cart
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import TooManyLines
from services.pricing.domain.exact import Percent, Rounding, parse_decimal
from services.pricing.domain.line import ID, QUANTITY_FRACTION_DIGITS_MAX, CartLine, require_match
from services.pricing.domain.terms import CallerAdjustment, Direction, Terms
from services.pricing.wire.enums import BEHAVIORS, DIRECTIONS, FUNDERS, KINDS, LIABILITIES, MODES, POINTS, TREATMENTS
from services.pricing.wire.fields import (
    read_amount,
    read_currency,
    read_date,
    read_instant,
    read_percent,
    read_word,
    read_zone,
)
from services.pricing.wire.locales import formats_of, require_locales
from services.shared import fields
from services.shared.locale_format import LocaleFormat

TTL_DEFAULT: Final = timedelta(hours=24)
"""As long as a payment may lie before it counts as abandoned."""
TTL_MIN: Final = timedelta(minutes=1)
TTL_MAX: Final = timedelta(days=500)
"""A charge may be scheduled 366 days ahead; its tries, its payer's last turn and a hold after that come on top."""

COUNTRY_DEFAULT: Final = "CH"
TAX_CATEGORY_DEFAULT: Final = "standard"
TIME_ZONE_DEFAULT: Final = "Europe/Zurich"
"""Also where the platform is."""

STACKING_ORDER_MAX: Final = 1_000
"""On both sides of 0; room for more steps than anybody can oversee."""
DISCOUNT_PERCENT_MAX: Final = 100
SURCHARGE_PERCENT_MAX: Final = 1_000
"""Ten times the price: more is a mistake."""
COUPON_CODE = re.compile(r"[A-Z0-9-]{3,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteOrder:
    """What CreateQuote has to price."""

    request_id: uuid.UUID | None
    """None in a preview that names none."""
    cart: Cart
    ttl: timedelta
    preview: bool
    formats: Mapping[str, LocaleFormat]
    """How each locale of the request writes the amounts."""


def read_create_quote(
    request: pricing_pb2.CreateQuoteRequest,
    *,
    currencies: Mapping[str, Currency],
    now: datetime,
    platform_id: str = "",
) -> QuoteOrder:
    """Return what a tenant, `platform_id`, asks for; raise a `ServiceError` that names the first field at fault."""
    request_id = None
    if request.request_id or not request.preview:
        request_id = fields.request_id(request.request_id)
    if not request.lines:
        raise FieldMissing(field="lines")
    if len(request.lines) > LINES_MAX:  # before a million of them are looked at
        raise TooManyLines(field="lines", lines_max=LINES_MAX)
    lines = _read_lines(request, currencies=currencies, now=now)
    cart = Cart(
        lines=lines,
        payer_id=request.payer_id,
        platform_id=platform_id,
        as_of=now,
        fee_date=now.astimezone(ZoneInfo(TIME_ZONE_DEFAULT)).date(),
        coupon_codes=_read_coupon_codes(request),
        adjustments=_read_adjustments(request, currencies=currencies),
        rounding=Rounding(
            point=read_word(POINTS, request.rounding.point, enum=pricing_pb2.RoundingPoint, field="rounding.point"),
            mode=read_word(MODES, request.rounding.mode, enum=pricing_pb2.RoundingMode, field="rounding.mode"),
            step_minor=currencies[lines[0].currency_code].step_minor,  # whatever the request says: it is not asked
        ),
    )
    return QuoteOrder(
        request_id=request_id,
        cart=cart,
        ttl=_read_ttl(request),
        preview=request.preview,
        formats=_read_formats(request, currency_code=cart.currency_code, currencies=currencies),
    )


def read_terms(
    entry: pricing_pb2.Adjustment | price_book_pb2.Discount, *, currencies: Mapping[str, Currency]
) -> tuple[Terms, set[str]]:
    """Return how much an adjustment is, and the currencies that its amounts name."""
    direction = read_word(DIRECTIONS, entry.direction, enum=price_book_pb2.AdjustmentDirection, field="direction")
    named: set[str] = set()
    percent: Percent | None = None
    fixed_minor = cap_minor = None
    match entry.WhichOneof("value"):
        case "percent":
            most = DISCOUNT_PERCENT_MAX if direction is Direction.DISCOUNT else SURCHARGE_PERCENT_MAX
            percent = read_percent(entry.percent, field="percent", at_most=most, may_be_zero=False)
        case "fixed":
            fixed_minor, currency = read_amount(entry.fixed, currencies=currencies, field="fixed", at_least=1)
            named.add(currency)
        case _:
            raise FieldMissing(field="value")
    if entry.HasField("cap"):
        cap_minor, currency = read_amount(entry.cap, currencies=currencies, field="cap", at_least=1)
        named.add(currency)
    if abs(entry.stacking_order) > STACKING_ORDER_MAX:
        detail = f"must be {-STACKING_ORDER_MAX} to {STACKING_ORDER_MAX}"
        raise FieldInvalid(field="stacking_order", detail=detail, stacking_order_max=STACKING_ORDER_MAX)
    return Terms(
        direction=direction,
        percent=percent,
        fixed_minor=fixed_minor,
        cap_minor=cap_minor,
        funder=read_word(FUNDERS, entry.funder, enum=price_book_pb2.Funder, field="funder"),
        stacking_order=entry.stacking_order,
    ), named


def _read_lines(
    request: pricing_pb2.CreateQuoteRequest, *, currencies: Mapping[str, Currency], now: datetime
) -> tuple[CartLine, ...]:
    lines = []
    for index, line in enumerate(request.lines):
        try:
            lines.append(_read_line(line, currencies=currencies, now=now))
        except ServiceError as error:
            error.field = f"lines[{index}].{error.field}"
            raise
    return tuple(lines)


def _read_line(line: pricing_pb2.Line, *, currencies: Mapping[str, Currency], now: datetime) -> CartLine:
    kind = read_word(KINDS, line.kind, enum=price_book_pb2.LineKind, field="kind")
    if not line.HasField("unit_amount"):
        raise FieldMissing(field="unit_amount")
    return CartLine(
        line_id=line.line_id,
        seller_id=line.seller_id,
        kind=kind,
        quantity=parse_decimal(line.quantity, field="quantity", fraction_digits_max=QUANTITY_FRACTION_DIGITS_MAX),
        unit_amount_minor=line.unit_amount.amount_minor,
        currency_code=read_currency(
            line.unit_amount.currency_code, currencies=currencies, field="unit_amount.currency_code"
        ),
        tax_category=line.tax_category or TAX_CATEGORY_DEFAULT,
        country=line.country or COUNTRY_DEFAULT,
        tax_behavior=read_word(BEHAVIORS, line.tax_behavior, enum=price_book_pb2.TaxBehavior, field="tax_behavior"),
        tax_treatment=read_word(
            TREATMENTS, line.tax_treatment, enum=price_book_pb2.TaxTreatment, field="tax_treatment"
        ),
        tax_treatment_reason=line.tax_treatment_reason,
        vat_liability=read_word(
            LIABILITIES, line.vat_liability, enum=price_book_pb2.VatLiability, field="vat_liability"
        ),
        tax_date=_read_tax_date(line, now=now),
    )


def _read_tax_date(line: pricing_pb2.Line, *, now: datetime) -> date:
    zone = read_zone(line.time_zone or TIME_ZONE_DEFAULT, field="time_zone")
    match line.WhichOneof("service"):
        case "service_date":
            return read_date(line.service_date, field="service_date")
        case "service_time":
            return read_instant(line.service_time, field="service_time").astimezone(zone).date()
        case _:
            return now.astimezone(zone).date()


def _read_coupon_codes(request: pricing_pb2.CreateQuoteRequest) -> tuple[str, ...]:
    codes = tuple(code.upper() for code in request.coupon_codes)
    for index, code in enumerate(codes):
        require_match(code, pattern=COUPON_CODE, field=f"coupon_codes[{index}]")
    return codes


def _read_adjustments(
    request: pricing_pb2.CreateQuoteRequest, *, currencies: Mapping[str, Currency]
) -> tuple[CallerAdjustment, ...]:
    if len(request.adjustments) > ADJUSTMENTS_MAX:
        raise FieldInvalid(field="adjustments", detail=f"must be at most {ADJUSTMENTS_MAX}")
    adjustments = []
    for index, adjustment in enumerate(request.adjustments):
        try:
            adjustments.append(_read_adjustment(adjustment, currencies=currencies))
        except ServiceError as error:
            error.field = f"adjustments[{index}].{error.field}"
            raise
    return tuple(adjustments)


def _read_adjustment(adjustment: pricing_pb2.Adjustment, *, currencies: Mapping[str, Currency]) -> CallerAdjustment:
    require_match(adjustment.adjustment_id, pattern=ID, field="adjustment_id")
    terms, named = read_terms(adjustment, currencies=currencies)
    if len(adjustment.line_ids) > LINES_MAX:
        raise FieldInvalid(field="line_ids", detail=f"must be at most {LINES_MAX}")
    return CallerAdjustment(
        adjustment_id=adjustment.adjustment_id,
        terms=terms,
        currency_codes=frozenset(named),
        line_ids=frozenset(adjustment.line_ids),
    )


def _read_formats(
    request: pricing_pb2.CreateQuoteRequest, *, currency_code: str, currencies: Mapping[str, Currency]
) -> Mapping[str, LocaleFormat]:
    locales = require_locales(request.locales)
    return formats_of(locales, currency_code=currency_code, digits=currencies[currency_code].digits)


def _read_ttl(request: pricing_pb2.CreateQuoteRequest) -> timedelta:
    if not request.HasField("ttl"):
        return TTL_DEFAULT
    seconds = request.ttl.seconds
    if request.ttl.nanos or not TTL_MIN.total_seconds() <= seconds <= TTL_MAX.total_seconds():
        raise FieldInvalid(field="ttl", detail="must be 1 minute to 500 days, in whole seconds")
    return timedelta(seconds=seconds)
