"""The RPCs of pricing. Roles are checked before a call comes here."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from grpc import aio
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from batzen.pricing.v1 import pricing_pb2
from services.errors import FieldMissing
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import QuoteNotFound
from services.pricing.metrics import UNCOUNTED, PricingMetrics
from services.pricing.price_book_rpcs import PriceBookRpcs
from services.pricing.quote_service import QuoteService
from services.pricing.storage.idempotency import Request, answer_once
from services.pricing.storage.price_books import PriceBookStore
from services.pricing.storage.store import QuoteStore, StoredQuote
from services.pricing.storage.uses import EXPIRED, OPEN, REDEEMED, RELEASED, Uses
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc.call_context import current_caller, current_tenant
from services.shared import fields

Change = pricing_pb2.RedeemQuoteRequest | pricing_pb2.ReleaseQuoteRequest

if TYPE_CHECKING:
    Context = aio.ServicerContext[Any, Any]

STATES: Final = {
    OPEN: pricing_pb2.QUOTE_STATE_OPEN,
    REDEEMED: pricing_pb2.QUOTE_STATE_REDEEMED,
    RELEASED: pricing_pb2.QUOTE_STATE_RELEASED,
    EXPIRED: pricing_pb2.QUOTE_STATE_EXPIRED,
}

_QUOTE_ID = re.compile(r"quote_[0-9a-f]{32}")


class PricingServicer(PriceBookRpcs):
    """Makes, reads, redeems and releases quotes; what it inherits keeps the price book."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        store: QuoteStore,
        books: PriceBookStore,
        currencies: Mapping[str, Currency],
        now: Callable[[], datetime],
        metrics: PricingMetrics = UNCOUNTED,
    ) -> None:
        uses = Uses(engine, metrics=metrics)
        super().__init__(engine, books=books, uses=uses, currencies=currencies, now=now)
        self._store = store
        self._quote_service = QuoteService(
            store, uses=uses, books=books, currencies=currencies, now=now, metrics=metrics
        )

    async def CreateQuote(
        self, request: pricing_pb2.CreateQuoteRequest, context: Context
    ) -> pricing_pb2.CreateQuoteResponse:
        return pricing_pb2.CreateQuoteResponse(quote=await self._quote_service.create(request))

    async def GetQuote(self, request: pricing_pb2.GetQuoteRequest, context: Context) -> pricing_pb2.GetQuoteResponse:
        stored = await self._find(request.quote_id)
        outcome = await self._uses.outcome(tenant_id=current_tenant(), quote_id=stored.quote_id)
        is_over = outcome.state == OPEN and self._now() >= stored.expire_time
        return pricing_pb2.GetQuoteResponse(
            quote=pricing_pb2.Quote.FromString(stored.quote), state=STATES[EXPIRED if is_over else outcome.state]
        )

    async def RedeemQuote(
        self, request: pricing_pb2.RedeemQuoteRequest, context: Context
    ) -> pricing_pb2.RedeemQuoteResponse:
        asked = _asked(request)
        answer = pricing_pb2.RedeemQuoteResponse(state=pricing_pb2.QUOTE_STATE_REDEEMED)
        quote = await self._store.redeem_unlimited(
            _quote_id(request.quote_id), request=asked, answer=answer.SerializeToString(), now=self._now()
        )
        if quote is not None:
            answer.quote.ParseFromString(quote)
            return answer

        async def redeem(connection: AsyncConnection, stored: StoredQuote) -> bytes:
            outcome = await self._uses.redeem(
                connection, tenant_id=asked.tenant_id, quote_id=stored.quote_id, now=self._now()
            )
            return pricing_pb2.RedeemQuoteResponse(
                state=STATES[outcome.state], over_limit=outcome.over_limit
            ).SerializeToString()

        stored, kept = await self._change(request, asked, "redeem_quote.keep", redeem)
        answer = pricing_pb2.RedeemQuoteResponse.FromString(kept)
        answer.quote.ParseFromString(stored.quote)
        return answer

    async def ReleaseQuote(
        self, request: pricing_pb2.ReleaseQuoteRequest, context: Context
    ) -> pricing_pb2.ReleaseQuoteResponse:
        asked = _asked(request)

        async def release(connection: AsyncConnection, stored: StoredQuote) -> bytes:
            state = await self._uses.release(
                connection,
                tenant_id=asked.tenant_id,
                quote_id=stored.quote_id,
                expire_time=stored.expire_time,
                now=self._now(),
            )
            return pricing_pb2.ReleaseQuoteResponse(state=STATES[state]).SerializeToString()

        stored, kept = await self._change(request, asked, "release_quote.keep", release)
        answer = pricing_pb2.ReleaseQuoteResponse.FromString(kept)
        answer.quote.ParseFromString(stored.quote)
        return answer

    async def _change(
        self,
        request: Change,
        asked: Request,
        point: str,
        act: Callable[[AsyncConnection, StoredQuote], Awaitable[bytes]],
    ) -> tuple[StoredQuote, bytes]:
        """Do what is asked for a quote once, and return the quote and the answer, which is kept without it."""
        stored = await self._find(request.quote_id)
        kept = await answer_once(
            self._engine, point, request=asked, now=self._now(), act=lambda connection: act(connection, stored)
        )
        return stored, kept

    async def _find(self, quote_id: str) -> StoredQuote:
        return await self._store.get(_quote_id(quote_id), tenant_id=current_tenant())


def _asked(request: Change) -> Request:
    """Tell the request apart from every other."""
    caller = current_caller()
    return Request(
        tenant_id=caller.tenant_id,
        caller=caller.subject,
        method=request.DESCRIPTOR.name.removesuffix("Request"),
        request_id=fields.request_id(request.request_id),
        request_hash=request_hash(request),
    )


def _quote_id(quote_id: str) -> str:
    if not quote_id:
        raise FieldMissing(field="quote_id")
    if _QUOTE_ID.fullmatch(quote_id) is None:  # none of ours, and PostgreSQL takes no NUL
        raise QuoteNotFound
    return quote_id
