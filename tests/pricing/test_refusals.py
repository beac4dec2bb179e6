"""Every documented refusal of CreateQuote and GetQuote: the reason, the field's path, and nothing stored."""

from __future__ import annotations

import inspect
import uuid
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from grpc import aio

import services.errors
from batzen.pricing.v1 import errors_pb2, price_book_pb2, pricing_pb2
from batzen.type.v1 import money_pb2
from services.errors import ServiceError
from services.pricing.domain import errors
from services.pricing.storage.store import QuoteStore, RequestKey
from tests.pricing.conftest import CallAs, Stub
from tests.pricing.samples import EXCLUSIVE, chf, line, order, refusal_of

INT64_MAX = 2**63 - 1
AMOUNT_MINOR_MAX = 2**53 - 1
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def ten_off(**changes: Any) -> pricing_pb2.Adjustment:
    fields: dict[str, Any] = {
        "adjustment_id": "ten",
        "direction": price_book_pb2.ADJUSTMENT_DIRECTION_DISCOUNT,
        "percent": "10",
        "funder": price_book_pb2.FUNDER_SELLER,
    }
    return pricing_pb2.Adjustment(**(fields | changes))


LINES: list[tuple[dict[str, Any], str, str]] = [
    ({"line_id": ""}, "FIELD_MISSING", "line_id"),
    ({"line_id": "a b"}, "FIELD_INVALID", "line_id"),
    ({"line_id": "x" * 65}, "FIELD_INVALID", "line_id"),
    ({"line_id": "zeile_ä"}, "FIELD_INVALID", "line_id"),
    ({"line_id": "session\n"}, "FIELD_INVALID", "line_id"),
    ({"seller_id": ""}, "FIELD_MISSING", "seller_id"),
    ({"seller_id": "x" * 129}, "FIELD_INVALID", "seller_id"),
    ({"kind": 0}, "FIELD_MISSING", "kind"),
    ({"kind": 99}, "FIELD_INVALID", "kind"),
    ({"quantity": ""}, "FIELD_MISSING", "quantity"),
    ({"quantity": "NaN"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "Infinity"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "1e3"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "+1"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": " 1"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "1\n"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "1_000"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "1,5"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": ".5"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "5."}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "0x10"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "١"}, "DECIMAL_INVALID", "quantity"),
    ({"quantity": "1.0000001"}, "DECIMAL_PRECISION", "quantity"),
    ({"quantity": "1" * 10_000}, "DECIMAL_PRECISION", "quantity"),
    ({"quantity": "0"}, "QUANTITY_OUT_OF_RANGE", "quantity"),
    ({"quantity": "-1"}, "QUANTITY_OUT_OF_RANGE", "quantity"),
    ({"quantity": "10000.000001"}, "QUANTITY_OUT_OF_RANGE", "quantity"),
    ({"unit_amount": None}, "FIELD_MISSING", "unit_amount"),
    ({"unit_amount": money_pb2.Money(amount_minor=1)}, "FIELD_MISSING", "unit_amount.currency_code"),
    (
        {"unit_amount": money_pb2.Money(amount_minor=1, currency_code="chf")},
        "CURRENCY_UNKNOWN",
        "unit_amount.currency_code",
    ),
    (
        {"unit_amount": money_pb2.Money(amount_minor=1, currency_code="XYZ")},
        "CURRENCY_UNKNOWN",
        "unit_amount.currency_code",
    ),
    (
        {"unit_amount": money_pb2.Money(amount_minor=1, currency_code="XAU")},
        "CURRENCY_UNKNOWN",
        "unit_amount.currency_code",
    ),
    ({"unit_amount": chf(-1)}, "AMOUNT_NEGATIVE", "unit_amount.amount_minor"),
    ({"unit_amount": chf(-(2**63))}, "AMOUNT_NEGATIVE", "unit_amount.amount_minor"),
    ({"unit_amount": chf(AMOUNT_MINOR_MAX + 1)}, "AMOUNT_OVERFLOW", "unit_amount.amount_minor"),
    ({"unit_amount": chf(AMOUNT_MINOR_MAX), "quantity": "1.000001"}, "AMOUNT_OVERFLOW", "unit_amount"),
    ({"unit_amount": chf(AMOUNT_MINOR_MAX), "tax_behavior": EXCLUSIVE}, "AMOUNT_OVERFLOW", "unit_amount"),
    ({"tax_category": "Standard"}, "FIELD_INVALID", "tax_category"),
    ({"tax_category": "x" * 33}, "FIELD_INVALID", "tax_category"),
    ({"tax_category": "luxury"}, "TAX_RATE_UNKNOWN", "tax_category"),
    ({"country": "Switzerland"}, "FIELD_INVALID", "country"),
    ({"country": "ch"}, "FIELD_INVALID", "country"),
    ({"country": "ZZ"}, "TAX_RATE_UNKNOWN", "tax_category"),
    ({"tax_behavior": 99}, "FIELD_INVALID", "tax_behavior"),
    ({"tax_treatment": 99}, "FIELD_INVALID", "tax_treatment"),
    ({"tax_treatment": price_book_pb2.TAX_TREATMENT_EXEMPT}, "FIELD_MISSING", "tax_treatment_reason"),
    ({"tax_treatment_reason": "why"}, "FIELD_INVALID", "tax_treatment_reason"),
    (
        {"tax_treatment": price_book_pb2.TAX_TREATMENT_EXEMPT, "tax_treatment_reason": "x" * 201},
        "FIELD_INVALID",
        "tax_treatment_reason",
    ),
    (
        {"tax_treatment": price_book_pb2.TAX_TREATMENT_EXEMPT, "tax_treatment_reason": "a\0b"},
        "FIELD_INVALID",
        "tax_treatment_reason",
    ),
    ({"vat_liability": 99}, "FIELD_INVALID", "vat_liability"),
    ({"service_date": ""}, "DATE_INVALID", "service_date"),
    ({"service_date": "2026-02-29"}, "DATE_INVALID", "service_date"),
    ({"service_date": "20260228"}, "DATE_INVALID", "service_date"),
    ({"service_date": "1969-12-31"}, "DATE_INVALID", "service_date"),
    ({"service_date": "9999-01-01"}, "DATE_INVALID", "service_date"),
    ({"service_date": "2017-12-31"}, "TAX_RATE_UNKNOWN", "tax_category"),
    ({"service_time": timestamp_pb2.Timestamp(seconds=INT64_MAX)}, "DATE_INVALID", "service_time"),
    ({"service_time": timestamp_pb2.Timestamp(seconds=-1)}, "DATE_INVALID", "service_time"),
    ({"service_time": timestamp_pb2.Timestamp(nanos=-1)}, "DATE_INVALID", "service_time"),
    ({"time_zone": "Mars/Olympus"}, "TIME_ZONE_UNKNOWN", "time_zone"),
    ({"time_zone": "../../etc/passwd"}, "TIME_ZONE_UNKNOWN", "time_zone"),
    ({"time_zone": "Europe"}, "TIME_ZONE_UNKNOWN", "time_zone"),
    ({"time_zone": "europe/zurich"}, "TIME_ZONE_UNKNOWN", "time_zone"),
]

