"""Requests for quotes as nobody should send them, and some as they should be, for hypothesis to mix."""

from __future__ import annotations

from typing import Any, TypeVar

from google.protobuf import duration_pb2, timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

from batzen.pricing.v1 import pricing_pb2
from batzen.type.v1 import money_pb2

M = TypeVar("M", bound=Message)

INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def mostly(draw: st.DrawFn, *usual: Any, odd: st.SearchStrategy[Any] = ANY_TEXT) -> Any:
    """Draw one of the usual values, once in thirty an odd one: a line has twenty fields, and one is enough."""
    return draw(odd) if draw(st.integers(0, 29)) == 17 else draw(st.sampled_from(usual))


DECIMALS = mostly(
    "1", "2.5", "0.000001", "10000", "100", "33.3333", "900",
    odd=st.one_of(
        ANY_TEXT,
        st.sampled_from(["0", "-1", "NaN", "Infinity", "1e3", "1E-7", "٣", "1.", ".1", "0x1", "1_0", "9" * 40]),
    ),
)  # fmt: skip
MONEY = st.builds(
    money_pb2.Money,
    amount_minor=mostly(0, 1, 5, 999, 12_345, 9 * 10**17, odd=INT64),
    currency_code=mostly("CHF", "CHF", "CHF", "CHF", "JPY"),
)
ENUM = mostly(1, 2, odd=st.one_of(st.just(0), INT32))
DEFAULTED = mostly(0, 1, 2, odd=INT32)
LOCALES = mostly("de-CH", "fr-FR", "en-US", "ar-EG", "sr-Latn-RS", "en-LI")


@st.composite
def fuzz_requests(draw: st.DrawFn) -> pricing_pb2.CreateQuoteRequest:
    """Draw a request: each of its fields is usual or odd, whatever the others are."""
    request = pricing_pb2.CreateQuoteRequest(
        request_id=draw(mostly("3f2b8d1e-6c7a-4b5d-9e0f-112233445566")),
        lines=[_line(draw, number) for number in range(draw(mostly(1, 2, 3, odd=st.just(0))))],
        payer_id=draw(mostly("payer_1", "")),
        coupon_codes=draw(mostly([], [], [], odd=st.lists(mostly("SUMMER", "summer", "ONCE"), max_size=12))),
        adjustments=[_adjustment(draw, number) for number in range(draw(st.integers(0, 3)))],
        locales=draw(st.lists(LOCALES, max_size=3, unique=True)),
        preview=draw(st.booleans()),
        rounding=pricing_pb2.Rounding(point=draw(DEFAULTED), mode=draw(DEFAULTED)),
    )
    if draw(st.booleans()):
        request.ttl.CopyFrom(
            duration_pb2.Duration(seconds=draw(mostly(60, 86_400, odd=INT64)), nanos=draw(mostly(0, odd=INT32)))
        )
    return request


def _line(draw: st.DrawFn, number: int) -> pricing_pb2.Line:
    treatment = draw(mostly(0, 1, 2, 3, odd=INT32))
    line = pricing_pb2.Line(
        line_id=draw(mostly(f"line_{number}")),
        seller_id=draw(mostly("seller_1", "seller_2")),
        kind=draw(ENUM),
        quantity=draw(DECIMALS),
        tax_category=draw(mostly("", "standard", "reduced", "accommodation")),
        country=draw(mostly("", "CH", "DE")),
        tax_behavior=draw(DEFAULTED),
        tax_treatment=treatment,
        tax_treatment_reason=draw(mostly("Art. 21 MWSTG" if treatment in (2, 3) else "")),
        vat_liability=draw(DEFAULTED),
        time_zone=draw(mostly("", "Europe/Zurich", "Pacific/Kiritimati")),
    )
    if draw(mostly(True, odd=st.just(False))):
        line.unit_amount.CopyFrom(draw(MONEY))
    match draw(st.integers(0, 2)):
        case 1:
            line.service_date = draw(mostly("2026-11-20", "2024-01-01", "2023-12-31"))
        case 2:
            seconds, nanos = draw(mostly(1_700_000_000, odd=INT64)), draw(mostly(0, odd=INT32))
            line.service_time.CopyFrom(timestamp_pb2.Timestamp(seconds=seconds, nanos=nanos))
        case _:
            pass
    return line


def _adjustment(draw: st.DrawFn, number: int) -> pricing_pb2.Adjustment:
    adjustment = pricing_pb2.Adjustment(
        adjustment_id=draw(mostly(f"adjustment_{number}")),
        direction=draw(ENUM),
        funder=draw(ENUM),
        line_ids=draw(mostly([], ["line_0"], odd=st.lists(ANY_TEXT, max_size=3))),
        stacking_order=draw(mostly(0, -1_000, 1_000, odd=INT32)),
    )
    match draw(st.integers(0, 8)):
        case 0:
            pass
        case 1 | 2 | 3 | 4:
            adjustment.percent = draw(DECIMALS)
        case _:
            adjustment.fixed.CopyFrom(draw(MONEY))
    if draw(mostly(False, odd=st.just(True))):
        adjustment.cap.CopyFrom(draw(MONEY))
    return adjustment


USUAL_TEXT = ("CH", "standard", "2024-01-01", "8.1", "10", "summer", "SUMMER", "CHF", "seller_1", "")


def any_message(kind: type[M]) -> st.SearchStrategy[M]:
    """Draw a message whose every field is of its type, and nothing more."""
    return st.fixed_dictionaries({}, optional={field.name: _of(field) for field in kind.DESCRIPTOR.fields}).map(
        lambda fields: kind(**fields)
    )


def _of(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    one: st.SearchStrategy[Any]
    if field.message_type is not None:
        one = any_message(GetMessageClass(field.message_type))
    elif field.enum_type is not None:
        one = ENUM
    else:
        one = {
            FieldDescriptor.CPPTYPE_STRING: mostly(*USUAL_TEXT),
            FieldDescriptor.CPPTYPE_BOOL: st.booleans(),
            FieldDescriptor.CPPTYPE_INT32: mostly(0, 1, 60, odd=INT32),
            FieldDescriptor.CPPTYPE_INT64: mostly(0, 1, 60, 12_345, odd=INT64),
        }[field.cpp_type]
    return st.lists(one, max_size=3) if field.is_repeated else one
