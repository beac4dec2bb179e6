"""Makes quotes: prices a cart from the current book, holds uses of limited discounts, keeps the quote once."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from batzen.pricing.v1 import pricing_pb2
from services.errors import (
    DependencyUnavailable,
    FailedPrecondition,
    InvalidRequest,
    RequestIdReused,
    ServiceError,
)
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import CouponExhausted, CouponPayerLimit, QuoteTooLarge
from services.pricing.domain.pipeline import price_cart
from services.pricing.domain.price import Price
from services.pricing.domain.terms import Discount
from services.pricing.drafting import after_drafts, read_drafts
from services.pricing.metrics import UNCOUNTED, PricingMetrics
from services.pricing.storage.price_books import LoadedBook, PriceBookStore
from services.pricing.storage.store import QuoteStore, RequestKey, StoredQuote
from services.pricing.storage.uses import Holder, NoUseLeft, Uses
from services.pricing.wire.requests import QuoteOrder, read_create_quote
from services.pricing.wire.responses import write_quote
from services.runtime.rpc.call_context import current_caller, current_tenant
from services.shared import fields

TRIES_MAX: Final = 20
"""Each is lost to a change of the price book, or to a discount that has just run out."""

QUOTE_BYTES_MAX: Final = (4 * 1024 - 64) * 1024
"""What a gRPC client takes unless told otherwise, less room for what stands around a quote in an answer. A larger one
could be kept and never be read."""

HOLDS_MAX: Final = 4
"""Quotes that take uses at once: those of one coupon wait for each other anyway, and must not use up connections."""


class QuoteService:
    """Prices carts and keeps the quotes."""

    def __init__(
        self,
        store: QuoteStore,
        *,
        uses: Uses,
        books: PriceBookStore,
        currencies: Mapping[str, Currency],
        now: Callable[[], datetime],
        metrics: PricingMetrics = UNCOUNTED,
    ) -> None:
        """Price in the `currencies`, by code, at the instants that `now` tells, in UTC."""
        self._store = store
        self._uses = uses
        self._price_books = books
        self._currencies = currencies
        self._now = now
        self._metrics = metrics
        self._room_to_hold = asyncio.Semaphore(HOLDS_MAX)

    async def create(self, request: pricing_pb2.CreateQuoteRequest) -> pricing_pb2.Quote:
        """Return the quote of a request: a new one, or the one that this very request has made before.

        Raises what reading and pricing raise, `CouponExhausted`, `CouponPayerLimit`, `QuoteTooLarge` and
        `RequestIdReused`.
        """
        try:
            return await self._create(request)
        except (InvalidRequest, FailedPrecondition):
            # The price book may have changed since this very request was answered: its quote stands.
            if (earlier := await self._find_earlier(request)) is not None:
                return earlier
            raise

    async def _create(self, request: pricing_pb2.CreateQuoteRequest) -> pricing_pb2.Quote:
        now, tenant_id = self._now(), current_tenant()
        order = read_create_quote(request, currencies=self._currencies, now=now, platform_id=tenant_id)
        drafts = read_drafts(request, currencies=self._currencies)

        async def fresh() -> LoadedBook:
            book = await self._price_books.fresh(tenant_id)
            return after_drafts(book, drafts, currencies=self._currencies, now=now)

        # A preview is not kept, so nothing would tell that it was made from an old book.
        loaded = await (fresh() if order.preview else self._price_books.known(tenant_id))
        excluded_discounts: tuple[str, ...] = ()
        for _ in range(TRIES_MAX):
            try:
                price = price_cart(order.cart, book=loaded.book.without(excluded_discounts))
            except ServiceError:
                newer = await fresh()
                if newer.revision == loaded.revision:
                    raise
                loaded = newer
                continue
            try:
                quote = await self._settle(request, order, price, loaded=loaded, excluded_discounts=excluded_discounts)
            except NoUseLeft as full:
                if full.discount.code:
                    raise _refusal(full, order) from full
                excluded_discounts = (*excluded_discounts, full.discount.discount_id)
                continue
            if quote is not None:
                return quote
            loaded = await fresh()
        raise DependencyUnavailable(dependency="price book")

    async def _settle(
        self,
        request: pricing_pb2.CreateQuoteRequest,
        order: QuoteOrder,
        price: Price,
        *,
        loaded: LoadedBook,
        excluded_discounts: tuple[str, ...],
    ) -> pricing_pb2.Quote | None:
        """Keep the quote unless it is a preview; None: the price book has changed meanwhile. Raises `NoUseLeft`."""
        now, cart = order.cart.as_of, order.cart
        limited = _limited(price)
        if order.request_id is None or order.preview:
            await self._uses.check(limited, tenant_id=current_tenant(), payer_id=cart.payer_id, now=now)
            preview = write_quote(
                price, cart=cart, quote_id="", create_time=now, expire_time=None, formats=order.formats
            )
            _refuse_too_large(preview)
            return preview
        expire_time = now + order.ttl
        quote_id = f"quote_{uuid.uuid4().hex}"
        quote = write_quote(
            price, cart=cart, quote_id=quote_id, create_time=now, expire_time=expire_time, formats=order.formats
        )
        _refuse_too_large(quote)
        kept = await self._keep(
            StoredQuote(
                quote_id=quote_id,
                request=request.SerializeToString(deterministic=True),
                quote=quote.SerializeToString(deterministic=True),
                create_time=now,
                expire_time=expire_time,
                book_revision=loaded.revision,
                excluded_discounts=excluded_discounts,
            ),
            key=_key(order.request_id),
            limited=limited,
            payer_id=cart.payer_id,
        )
        if kept is None:
            return None
        if kept.quote_id == quote_id:
            self._metrics.created()
            return quote
        if not _same_body(kept, request):
            raise RequestIdReused(field="request_id")
        return pricing_pb2.Quote.FromString(kept.quote)

    async def _keep(
        self, quote: StoredQuote, *, key: RequestKey, limited: Sequence[Discount], payer_id: str
    ) -> StoredQuote | None:
        if not limited:
            return await self._store.keep(quote, key=key)
        holder = Holder(
            tenant_id=key.tenant_id, quote_id=quote.quote_id, payer_id=payer_id, expire_time=quote.expire_time
        )
        async with self._room_to_hold:
            # Once a coupon has run out, the many who still try it are told so without waiting for its lock.
            await self._uses.check(limited, tenant_id=key.tenant_id, payer_id=payer_id, now=quote.create_time)
            return await self._store.keep_holding(
                quote,
                key=key,
                hold=lambda connection: self._uses.hold(connection, limited, holder=holder, now=quote.create_time),
            )

    async def _find_earlier(self, request: pricing_pb2.CreateQuoteRequest) -> pricing_pb2.Quote | None:
        try:
            key = _key(fields.request_id(request.request_id))
        except ServiceError:
            return None
        stored = await self._store.find_by_request(key)
        if stored is None or not _same_body(stored, request):
            return None
        return pricing_pb2.Quote.FromString(stored.quote)


def _refuse_too_large(quote: pricing_pb2.Quote) -> None:
    if quote.ByteSize() > QUOTE_BYTES_MAX:
        raise QuoteTooLarge(bytes_max=QUOTE_BYTES_MAX)


def _limited(price: Price) -> list[Discount]:
    discounts = (applied.discount for applied in price.adjustments)
    return [discount for discount in discounts if discount is not None and discount.limited]


def _refusal(full: NoUseLeft, order: QuoteOrder) -> ServiceError:
    field = f"coupon_codes[{order.cart.coupon_codes.index(full.discount.code)}]"
    return CouponPayerLimit(field=field) if full.of_payer else CouponExhausted(field=field)


def _key(request_id: uuid.UUID) -> RequestKey:
    caller = current_caller()
    return RequestKey(tenant_id=caller.tenant_id, caller=caller.subject, request_id=request_id)


def _same_body(stored: StoredQuote, request: pricing_pb2.CreateQuoteRequest) -> bool:
    """Compare what is set, not how it was written; a UUID means the same in either case."""
    first = pricing_pb2.CreateQuoteRequest.FromString(stored.request)
    first.request_id = request.request_id
    return first == request