REQUESTS: list[tuple[dict[str, Any], str, str]] = [
    ({"request_id": ""}, "FIELD_MISSING", "request_id"),
    ({"request_id": "first"}, "FIELD_INVALID", "request_id"),
    ({"request_id": "first", "preview": True}, "FIELD_INVALID", "request_id"),
    ({"lines": []}, "FIELD_MISSING", "lines"),
    ({"lines": [line(line_id=str(number)) for number in range(1_001)]}, "TOO_MANY_LINES", "lines"),
    ({"lines": [line(), line()]}, "LINE_ID_DUPLICATE", "lines[1].line_id"),
    (
        {"lines": [line(), line(line_id="b", unit_amount=money_pb2.Money(amount_minor=1, currency_code="EUR"))]},
        "CURRENCY_MISMATCH",
        "lines[1].unit_amount.currency_code",
    ),
    ({"lines": [line(unit_amount=chf(AMOUNT_MINOR_MAX)), line(line_id="b")]}, "AMOUNT_OVERFLOW", "lines"),
    ({"payer_id": "x" * 129}, "FIELD_INVALID", "payer_id"),
    ({"payer_id": "anna@example.ch"}, "FIELD_INVALID", "payer_id"),
    ({"coupon_codes": [""]}, "FIELD_MISSING", "coupon_codes[0]"),
    ({"coupon_codes": ["so long"]}, "FIELD_INVALID", "coupon_codes[0]"),
    ({"coupon_codes": ["SUMMER", "summer"]}, "FIELD_INVALID", "coupon_codes[1]"),
    ({"coupon_codes": [f"CODE{number}" for number in range(11)]}, "FIELD_INVALID", "coupon_codes"),
    ({"adjustments": [ten_off(adjustment_id=f"{number}") for number in range(21)]}, "FIELD_INVALID", "adjustments"),
    ({"adjustments": [ten_off(), ten_off()]}, "FIELD_INVALID", "adjustments[1].adjustment_id"),
    ({"ttl": duration_pb2.Duration(seconds=59)}, "FIELD_INVALID", "ttl"),
    ({"ttl": duration_pb2.Duration(seconds=500 * 86_400 + 1)}, "FIELD_INVALID", "ttl"),
    ({"ttl": duration_pb2.Duration(seconds=60, nanos=1)}, "FIELD_INVALID", "ttl"),
    ({"ttl": duration_pb2.Duration(seconds=INT64_MAX)}, "FIELD_INVALID", "ttl"),
    ({"rounding": pricing_pb2.Rounding(point=99)}, "FIELD_INVALID", "rounding.point"),  # type: ignore[arg-type]
    ({"rounding": pricing_pb2.Rounding(mode=99)}, "FIELD_INVALID", "rounding.mode"),  # type: ignore[arg-type]
]

