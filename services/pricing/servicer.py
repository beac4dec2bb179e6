"""The gRPC face of pricing: read the request, price it, keep it, answer. Roles are checked before a call comes here."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime

from grpc import aio

from batzen.pricing.v1 import pricing_pb2, pricing_pb2_grpc
from services.errors import FieldMissing, RequestIdReused, ServiceError
from services.runtime.calls import current_caller, current_tenant

from .domain.book import PriceBook
from .domain.errors import QuoteNotFound
from .domain.pipeline import price_cart
from .fields import read_request_id
from .reading import QuoteOrder, read_create_quote
from .store import QuoteStore, RequestKey, StoredQuote
from .writing import write_quote

_QUOTE_ID = re.compile(r"quote_[0-9a-f]{32}")


class PricingServicer(pricing_pb2_grpc.PricingServiceServicer):
    """Prices carts from one book and keeps the quotes. The RPCs that are not here answer UNIMPLEMENTED."""

    def __init__(
        self, store: QuoteStore, *, book: PriceBook, currencies: Mapping[str, int], now: Callable[[], datetime]
    ) -> None:
        """Price from `book`, in the `currencies` (digits by code), at the instants that `now` tells, in UTC."""
        self._store = store
        self._book = book
        self._currencies = currencies
        self._now = now

    async def CreateQuote(
        self,
        request: pricing_pb2.CreateQuoteRequest,
        context: aio.ServicerContext[pricing_pb2.CreateQuoteRequest, Awaitable[pricing_pb2.CreateQuoteResponse]],
    ) -> pricing_pb2.CreateQuoteResponse:
        now = self._now()
        try:
            order = read_create_quote(request, currencies=self._currencies, now=now)
            quote = self._price(order, now=now)
        except ServiceError:
            # The price book may have changed since this very request was answered: its quote stands.
            if (earlier := await self._find_earlier(request)) is not None:
                return earlier
            raise
        if order.request_id is None or order.preview:
            return pricing_pb2.CreateQuoteResponse(quote=quote)
        kept = await self._store.keep(
            StoredQuote(
                quote_id=quote.quote_id,
                request=request.SerializeToString(deterministic=True),
                quote=quote.SerializeToString(deterministic=True),
                create_time=now,
                expire_time=now + order.ttl,
            ),
            key=_key(order.request_id),
        )
        if kept.quote_id == quote.quote_id:
            return pricing_pb2.CreateQuoteResponse(quote=quote)
        if not _same_body(kept, request):
            raise RequestIdReused(field="request_id")
        return pricing_pb2.CreateQuoteResponse(quote=pricing_pb2.Quote.FromString(kept.quote))

    async def GetQuote(
        self,
        request: pricing_pb2.GetQuoteRequest,
        context: aio.ServicerContext[pricing_pb2.GetQuoteRequest, Awaitable[pricing_pb2.GetQuoteResponse]],
    ) -> pricing_pb2.GetQuoteResponse:
        if not request.quote_id:
            raise FieldMissing(field="quote_id")
        if _QUOTE_ID.fullmatch(request.quote_id) is None:  # none of ours, and PostgreSQL takes no NUL
            raise QuoteNotFound
        stored = await self._store.get(request.quote_id, tenant_id=current_tenant())
        is_open = self._now() < stored.expire_time
        return pricing_pb2.GetQuoteResponse(
            quote=pricing_pb2.Quote.FromString(stored.quote),
            state=pricing_pb2.QUOTE_STATE_OPEN if is_open else pricing_pb2.QUOTE_STATE_EXPIRED,
        )

    def _price(self, order: QuoteOrder, *, now: datetime) -> pricing_pb2.Quote:
        return write_quote(
            price_cart(order.cart, book=self._book),
            cart=order.cart,
            quote_id="" if order.preview else f"quote_{uuid.uuid4().hex}",
            create_time=now,
            expire_time=None if order.preview else now + order.ttl,
        )

    async def _find_earlier(self, request: pricing_pb2.CreateQuoteRequest) -> pricing_pb2.CreateQuoteResponse | None:
        try:
            key = _key(read_request_id(request.request_id))
        except ServiceError:
            return None
        stored = await self._store.find_by_request(key)
        if stored is None or not _same_body(stored, request):
            return None
        return pricing_pb2.CreateQuoteResponse(quote=pricing_pb2.Quote.FromString(stored.quote))


def _key(request_id: uuid.UUID) -> RequestKey:
    caller = current_caller()
    return RequestKey(tenant_id=caller.tenant_id, caller=caller.subject, request_id=request_id)


def _same_body(stored: StoredQuote, request: pricing_pb2.CreateQuoteRequest) -> bool:
    """Compare what is set, not how it was written; a UUID means the same in either case."""
    first = pricing_pb2.CreateQuoteRequest.FromString(stored.request)
    first.request_id = request.request_id
    return first == request
