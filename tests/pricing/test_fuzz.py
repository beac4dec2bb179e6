"""Whatever is sent, the answer is a quote or a documented refusal, and every quote can be computed again."""

from __future__ import annotations

import asyncio
import re
import uuid
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from google.protobuf.json_format import MessageToDict
from grpc import aio
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine

from batzen.pricing.v1 import errors_pb2, price_book_pb2, pricing_pb2
from services.errors import FailedPrecondition, InvalidRequest, ServiceError
from services.pricing.domain.book import FeePlan, TaxRate
from services.pricing.domain.exact import AMOUNT_MINOR_MAX, Percent
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.price import Price
from services.pricing.domain.terms import Direction, Discount, Funder, Terms
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.wire.entries import read_discount, read_fee_plan, read_tax_rate
from services.pricing.wire.requests import QuoteOrder, read_create_quote
from services.pricing.wire.responses import write_quote
from tests.pricing.conftest import Stub
from tests.pricing.fuzz import any_message, fuzz_requests
from tests.pricing.properties import holds_for
from tests.pricing.recomputing import compute_all_again
from tests.pricing.samples import BOOK, CURRENCIES, NOW, refusal_of

DOCUMENTED = {name.removeprefix("ERROR_REASON_") for name in errors_pb2.ErrorReason.keys()}  # noqa: SIM118 not a dict
PATH = re.compile(
    r"request_id|lines|payer_id|locales|ttl|adjustments|coupon_codes|rounding\.(point|mode)"
    r"|(locales|coupon_codes)\[\d+\]|(lines|adjustments)\[\d+\](\.\w+(\.\w+)?)?"
)
SUMMER = Discount(
    discount_id="summer",
    revision=1,
    code="SUMMER",
    terms=Terms(
        direction=Direction.DISCOUNT,
        percent=Percent.of(Decimal(10)),
        fixed_minor=None,
        cap_minor=None,
        funder=Funder.PLATFORM,
        stacking_order=0,
    ),
    currency_code="",
    valid_from=NOW - timedelta(days=1),
    valid_until=None,
    minimum_spend_minor=None,
    uses_max=None,
    uses_per_payer_max=3,
    seller_ids=frozenset(),
    kinds=frozenset(),
    exclusive=False,
    retired=False,
)
WITH_COUPONS = replace(BOOK, discounts=(SUMMER, replace(SUMMER, discount_id="once", code="ONCE", exclusive=True)))


@holds_for(request=fuzz_requests())
def test_whatever_is_asked_the_answer_is_a_quote_or_a_documented_refusal(
    request: pricing_pb2.CreateQuoteRequest,
) -> None:
    priced = _priced(request)
    if isinstance(priced, ServiceError):
        assert isinstance(priced, InvalidRequest | FailedPrecondition)
        assert priced.reason in DOCUMENTED
        assert PATH.fullmatch(priced.field or ""), priced.field
        return
    order, price = priced
    quote = write_quote(
        price, cart=order.cart, quote_id="quote", create_time=NOW, expire_time=None, formats=order.formats
    )
    assert 0 <= quote.total.amount_minor <= AMOUNT_MINOR_MAX
    shown = [row.amount_minor for row in quote.rows if row.payer_facing and row.included_in_total]
    assert sum(shown) == quote.total.amount_minor
    assert "nan" not in str(MessageToDict(quote)).lower()


@holds_for(
    entry=st.one_of(
        any_message(price_book_pb2.TaxRate), any_message(price_book_pb2.FeePlan), any_message(price_book_pb2.Discount)
    )
)
def test_whatever_is_put_into_the_book_it_is_an_entry_or_a_documented_refusal(
    entry: price_book_pb2.TaxRate | price_book_pb2.FeePlan | price_book_pb2.Discount,
) -> None:
    read = _read(entry)

    if isinstance(read, ServiceError):
        assert isinstance(read, InvalidRequest)
        assert read.reason in DOCUMENTED
        assert re.fullmatch(r"\w+(\[\d+\])?(\.\w+)*", read.field or ""), read.field


@holds_for(request=any_message(pricing_pb2.CreateQuoteRequest))
def test_a_request_of_nothing_but_the_right_types_is_refused_where_it_is_wrong(
    request: pricing_pb2.CreateQuoteRequest,
) -> None:
    priced = _priced(request)

    if isinstance(priced, ServiceError):
        assert priced.reason in DOCUMENTED
        assert PATH.fullmatch(priced.field or ""), priced.field


def _read(
    entry: price_book_pb2.TaxRate | price_book_pb2.FeePlan | price_book_pb2.Discount,
) -> TaxRate | FeePlan | Discount | ServiceError:
    try:
        if isinstance(entry, price_book_pb2.TaxRate):
            return read_tax_rate(entry, revision=1)
        if isinstance(entry, price_book_pb2.FeePlan):
            return read_fee_plan(entry, revision=1, currencies=CURRENCIES)
        return read_discount(entry, revision=1, currencies=CURRENCIES)
    except ServiceError as refusal:
        return refusal


def _priced(request: pricing_pb2.CreateQuoteRequest) -> tuple[QuoteOrder, Price] | ServiceError:
    try:
        order = read_create_quote(request, currencies=CURRENCIES, now=NOW)
        return order, price_cart(order.cart, book=WITH_COUPONS)
    except ServiceError as refusal:
        return refusal


async def test_every_quote_that_was_kept_can_be_computed_again(
    pricing: Stub, engine: AsyncEngine, books: PriceBookStore
) -> None:
    """Of whatever the requests of a strategy make; conftest does the same for the quotes of all other tests."""
    requests = some_requests(140)
    for request in requests:
        request.request_id, request.preview = str(uuid.uuid4()), False

    answers = await asyncio.gather(*(pricing.CreateQuote(request) for request in requests), return_exceptions=True)

    made = [answer for answer in answers if isinstance(answer, pricing_pb2.CreateQuoteResponse)]
    refused = {refusal_of(answer).reason for answer in answers if isinstance(answer, aio.AioRpcError)}
    assert len(made) > 10
    assert refused <= DOCUMENTED
    assert await compute_all_again(engine, books=books) >= len(made)


def some_requests(count: int) -> list[pricing_pb2.CreateQuoteRequest]:
    """Return requests of the strategy, the same in each run."""
    found = []

    @settings(max_examples=count, database=None, derandomize=True, deadline=None, phases=[Phase.generate])
    @given(fuzz_requests())
    def collect(request: pricing_pb2.CreateQuoteRequest) -> None:
        found.append(request)

    collect()
    return found