ADJUSTMENTS: list[tuple[dict[str, Any], str, str]] = [
    ({"adjustment_id": ""}, "FIELD_MISSING", "adjustment_id"),
    ({"adjustment_id": "a b"}, "FIELD_INVALID", "adjustment_id"),
    ({"direction": 0}, "FIELD_MISSING", "direction"),
    ({"direction": 99}, "FIELD_INVALID", "direction"),
    ({"funder": 0}, "FIELD_MISSING", "funder"),
    ({"percent": None}, "FIELD_MISSING", "value"),
    ({"percent": ""}, "FIELD_MISSING", "percent"),
    ({"percent": "ten"}, "DECIMAL_INVALID", "percent"),
    ({"percent": "1.00001"}, "DECIMAL_PRECISION", "percent"),
    ({"percent": "0"}, "PERCENT_OUT_OF_RANGE", "percent"),
    ({"percent": "-1"}, "PERCENT_OUT_OF_RANGE", "percent"),
    ({"percent": "100.0001"}, "PERCENT_OUT_OF_RANGE", "percent"),
    (
        {"percent": "1000.1", "direction": price_book_pb2.ADJUSTMENT_DIRECTION_SURCHARGE},
        "PERCENT_OUT_OF_RANGE",
        "percent",
    ),
    ({"percent": None, "fixed": chf(0)}, "FIELD_INVALID", "fixed.amount_minor"),
    ({"percent": None, "fixed": chf(-1)}, "AMOUNT_NEGATIVE", "fixed.amount_minor"),
    (
        {"percent": None, "fixed": money_pb2.Money(amount_minor=1, currency_code="EUR")},
        "CURRENCY_MISMATCH",
        "",
    ),
    ({"cap": money_pb2.Money(amount_minor=1, currency_code="XXX")}, "CURRENCY_UNKNOWN", "cap.currency_code"),
    ({"line_ids": ["session", "nothing"]}, "FIELD_INVALID", "line_ids"),
    ({"stacking_order": 1_001}, "FIELD_INVALID", "stacking_order"),
    ({"stacking_order": -(2**31)}, "FIELD_INVALID", "stacking_order"),
]


