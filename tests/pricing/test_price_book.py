"""The price book over a real channel: what it starts with, how it changes, and who sees the change when."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf import timestamp_pb2
from grpc import aio

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.type.v1 import money_pb2
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.storage.store import QuoteStore, RequestKey
from tests.pricing.conftest import CallAs, Stub
from tests.pricing.recomputing import compute_again
from tests.pricing.samples import EXCLUSIVE, NOW, chf, line, order, refusal_of


def instant(moment: datetime) -> timestamp_pb2.Timestamp:
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromDatetime(moment)
    return timestamp


def rate(**changes: Any) -> price_book_pb2.TaxRate:
    fields: dict[str, Any] = {
        "country": "ES",
        "tax_category": "standard",
        "effective_from": "2021-01-01",
        "rate_percent": "19",
        "source": "A test",
    }
    return price_book_pb2.TaxRate(**(fields | changes))


def plan(**changes: Any) -> price_book_pb2.FeePlan:
    fields: dict[str, Any] = {"fee_plan_id": "special", "percent": "10", "effective_from": instant(NOW)}
    return price_book_pb2.FeePlan(**(fields | changes))


def discount(**changes: Any) -> price_book_pb2.Discount:
    fields: dict[str, Any] = {
        "discount_id": "summer",
        "code": "SUMMER",
        "direction": price_book_pb2.ADJUSTMENT_DIRECTION_DISCOUNT,
        "percent": "10",
        "funder": price_book_pb2.FUNDER_SELLER,
        "valid_from": instant(NOW),
    }
    return price_book_pb2.Discount(**(fields | changes))


def put(thing: Any, *, expected_revision: int = 0, **changes: Any) -> Any:
    """Return the request that puts a rate, plan or discount."""
    fields: dict[str, Any] = {
        "request_id": str(uuid.uuid4()),
        "expected_revision": expected_revision,
        "change_reason": "A test",
    }
    request, name = {
        price_book_pb2.TaxRate: (pricing_pb2.PutTaxRateRequest, "tax_rate"),
        price_book_pb2.FeePlan: (pricing_pb2.PutFeePlanRequest, "fee_plan"),
        price_book_pb2.Discount: (pricing_pb2.PutDiscountRequest, "discount"),
    }[type(thing)]
    return request(**{name: thing}, **(fields | changes))


async def send(stub: Stub, request: Any) -> Any:
    """Call Put… with the request and return what was put."""
    name = type(request).DESCRIPTOR.name.removesuffix("Request")
    response = await getattr(stub, name)(request)
    return response.ListFields()[0][1]


class Tenant:
    """A tenant of its own for a test: its operator and its service."""

    def __init__(self, tenant_id: str, *, operator: Stub, service: Stub) -> None:
        self.tenant_id = tenant_id
        self.operator = operator
        self.service = service

    async def put(self, thing: Any, **changes: Any) -> Any:
        return await send(self.operator, put(thing, **changes))

    async def quote(self, *lines: pricing_pb2.Line, **changes: Any) -> pricing_pb2.Quote:
        return (await self.service.CreateQuote(order(*lines, **changes))).quote


@pytest.fixture
async def tenant(call_as: CallAs) -> Any:
    tenant_id = f"tenant_{uuid.uuid4().hex[:12]}"
    async with (
        call_as("anna", roles={"operator"}, tenant=tenant_id) as operator,
        call_as("orchestrator", roles={"service"}, tenant=tenant_id) as service,
    ):
        yield Tenant(tenant_id, operator=operator, service=service)


async def test_a_new_tenant_starts_with_the_rates_and_the_plan_of_the_service(tenant: Tenant) -> None:
    rates = (await tenant.service.ListTaxRates(pricing_pb2.ListTaxRatesRequest(country="CH"))).tax_rates
    plans = (await tenant.service.ListFeePlans(pricing_pb2.ListFeePlansRequest())).fee_plans

    assert [(rate.tax_category, rate.effective_from, rate.rate_percent) for rate in rates] == [
        ("accommodation", "2018-01-01", "3.7"),
        ("accommodation", "2024-01-01", "3.8"),
        ("reduced", "2018-01-01", "2.5"),
        ("reduced", "2024-01-01", "2.6"),
        ("standard", "2018-01-01", "7.7"),
        ("standard", "2024-01-01", "8.1"),
    ]
    assert {(rate.revision.number, rate.revision.actor) for rate in rates} == {(1, "seed")}
    assert [(plan.fee_plan_id, plan.percent, plan.revision.number) for plan in plans] == [("default", "15", 1)]


async def test_a_rate_that_was_put_holds_for_the_next_quote(tenant: Tenant) -> None:
    with pytest.raises(aio.AioRpcError):
        await tenant.quote(line(country="ES", tax_behavior=EXCLUSIVE))

    made = await tenant.put(rate())

    assert (made.revision.number, made.revision.actor, made.revision.change_reason) == (1, "anna", "A test")
    assert made.revision.create_time.ToDatetime(UTC) == NOW
    assert (await tenant.quote(line(country="ES", tax_behavior=EXCLUSIVE))).total == chf(11_900)


async def test_a_change_leaves_old_quotes_alone_and_shows_before_and_after(tenant: Tenant) -> None:
    request = order()
    before = await tenant.service.CreateQuote(request)
    swiss = rate(country="CH", effective_from="2024-01-01", rate_percent="8.5")

    await tenant.put(swiss, expected_revision=1)

    assert await tenant.service.CreateQuote(request) == before
    after = await tenant.quote()
    assert (after.lines[0].tax.rate_percent, after.lines[0].tax.rate_revision) == ("8.5", 2)
    trail = await tenant.operator.ListTaxRates(
        pricing_pb2.ListTaxRatesRequest(country="CH", tax_category="standard", all_revisions=True)
    )
    assert [(rate.effective_from, rate.rate_percent, rate.revision.actor) for rate in trail.tax_rates] == [
        ("2018-01-01", "7.7", "seed"),
        ("2024-01-01", "8.1", "seed"),
        ("2024-01-01", "8.5", "anna"),
    ]


async def test_books_of_tenants_are_their_own(tenant: Tenant, pricing: Stub) -> None:
    await tenant.put(rate())

    with pytest.raises(aio.AioRpcError) as refused:
        await pricing.CreateQuote(order(line(country="ES")))

    assert refusal_of(refused.value).reason == "TAX_RATE_UNKNOWN"


async def test_another_replica_never_quotes_from_an_old_book(tenant: Tenant, books: PriceBookStore) -> None:
    """A put leaves the server's copy older than the truth, as another replica's does."""
    await tenant.put(rate())
    for revision, (preview, rate_percent, total_minor) in enumerate([(False, "20", 12_000), (True, "30", 13_000)], 1):
        await tenant.quote(line(country="ES"))
        await tenant.put(rate(rate_percent=rate_percent), expected_revision=revision)
        assert (await books.known(tenant.tenant_id)).revision == revision

        quote = await tenant.quote(line(country="ES", tax_behavior=EXCLUSIVE), preview=preview)

        assert quote.total == chf(total_minor)


async def test_the_same_put_changes_the_book_once(tenant: Tenant) -> None:
    request = put(rate())

    answers = await asyncio.gather(*(tenant.operator.PutTaxRate(request) for _ in range(10)))

    assert {answer.tax_rate.revision.number for answer in answers} == {1}
    with pytest.raises(aio.AioRpcError) as refused:
        await send(tenant.operator, put(rate(rate_percent="7"), request_id=request.request_id))
    assert refusal_of(refused.value).reason == "REQUEST_ID_REUSED"


async def test_of_two_who_change_the_same_revision_one_must_read_again(tenant: Tenant) -> None:
    changes = [put(rate(rate_percent=str(percent))) for percent in range(1, 6)]

    answers = await asyncio.gather(*(tenant.operator.PutTaxRate(change) for change in changes), return_exceptions=True)

    refusals = [refusal_of(answer) for answer in answers if isinstance(answer, aio.AioRpcError)]
    assert len(refusals) == 4
    for refusal in refusals:
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.ABORTED, "REVISION_MISMATCH")
        assert refusal.metadata == {"revision": "1"}


RATES: list[tuple[dict[str, Any], str, str]] = [
    ({"country": ""}, "FIELD_MISSING", "tax_rate.country"),
    ({"country": "Germany"}, "FIELD_INVALID", "tax_rate.country"),
    ({"tax_category": ""}, "FIELD_MISSING", "tax_rate.tax_category"),
    ({"effective_from": ""}, "FIELD_MISSING", "tax_rate.effective_from"),
    ({"effective_from": "1.1.2024"}, "DATE_INVALID", "tax_rate.effective_from"),
    ({"rate_percent": ""}, "FIELD_MISSING", "tax_rate.rate_percent"),
    ({"rate_percent": "19 %"}, "DECIMAL_INVALID", "tax_rate.rate_percent"),
    ({"rate_percent": "19.00001"}, "DECIMAL_PRECISION", "tax_rate.rate_percent"),
    ({"rate_percent": "100.1"}, "PERCENT_OUT_OF_RANGE", "tax_rate.rate_percent"),
    ({"source": ""}, "FIELD_MISSING", "tax_rate.source"),
    ({"source": "x" * 501}, "FIELD_INVALID", "tax_rate.source"),
]
EURO = money_pb2.Money(amount_minor=1, currency_code="EUR")
FRANCS = {"currency_code": "CHF"}


def tier(from_minor: int, **changes: Any) -> price_book_pb2.FeeTier:
    fields: dict[str, Any] = {"from_amount": chf(from_minor), "percent": "5"}
    return price_book_pb2.FeeTier(**(fields | changes))


PLANS: list[tuple[dict[str, Any], str, str]] = [
    ({"fee_plan_id": ""}, "FIELD_MISSING", "fee_plan.fee_plan_id"),
    ({"fee_plan_id": "Über"}, "FIELD_INVALID", "fee_plan.fee_plan_id"),
    ({"seller_id": "a b"}, "FIELD_INVALID", "fee_plan.seller_id"),
    ({"currency_code": "XXX"}, "CURRENCY_UNKNOWN", "fee_plan.currency_code"),
    ({"basis": 99}, "FIELD_INVALID", "fee_plan.basis"),
    ({"percent": ""}, "FIELD_MISSING", "fee_plan.percent"),
    ({"percent": "101"}, "PERCENT_OUT_OF_RANGE", "fee_plan.percent"),
    ({"fixed": chf(-1)} | FRANCS, "AMOUNT_NEGATIVE", "fee_plan.fixed.amount_minor"),
    ({"fixed": EURO} | FRANCS, "CURRENCY_MISMATCH", "fee_plan.fixed.currency_code"),
    ({"minimum": chf(1)}, "CURRENCY_MISMATCH", "fee_plan.minimum.currency_code"),
    ({"minimum": chf(2), "maximum": chf(1)} | FRANCS, "FIELD_INVALID", "fee_plan.maximum.amount_minor"),
    ({"effective_from": None}, "FIELD_MISSING", "fee_plan.effective_from"),
    ({"tiers": [tier(0)]} | FRANCS, "FIELD_INVALID", "fee_plan.tiers"),
    ({"percent": "", "tiers": [tier(1)]} | FRANCS, "TIERS_INVALID", "fee_plan.tiers[0].from_amount"),
    ({"percent": "", "tiers": [tier(0), tier(0)]} | FRANCS, "TIERS_INVALID", "fee_plan.tiers[1].from_amount"),
    ({"percent": "", "tiers": [tier(0, percent="x")]} | FRANCS, "DECIMAL_INVALID", "fee_plan.tiers[0].percent"),
    ({"percent": "", "tiers": [tier(0, from_amount=None)]} | FRANCS, "FIELD_MISSING", "fee_plan.tiers[0].from_amount"),
    ({"percent": "", "tiers": [tier(n) for n in range(21)]} | FRANCS, "FIELD_INVALID", "fee_plan.tiers"),
    ({"fee_vat": price_book_pb2.FeeVat(country="CH")}, "FIELD_MISSING", "fee_plan.fee_vat.tax_behavior"),
    ({"fee_vat": price_book_pb2.FeeVat(tax_behavior=EXCLUSIVE)}, "FIELD_MISSING", "fee_plan.fee_vat.country"),
]

DISCOUNTS: list[tuple[dict[str, Any], str, str]] = [
    ({"discount_id": ""}, "FIELD_MISSING", "discount.discount_id"),
    ({"code": "no way"}, "FIELD_INVALID", "discount.code"),
    ({"direction": 0}, "FIELD_MISSING", "discount.direction"),
    ({"funder": 0}, "FIELD_MISSING", "discount.funder"),
    ({"percent": None}, "FIELD_MISSING", "discount.value"),
    ({"percent": "0"}, "PERCENT_OUT_OF_RANGE", "discount.percent"),
    ({"percent": None, "fixed": chf(100)}, "CURRENCY_MISMATCH", "discount.fixed.currency_code"),
    ({"cap": EURO} | FRANCS, "CURRENCY_MISMATCH", "discount.cap.currency_code"),
    ({"cap": chf(0)} | FRANCS, "FIELD_INVALID", "discount.cap.amount_minor"),
    ({"currency_code": "franc"}, "CURRENCY_UNKNOWN", "discount.currency_code"),
    ({"valid_from": None}, "FIELD_MISSING", "discount.valid_from"),
    ({"valid_from": timestamp_pb2.Timestamp(seconds=2**62)}, "DATE_INVALID", "discount.valid_from"),
    ({"valid_until": instant(NOW)}, "WINDOW_INVALID", "discount.valid_until"),
    ({"minimum_spend": chf(-1)} | FRANCS, "AMOUNT_NEGATIVE", "discount.minimum_spend.amount_minor"),
    ({"uses_max": 0}, "FIELD_INVALID", "discount.uses_max"),
    ({"uses_per_payer_max": 1_000_000_001}, "FIELD_INVALID", "discount.uses_per_payer_max"),
    ({"seller_ids": ["a", "b c"]}, "FIELD_INVALID", "discount.seller_ids[1]"),
    ({"seller_ids": [str(number) for number in range(101)]}, "FIELD_INVALID", "discount.seller_ids"),
    ({"kinds": [99]}, "FIELD_INVALID", "discount.kinds[0]"),
    ({"stacking_order": 1_001}, "FIELD_INVALID", "discount.stacking_order"),
]


@pytest.mark.parametrize(
    ("thing", "reason", "field"),
    [
        *((rate(**changes), reason, field) for changes, reason, field in RATES),
        *((plan(**changes), reason, field) for changes, reason, field in PLANS),
        *((discount(**changes), reason, field) for changes, reason, field in DISCOUNTS),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_an_entry_that_is_wrong_is_refused(tenant: Tenant, thing: Any, reason: str, field: str) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.put(thing)

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason, refusal.field) == (grpc.StatusCode.INVALID_ARGUMENT, reason, field)


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"request_id": ""}, "FIELD_MISSING", "request_id"),
        ({"request_id": "1"}, "FIELD_INVALID", "request_id"),
        ({"expected_revision": -1}, "FIELD_INVALID", "expected_revision"),
        ({"change_reason": ""}, "FIELD_MISSING", "change_reason"),
        ({"change_reason": "x" * 501}, "FIELD_INVALID", "change_reason"),
    ],
)
async def test_a_put_that_is_wrong_is_refused(tenant: Tenant, changes: dict[str, Any], reason: str, field: str) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.put(rate(), **changes)

    refusal = refusal_of(refused.value)
    assert (refusal.reason, refusal.field) == (reason, field)


@pytest.mark.parametrize("role", ["service", "payer", "seller"])
async def test_only_operators_change_the_book(call_as: CallAs, role: str) -> None:
    async with call_as("orchestrator", roles={role}) as stub:
        for thing in (rate(), plan(), discount()):
            with pytest.raises(aio.AioRpcError) as refused:
                await send(stub, put(thing))
            assert refusal_of(refused.value).reason == "PERMISSION_DENIED"


async def test_a_plan_for_a_seller_goes_before_the_default(tenant: Tenant) -> None:
    await tenant.put(
        plan(
            seller_id="seller_1",
            currency_code="CHF",
            fixed=chf(30),
            fee_vat=price_book_pb2.FeeVat(country="CH", tax_behavior=EXCLUSIVE),
        )
    )

    quote = await tenant.quote(line(), line(line_id="b", seller_id="seller_2"))

    special, default = quote.sellers
    assert (special.platform_fee_minor, special.fee_vat_minor, special.seller_share_minor) == (1_030, 83, 8_887)
    assert (default.fee_plan_id, default.platform_fee_minor) == ("default", 1_500)
    fee_rows = [(row.kind, row.amount_minor, row.payer_facing) for row in quote.rows if not row.payer_facing]
    assert fee_rows == [
        (pricing_pb2.ROW_KIND_PLATFORM_FEE, 1_030, False),
        (pricing_pb2.ROW_KIND_PLATFORM_FEE_VAT, 83, False),
        (pricing_pb2.ROW_KIND_PLATFORM_FEE, 1_500, False),
    ]


async def test_whom_a_plan_is_for_never_changes(tenant: Tenant) -> None:
    await tenant.put(plan(seller_id="seller_1"))

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.put(plan(seller_id="seller_2"), expected_revision=1)

    assert refusal_of(refused.value).field == "fee_plan.seller_id"


async def test_without_any_plan_there_is_no_price(tenant: Tenant) -> None:
    await tenant.put(plan(fee_plan_id="default", retired=True), expected_revision=1)

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.quote()

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "FEE_PLAN_UNKNOWN")
    assert refusal.metadata == {"seller_id": "seller_1", "currency_code": "CHF"}


async def test_a_coupon_that_was_put_can_be_used_in_any_case(tenant: Tenant) -> None:
    put_code = (await tenant.put(discount(code="summer-26"))).code

    quote = await tenant.quote(coupon_codes=["Summer-26"])

    assert put_code == "SUMMER-26"
    assert quote.total == chf(9_000)
    (applied,) = quote.adjustments
    assert (applied.adjustment_id, applied.coupon_code, applied.revision, applied.held) == (
        "summer",
        "SUMMER-26",
        1,
        False,
    )
    assert [(share.line_id, share.amount_minor) for share in applied.shares] == [("session", -1_000)]
    assert [row.amount_minor for row in quote.rows if row.kind == pricing_pb2.ROW_KIND_ADJUSTMENT] == [-1_000]
    assert sum(row.amount_minor for row in quote.rows if row.payer_facing and row.included_in_total) == 9_000


async def test_a_code_belongs_to_one_discount(tenant: Tenant) -> None:
    await tenant.put(discount())

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.put(discount(discount_id="winter", code="summer"))

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.ALREADY_EXISTS, "COUPON_CODE_TAKEN")
    assert (await tenant.put(discount(percent="20"), expected_revision=1)).revision.number == 2


COUPONS: list[tuple[dict[str, Any], str]] = [
    ({"valid_from": instant(NOW + timedelta(seconds=1))}, "COUPON_NOT_VALID_NOW"),
    ({"currency_code": "EUR"}, "COUPON_CURRENCY_MISMATCH"),
    ({"minimum_spend": chf(10_001), "currency_code": "CHF"}, "COUPON_MINIMUM_NOT_REACHED"),
    ({"seller_ids": ["seller_2"]}, "COUPON_NOT_APPLICABLE"),
]


@pytest.mark.parametrize(("changes", "reason"), COUPONS)
async def test_a_coupon_that_cannot_be_used_says_why(tenant: Tenant, changes: dict[str, Any], reason: str) -> None:
    await tenant.put(discount(**changes))

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.quote(coupon_codes=["SUMMER"])

    refusal = refusal_of(refused.value)
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, reason)
    assert refusal.field == "coupon_codes[0]"


async def test_coupons_that_do_not_go_together_are_refused(tenant: Tenant) -> None:
    await tenant.put(discount())
    await tenant.put(discount(discount_id="alone", code="ALONE", exclusive=True))

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.quote(coupon_codes=["SUMMER", "ALONE"])

    assert refusal_of(refused.value).reason == "COUPON_NOT_COMBINABLE"


async def test_pages_go_through_a_list_once(tenant: Tenant) -> None:
    seen = []
    token = ""
    while True:
        page = await tenant.service.ListTaxRates(
            pricing_pb2.ListTaxRatesRequest(country="CH", page_size=4, page_token=token)
        )
        seen += [f"{rate.tax_category} {rate.effective_from}" for rate in page.tax_rates]
        if not (token := page.next_page_token):
            break

    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize("token", ["x", "AAAA", "WzFd", "e30=", "bnVsbA==", "W10=" * 400, "ü"])
async def test_a_page_token_of_somebody_else_is_refused(tenant: Tenant, token: str) -> None:
    for call in (
        tenant.service.ListTaxRates(pricing_pb2.ListTaxRatesRequest(page_token=token)),
        tenant.service.ListFeePlans(pricing_pb2.ListFeePlansRequest(page_token=token)),
        tenant.service.ListDiscounts(pricing_pb2.ListDiscountsRequest(page_token=token)),
    ):
        with pytest.raises(aio.AioRpcError) as refused:
            await call
        assert refusal_of(refused.value).reason == "PAGE_TOKEN_INVALID"


async def test_a_page_token_holds_for_its_own_question(tenant: Tenant) -> None:
    page = await tenant.service.ListTaxRates(pricing_pb2.ListTaxRatesRequest(page_size=1))

    with pytest.raises(aio.AioRpcError) as refused:
        await tenant.service.ListTaxRates(
            pricing_pb2.ListTaxRatesRequest(page_token=page.next_page_token, country="CH")
        )

    assert refusal_of(refused.value).reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize(
    ("method", "request_message", "field"),
    [
        ("ListTaxRates", pricing_pb2.ListTaxRatesRequest(country="ch"), "country"),
        ("ListTaxRates", pricing_pb2.ListTaxRatesRequest(tax_category="A"), "tax_category"),
        ("ListTaxRates", pricing_pb2.ListTaxRatesRequest(page_size=-1), "page_size"),
        ("ListFeePlans", pricing_pb2.ListFeePlansRequest(seller_id="\0"), "seller_id"),
        ("ListFeePlans", pricing_pb2.ListFeePlansRequest(page_size=501), "page_size"),
        ("ListDiscounts", pricing_pb2.ListDiscountsRequest(code="!"), "code"),
        ("ListDiscounts", pricing_pb2.ListDiscountsRequest(page_size=501), "page_size"),
    ],
)
async def test_a_filter_that_is_wrong_is_refused(tenant: Tenant, method: str, request_message: Any, field: str) -> None:
    with pytest.raises(aio.AioRpcError) as refused:
        await getattr(tenant.service, method)(request_message)

    refusal = refusal_of(refused.value)
    assert (refusal.reason, refusal.field) == ("FIELD_INVALID", field)


async def test_a_quote_can_be_computed_again_after_the_book_has_changed(
    tenant: Tenant, store: QuoteStore, books: PriceBookStore
) -> None:
    await tenant.put(discount())
    request = order(line(quantity="0.5"), coupon_codes=["SUMMER"])
    made = (await tenant.service.CreateQuote(request)).quote
    await tenant.put(discount(percent="50"), expected_revision=1)
    await tenant.put(rate(country="CH", effective_from="2024-01-01", rate_percent="9"), expected_revision=1)
    key = RequestKey(tenant_id=tenant.tenant_id, caller="orchestrator", request_id=uuid.UUID(request.request_id))
    stored = await store.find_by_request(key)
    assert stored is not None

    book = (await books.at(tenant.tenant_id, revision=stored.book_revision)).book

    assert compute_again(stored, book=book) == made
