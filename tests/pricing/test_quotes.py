"""Quotes over a real channel: what they say, that they stay, and that the same request never makes two."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import duration_pb2, timestamp_pb2
from grpc import aio

from batzen.legacy_prices import normalize_legacy_price
from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from services.pricing.storage.store import QuoteStore, RequestKey
from services.runtime.database.connections import make_engine, reading
from tests.pricing.conftest import CallAs, Stub
from tests.pricing.recomputing import compute_again
from tests.pricing.samples import BOOK, CURRENCIES, EXCLUSIVE, INCLUSIVE, NOW, Clock, chf, line, order, refusal_of


async def quote_of(pricing: Stub, request: pricing_pb2.CreateQuoteRequest) -> pricing_pb2.Quote:
    return (await pricing.CreateQuote(request)).quote


async def test_a_session_of_100_francs_with_vat_included(pricing: Stub) -> None:
    quote = await quote_of(pricing, order())

    assert quote.quote_id.startswith("quote_")
    assert (quote.total, quote.currency_code, quote.payer_id, quote.preview) == (chf(10_000), "CHF", "payer_1", False)
    (priced,), (seller,) = quote.lines, quote.sellers
    assert (priced.list_minor, priced.adjustment_minor, priced.base_minor) == (10_000, 0, 10_000)
    assert (priced.net_minor, priced.vat_minor, priced.gross_minor) == (9_251, 749, 10_000)
    assert priced.tax == pricing_pb2.LineTax(
        country="CH",
        tax_category="standard",
        rate_percent="8.1",
        tax_behavior=INCLUSIVE,
        tax_treatment=price_book_pb2.TAX_TREATMENT_TAXABLE,
        vat_liability=price_book_pb2.VAT_LIABILITY_SELLER,
        tax_date="2026-11-20",
        rate_effective_from="2024-01-01",
        rate_revision=1,
    )
    assert (seller.platform_fee_minor, seller.platform_share_minor, seller.seller_share_minor) == (1_500, 1_500, 8_500)
    assert (seller.fee_plan_id, seller.fee_plan_revision) == ("default", 1)
    assert quote.rounding == pricing_pb2.Rounding(
        point=pricing_pb2.ROUNDING_POINT_PER_LINE, mode=pricing_pb2.ROUNDING_MODE_HALF_UP, step_minor=1
    )
    assert quote.create_time.ToDatetime(UTC) == NOW
    assert quote.expire_time.ToDatetime(UTC) == NOW + timedelta(hours=24)


async def test_the_same_with_vat_on_top(pricing: Stub) -> None:
    quote = await quote_of(pricing, order(line(tax_behavior=EXCLUSIVE)))

    assert quote.total == chf(10_810)
    assert (quote.lines[0].net_minor, quote.lines[0].vat_minor, quote.lines[0].gross_minor) == (10_000, 810, 10_810)
    assert quote.sellers[0].platform_fee_minor == 1_500


async def test_what_the_payer_sees_sums_to_the_total(pricing: Stub) -> None:
    quote = await quote_of(
        pricing,
        order(
            line(line_id="session", quantity="1.5"),
            line(line_id="room", seller_id="seller_2", tax_category="accommodation", tax_behavior=EXCLUSIVE),
            line(line_id="tea", seller_id="seller_2", unit_amount=chf(455), quantity="3", tax_category="reduced"),
        ),
    )

    rows = [
        (row.kind, row.line_id or row.rate_percent, row.amount_minor, row.payer_facing, row.included_in_total)
        for row in quote.rows
    ]
    assert rows == [
        (pricing_pb2.ROW_KIND_LINE, "session", 15_000, True, True),
        (pricing_pb2.ROW_KIND_LINE, "room", 10_000, True, True),
        (pricing_pb2.ROW_KIND_LINE, "tea", 1_365, True, True),
        (pricing_pb2.ROW_KIND_VAT, "3.8", 380, True, True),
        (pricing_pb2.ROW_KIND_VAT, "2.6", 35, True, False),
        (pricing_pb2.ROW_KIND_VAT, "8.1", 1_124, True, False),
        (pricing_pb2.ROW_KIND_PLATFORM_FEE, "15", 2_250, False, False),
        (pricing_pb2.ROW_KIND_PLATFORM_FEE, "15", 1_705, False, False),
    ]
    assert quote.total == chf(26_745)
    assert [(seller.seller_id, seller.gross_minor) for seller in quote.sellers] == [
        ("seller_1", 15_000),
        ("seller_2", 11_745),
    ]
    assert [(part.stage, part.amount_minor) for part in quote.stages] == [
        (pricing_pb2.STAGE_BASE_LINES, 26_365),
        (pricing_pb2.STAGE_TAX, 380),
        (pricing_pb2.STAGE_PLATFORM_FEE, 3_955),
    ]


@pytest.mark.parametrize(("final", "included", "total"), [("100", True, 10_000), ("108.10", False, 10_810)])
async def test_an_old_price_object_comes_to_what_it_said(pricing: Stub, final: str, included: bool, total: int) -> None:
    vat = {"rate": "8.1", "included": included}
    old = {"base": 100, "final": final, "vat": vat, "platformFee": {"percentage": 15}, "currency": "CHF"}
    lines = normalize_legacy_price(old, line_id="session", seller_id="seller_1", kind=price_book_pb2.LINE_KIND_SESSION)

    quote = await quote_of(pricing, order(*lines))

    assert (quote.total, quote.sellers[0].platform_fee_minor) == (chf(total), 1_500)


async def test_a_cart_may_cost_nothing(pricing: Stub) -> None:
    quote = await quote_of(pricing, order(line(unit_amount=chf(0))))

    assert quote.total == chf(0)
    assert quote.sellers[0].platform_fee_minor == 0


@pytest.mark.parametrize(
    ("changes", "tax_date", "rate"),
    [
        ({"service_date": "2023-12-31"}, "2023-12-31", "7.7"),
        ({"service_time": datetime(2023, 12, 31, 22, 59, tzinfo=UTC)}, "2023-12-31", "7.7"),
        ({"service_time": datetime(2023, 12, 31, 23, 0, tzinfo=UTC)}, "2024-01-01", "8.1"),
        ({"service_time": datetime(2023, 12, 31, 23, 0, tzinfo=UTC), "time_zone": "UTC"}, "2023-12-31", "7.7"),
        (
            {"service_time": datetime(2024, 1, 1, 4, 0, tzinfo=UTC), "time_zone": "America/New_York"},
            "2023-12-31",
            "7.7",
        ),
        ({"time_zone": "Pacific/Kiritimati"}, "2026-11-21", "8.1"),
    ],
    ids=str,
)
async def test_the_date_at_the_place_of_supply_decides_the_rate(
    pricing: Stub, changes: dict[str, Any], tax_date: str, rate: str
) -> None:
    if "service_time" in changes:
        instant = timestamp_pb2.Timestamp()
        instant.FromDatetime(changes["service_time"])
        changes = changes | {"service_time": instant}

    quote = await quote_of(pricing, order(line(**changes)))

    assert (quote.lines[0].tax.tax_date, quote.lines[0].tax.rate_percent) == (tax_date, rate)


async def test_the_same_request_gets_the_same_quote_for_ever(pricing: Stub, clock: Clock) -> None:
    request = order()
    first = await pricing.CreateQuote(request)
    clock.time = NOW + timedelta(days=80)  # long expired

    again = await pricing.CreateQuote(request)

    assert again.SerializeToString(deterministic=True) == first.SerializeToString(deterministic=True)


async def test_a_request_that_could_not_be_answered_any_more_still_gets_its_quote(pricing: Stub, clock: Clock) -> None:
    """The clock stands for a price book that has changed: the same request would now be refused."""
    request = order(line())
    first = await pricing.CreateQuote(request)
    clock.time = datetime(2017, 1, 1, tzinfo=UTC)
    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(line()))
    assert refusal_of(refused.value).reason == "TAX_RATE_UNKNOWN"

    assert await pricing.CreateQuote(request) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"payer_id": "payer_2"},
        {"lines": [line(quantity="2")]},
        {"lines": [line(tax_behavior=INCLUSIVE)]},  # says what it was, but says it: another body
        {"ttl": duration_pb2.Duration(seconds=600)},
    ],
    ids=str,
)
async def test_a_request_id_with_another_body_is_refused(pricing: Stub, changes: dict[str, Any]) -> None:
    request = order()
    await pricing.CreateQuote(request)

    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(**({"request_id": request.request_id} | changes)))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED")
    assert refusal.field == "request_id"


async def test_a_uuid_is_the_same_in_either_case(pricing: Stub) -> None:
    request = order()
    first = await pricing.CreateQuote(request)

    assert await pricing.CreateQuote(order(request_id=request.request_id.upper())) == first


async def test_request_ids_of_two_callers_and_of_two_tenants_never_meet(pricing: Stub, call_as: CallAs) -> None:
    request = order()
    ids = {(await quote_of(pricing, request)).quote_id}
    async with call_as("bff", roles={"service"}) as other_caller:
        ids.add((await quote_of(other_caller, request)).quote_id)
    async with call_as("orchestrator", roles={"service"}, tenant="other") as other_tenant:
        ids.add((await quote_of(other_tenant, request)).quote_id)

    assert len(ids) == 3


async def test_twenty_copies_at_once_make_one_quote(pricing: Stub, database: ServiceDatabase) -> None:
    request = order()

    answers = await asyncio.gather(*(pricing.CreateQuote(request) for _ in range(20)))

    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert await count_of(request, database) == 1


async def test_of_two_bodies_at_once_one_is_refused(pricing: Stub) -> None:
    request_id = str(uuid.uuid4())
    requests = [order(line(quantity=str(1 + number % 2)), request_id=request_id) for number in range(10)]

    answers = await asyncio.gather(*(pricing.CreateQuote(request) for request in requests), return_exceptions=True)

    quotes = {answer.quote.quote_id for answer in answers if isinstance(answer, pricing_pb2.CreateQuoteResponse)}
    refused = {refusal_of(answer).reason for answer in answers if isinstance(answer, aio.AioRpcError)}
    assert (len(quotes), refused) == (1, {"REQUEST_ID_REUSED"})


async def test_a_preview_keeps_nothing(pricing: Stub, database: ServiceDatabase) -> None:
    request = order(preview=True)

    preview = await quote_of(pricing, request)

    assert (preview.quote_id, preview.preview, preview.HasField("expire_time")) == ("", True, False)
    assert preview.total == chf(10_000)
    assert await count_of(request, database) == 0
    assert await quote_of(pricing, order(preview=True, request_id="")) == preview


async def test_a_quote_reads_back_exactly_as_it_was_made(pricing: Stub, clock: Clock) -> None:
    made = await quote_of(pricing, order(ttl=duration_pb2.Duration(seconds=60)))
    request = pricing_pb2.GetQuoteRequest(quote_id=made.quote_id)

    clock.time = NOW + timedelta(seconds=59)
    standing = await pricing.GetQuote(request)
    clock.time = NOW + timedelta(seconds=60)
    expired = await pricing.GetQuote(request)

    assert standing == pricing_pb2.GetQuoteResponse(quote=made, state=pricing_pb2.QUOTE_STATE_OPEN)
    assert expired == pricing_pb2.GetQuoteResponse(quote=made, state=pricing_pb2.QUOTE_STATE_EXPIRED)


async def test_a_quote_of_another_tenant_is_not_found(pricing: Stub, call_as: CallAs) -> None:
    made = await quote_of(pricing, order())

    async with call_as("orchestrator", roles={"service"}, tenant="other") as other:
        with pytest.raises(aio.AioRpcError) as refused:
            await other.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=made.quote_id))

    assert refusal_of(refused.value).reason == "QUOTE_NOT_FOUND"


async def test_an_operator_reads_and_makes_quotes(call_as: CallAs) -> None:
    async with call_as("anna", roles={"operator"}) as operator:
        made = await quote_of(operator, order())
        assert (await operator.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=made.quote_id))).quote == made


async def test_a_thousand_lines_with_every_field_at_its_longest_fit(pricing: Stub) -> None:
    lines = [
        line(
            line_id=f"{number:064}",
            seller_id=f"{number % 10:0128}",
            quantity="9999.999999",
            unit_amount=chf(9 * 10**8),  # together just below the largest amount
            tax_category="standard",
            country="CH",
            tax_behavior=EXCLUSIVE,
            tax_treatment=price_book_pb2.TAX_TREATMENT_EXEMPT,
            tax_treatment_reason="\N{OGHAM LETTER BEITH}" * 200,
            vat_liability=price_book_pb2.VAT_LIABILITY_PLATFORM,
            service_date="2026-11-20",
            time_zone="America/Argentina/ComodRivadavia",
        )
        for number in range(1_000)
    ]

    quote = await quote_of(pricing, order(*lines))

    assert (len(quote.lines), len(quote.sellers)) == (1_000, 10)
    assert (await pricing.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote.quote_id))).quote == quote


async def test_every_stored_quote_can_be_computed_again_from_its_inputs(pricing: Stub, store: QuoteStore) -> None:
    lines = line(quantity="0.333333"), line(line_id="b", tax_behavior=EXCLUSIVE, seller_id="seller_2")
    request = order(*lines, locales=["de-CH"])
    made = await quote_of(pricing, request)
    key = RequestKey(tenant_id="main", caller="orchestrator", request_id=uuid.UUID(request.request_id))
    stored = await store.find_by_request(key)
    assert stored is not None

    assert compute_again(stored, book=BOOK) == made == pricing_pb2.Quote.FromString(stored.quote)


async def test_a_quote_is_rounded_to_the_step_of_its_currency_and_says_so(pricing: Stub, store: QuoteStore) -> None:
    dinars = money_pb2.Money(amount_minor=10_010, currency_code="KWD")
    asked = pricing_pb2.Rounding(mode=pricing_pb2.ROUNDING_MODE_HALF_EVEN, step_minor=1)
    request = order(line(unit_amount=dinars), rounding=asked)
    made = await quote_of(pricing, request)

    assert made.rounding == pricing_pb2.Rounding(
        point=pricing_pb2.ROUNDING_POINT_PER_LINE, mode=pricing_pb2.ROUNDING_MODE_HALF_EVEN, step_minor=10
    )
    assert (made.lines[0].vat_minor, made.sellers[0].platform_fee_minor) == (750, 1_500)

    # A step that the currency gets later changes no quote that was made before.
    key = RequestKey(tenant_id="main", caller="orchestrator", request_id=uuid.UUID(request.request_id))
    stored = await store.find_by_request(key)
    assert stored is not None
    later = {**CURRENCIES, "KWD": replace(CURRENCIES["KWD"], step_minor=1)}
    assert compute_again(stored, book=BOOK, currencies=later) == made


async def count_of(request: pricing_pb2.CreateQuoteRequest, database: ServiceDatabase) -> int:
    engine = make_engine(database.runtime_url, application_name="pricing-tests")
    try:
        async with reading(engine) as connection:
            rows = await connection.exec_driver_sql(
                "SELECT count(*) FROM quotes WHERE request_id = $1", (uuid.UUID(request.request_id),)
            )
            return int(rows.scalar_one())
    finally:
        await engine.dispose()