@pytest.mark.parametrize(("changes", "reason", "field"), LINES, ids=lambda value: str(value)[:40])
async def test_a_line_that_is_wrong_is_refused(pricing: Stub, changes: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(line(line_id="good", unit_amount=chf(0)), line(**changes)))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason, refusal.field) == (INVALID, reason, f"lines[1].{field}")


@pytest.mark.parametrize(("changes", "reason", "field"), REQUESTS, ids=lambda value: str(value)[:40])
async def test_a_request_that_is_wrong_is_refused(
    pricing: Stub, changes: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(**changes))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason, refusal.field) == (INVALID, reason, field)


@pytest.mark.parametrize(("changes", "reason", "field"), ADJUSTMENTS, ids=lambda value: str(value)[:40])
async def test_an_adjustment_that_is_wrong_is_refused(
    pricing: Stub, changes: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(adjustments=[ten_off(adjustment_id="good"), ten_off(**changes)]))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (INVALID, reason)
    assert refusal.field == f"adjustments[1].{field}".removesuffix(".")


async def test_a_coupon_nobody_has_is_unknown(pricing: Stub) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(coupon_codes=["SUMMER"]))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "COUPON_UNKNOWN")
    assert refusal.field == "coupon_codes[0]"


async def test_a_refusal_stores_nothing_and_leaves_its_request_id_free(pricing: Stub, store: QuoteStore) -> None:
    request = order(line(quantity="0"))
    with pytest.raises(aio.AioRpcError):
        await pricing.CreateQuote(request)
    key = RequestKey(tenant_id="main", caller="orchestrator", request_id=uuid.UUID(request.request_id))
    assert await store.find_by_request(key) is None

    request.lines[0].quantity = "1"
    response = await pricing.CreateQuote(request)

    assert response.quote.total == chf(10_000)


async def test_an_unknown_rate_names_what_was_looked_for(pricing: Stub) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(line(country="ES", service_date="2026-11-20")))

    assert refusal_of(refused.value).metadata == {
        "country": "ES",
        "tax_category": "standard",
        "tax_date": "2026-11-20",
    }


@pytest.mark.parametrize(
    ("quote_id", "code", "reason"),
    [
        ("", INVALID, "FIELD_MISSING"),
        ("x" * 65, grpc.StatusCode.NOT_FOUND, "QUOTE_NOT_FOUND"),
        ("quote_\0", INVALID, "FIELD_INVALID"),
        ("quote_unknown", grpc.StatusCode.NOT_FOUND, "QUOTE_NOT_FOUND"),
    ],
)
async def test_a_quote_that_is_not_there_is_not_found(
    pricing: Stub, quote_id: str, code: grpc.StatusCode, reason: str
) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote_id))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (code, reason)


async def test_a_call_without_a_deadline_that_can_be_met_is_refused(pricing: Stub) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(), timeout=timedelta(hours=1).total_seconds())

    assert refusal_of(refused.value).reason == "DEADLINE_TOO_LONG"


@pytest.mark.parametrize("role", ["payer", "seller"])
async def test_payers_and_sellers_name_no_price(call_as: CallAs, role: str) -> None:
    async with call_as("somebody", roles={role}) as stub:
        for call in (stub.CreateQuote(order()), stub.GetQuote(pricing_pb2.GetQuoteRequest(quote_id="quote_1"))):
            with pytest.raises(aio.AioRpcError) as refused:
                await call
            assert refusal_of(refused.value).reason == "PERMISSION_DENIED"


RETIRED = {"FEATURE_NOT_AVAILABLE"}
"""Reasons that servers sent once and send no more."""


def test_the_reasons_of_the_code_are_those_of_the_contract() -> None:
    documented = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys()} - {"UNSPECIFIED"}  # noqa: SIM118 not a dict
    raised = {
        error.reason
        for module in (errors, services.errors)
        for _, error in inspect.getmembers(module, inspect.isclass)
        if issubclass(error, ServiceError) and hasattr(error, "reason")
    }

    assert raised == documented - RETIRED
