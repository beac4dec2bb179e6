"""The RPCs that keep the price book: List… for readers of prices, Put… for operators."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from grpc import aio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from batzen.pricing.v1 import price_book_pb2, pricing_pb2, pricing_pb2_grpc
from services.errors import FieldInvalid
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import RevisionMismatch
from services.pricing.domain.line import COUNTRY, OPAQUE_ID, TAX_CATEGORY, require_match
from services.pricing.drafting import as_put, refuse_other_scope, refuse_taken_code, within
from services.pricing.storage.idempotency import Request, answer_once
from services.pricing.storage.price_books import LoadedBook, PriceBookStore
from services.pricing.storage.uses import Uses
from services.pricing.wire.entries import (
    Entry,
    EntryKind,
    read_discount,
    read_fee_plan,
    read_tax_rate,
    require_text,
    tax_rate_id,
)
from services.pricing.wire.paging import Key, page_of
from services.pricing.wire.requests import COUPON_CODE
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc.call_context import current_caller, current_tenant
from services.shared import fields

if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]

CHANGE_REASON_CHARACTERS_MAX: Final = 500

M = TypeVar("M", price_book_pb2.TaxRate, price_book_pb2.FeePlan, price_book_pb2.Discount)
PutRequest = pricing_pb2.PutTaxRateRequest | pricing_pb2.PutFeePlanRequest | pricing_pb2.PutDiscountRequest
Check = Callable[[LoadedBook], None]
"""Raises if a new revision does not go with the rest of the book."""


class PriceBookRpcs(pricing_pb2_grpc.PricingServiceServicer):
    """Lists and changes the price books of the tenants."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        books: PriceBookStore,
        uses: Uses,
        currencies: Mapping[str, Currency],
        now: Callable[[], datetime],
    ) -> None:
        self._engine = engine
        self._price_books = books
        self._uses = uses
        self._currencies = currencies
        self._now = now

    async def ListTaxRates(
        self, request: pricing_pb2.ListTaxRatesRequest, context: Context
    ) -> pricing_pb2.ListTaxRatesResponse:
        _check_filter(request.country, field="country", pattern=COUNTRY)
        _check_filter(request.tax_category, field="tax_category", pattern=TAX_CATEGORY)
        loaded = await self._price_books.fresh(current_tenant())
        page, token = page_of(
            [
                (key, rate)
                for key, rate in _listed(loaded, EntryKind.TAX_RATE, price_book_pb2.TaxRate, request.all_revisions)
                if request.country in ("", rate.country) and request.tax_category in ("", rate.tax_category)
            ],
            question=("ListTaxRates", request.country, request.tax_category, request.all_revisions),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pricing_pb2.ListTaxRatesResponse(tax_rates=page, next_page_token=token)

    async def PutTaxRate(
        self, request: pricing_pb2.PutTaxRateRequest, context: Context
    ) -> pricing_pb2.PutTaxRateResponse:
        with within("tax_rate"):
            read_tax_rate(request.tax_rate, revision=0)
        rate = await self._put(
            request, request.tax_rate, kind=EntryKind.TAX_RATE, entry_id=tax_rate_id(request.tax_rate)
        )
        return pricing_pb2.PutTaxRateResponse(tax_rate=rate)

    async def ListFeePlans(
        self, request: pricing_pb2.ListFeePlansRequest, context: Context
    ) -> pricing_pb2.ListFeePlansResponse:
        _check_filter(request.seller_id, field="seller_id", pattern=OPAQUE_ID)
        loaded = await self._price_books.fresh(current_tenant())
        page, token = page_of(
            [
                (key, plan)
                for key, plan in _listed(loaded, EntryKind.FEE_PLAN, price_book_pb2.FeePlan, request.all_revisions)
                if request.seller_id in ("", plan.seller_id)
            ],
            question=("ListFeePlans", request.seller_id, request.all_revisions),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return pricing_pb2.ListFeePlansResponse(fee_plans=page, next_page_token=token)

    async def PutFeePlan(
        self, request: pricing_pb2.PutFeePlanRequest, context: Context
    ) -> pricing_pb2.PutFeePlanResponse:
        plan = request.fee_plan
        with within("fee_plan"):
            read_fee_plan(plan, revision=0, currencies=self._currencies)

        def keeps_its_scope(loaded: LoadedBook) -> None:
            with within("fee_plan"):
                refuse_other_scope(plan, loaded)

        put = await self._put(request, plan, kind=EntryKind.FEE_PLAN, entry_id=plan.fee_plan_id, check=keeps_its_scope)
        return pricing_pb2.PutFeePlanResponse(fee_plan=put)

    async def ListDiscounts(
        self, request: pricing_pb2.ListDiscountsRequest, context: Context
    ) -> pricing_pb2.ListDiscountsResponse:
        code = request.code.upper()
        _check_filter(code, field="code", pattern=COUPON_CODE)
        loaded = await self._price_books.fresh(current_tenant())
        page, token = page_of(
            [
                (key, discount)
                for key, discount in _listed(loaded, EntryKind.DISCOUNT, price_book_pb2.Discount, request.all_revisions)
                if code in ("", discount.code)
            ],
            question=("ListDiscounts", code, request.all_revisions),
            page_size=request.page_size,
            page_token=request.page_token,
        )
        counts = await self._uses.counts(
            [discount.discount_id for discount in page], tenant_id=current_tenant(), now=self._now()
        )
        for discount in page:
            discount.held_count, discount.redeemed_count = counts.get(discount.discount_id, (0, 0))
        return pricing_pb2.ListDiscountsResponse(discounts=page, next_page_token=token)

    async def PutDiscount(
        self, request: pricing_pb2.PutDiscountRequest, context: Context
    ) -> pricing_pb2.PutDiscountResponse:
        discount = as_put(request.discount)
        with within("discount"):
            read_discount(discount, revision=0, currencies=self._currencies)

        def has_a_code_of_its_own(loaded: LoadedBook) -> None:
            with within("discount"):
                refuse_taken_code(discount, loaded)

        put = await self._put(
            request, discount, kind=EntryKind.DISCOUNT, entry_id=discount.discount_id, check=has_a_code_of_its_own
        )
        return pricing_pb2.PutDiscountResponse(discount=put)

    async def _put(
        self, request: PutRequest, message: M, *, kind: EntryKind, entry_id: str, check: Check | None = None
    ) -> M:
        """Add the next revision of an entry, once for each request, and return it with what is output only."""
        request_id = fields.request_id(request.request_id)
        if request.expected_revision < 0:
            raise FieldInvalid(field="expected_revision", detail="must be at least 0")
        require_text(request.change_reason, field="change_reason", characters_max=CHANGE_REASON_CHARACTERS_MAX)
        caller, now = current_caller(), self._now()
        content = type(message)()
        content.CopyFrom(message)
        content.ClearField("revision")

        async def act(connection: AsyncConnection) -> bytes:
            loaded = await self._price_books.locked(connection, caller.tenant_id)
            before = loaded.current(kind, entry_id)
            revision = before.revision if before else 0
            if revision != request.expected_revision:
                raise RevisionMismatch(field="expected_revision", revision=revision)
            if check is not None:
                check(loaded)
            entry = Entry(
                kind=kind,
                entry_id=entry_id,
                revision=revision + 1,
                book_revision=loaded.revision + 1,
                message=content.SerializeToString(deterministic=True),
                actor=caller.subject,
                change_reason=request.change_reason,
                create_time=now,
            )
            await self._price_books.add(connection, caller.tenant_id, entry)
            return _with_revision(entry, type(message)).SerializeToString(deterministic=True)

        answer = await answer_once(
            self._engine,
            "put_price_book.keep",
            request=Request(
                tenant_id=caller.tenant_id,
                caller=caller.subject,
                method=type(request).DESCRIPTOR.name.removesuffix("Request"),
                request_id=request_id,
                request_hash=request_hash(request),
            ),
            now=now,
            act=act,
        )
        return type(message).FromString(answer)


def _listed(loaded: LoadedBook, kind: EntryKind, of: type[M], everything: bool) -> list[tuple[Key, M]]:
    """Return the entries of a kind by their keys: every revision, or the newest of each."""
    entries = sorted(
        (entry for entry in loaded.entries if entry.kind is kind), key=lambda entry: (entry.entry_id, entry.revision)
    )
    if not everything:
        entries = list({entry.entry_id: entry for entry in entries}.values())
    return [((entry.entry_id, entry.revision), _with_revision(entry, of)) for entry in entries]


def _with_revision(entry: Entry, of: type[M]) -> M:
    message = of.FromString(entry.message)
    message.revision.number = entry.revision
    message.revision.actor = entry.actor
    message.revision.change_reason = entry.change_reason
    message.revision.create_time.FromDatetime(entry.create_time)
    return message


def _check_filter(text: str, *, field: str, pattern: re.Pattern[str]) -> None:
    if text:
        require_match(text, pattern=pattern, field=field)
