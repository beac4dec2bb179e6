"""A shop that sells with coupons, and looks at quotes."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import asyncpg

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from local.databases import ServiceDatabase
from services.runtime.database.connections import plain_dsn
from services.wire import timestamp
from tests.orchestrator.samples import new_id

if TYPE_CHECKING:
    from tests.orchestrator.conftest import Journeys, Orchestrator


@dataclass(frozen=True, slots=True, kw_only=True)
class Coupon:
    """A coupon of ten francs that may be used so many times."""

    code: str
    pricing: PricingServiceStub
    """As the orchestrator calls it."""

    async def uses(self) -> tuple[int, int]:
        """Return how many uses are held and how many redeemed."""
        [one] = (await self.pricing.ListDiscounts(pricing_pb2.ListDiscountsRequest(code=self.code))).discounts
        return one.held_count, one.redeemed_count


class Shop:
    """Sells with coupons, and looks at quotes."""

    def __init__(
        self,
        replica: Orchestrator,
        journeys: Journeys,
        database: ServiceDatabase,
        *,
        pricing: PricingServiceStub,
        operator: PricingServiceStub,
    ) -> None:
        self._operator = operator
        self._database = database
        self.journeys = journeys
        self.orchestrator = journeys.orchestrator
        self.replica = replica
        self.clock = replica.world.clock
        self.pricing = pricing

    async def coupon(self, *, uses_max: int | None = 1, **changes: Any) -> Coupon:
        code = f"C{secrets.token_hex(6)}".upper()
        terms: dict[str, Any] = {"percent": "10", "funder": "FUNDER_SELLER"}
        discount = price_book_pb2.Discount(
            discount_id=code.lower(),
            code=code,
            direction="ADJUSTMENT_DIRECTION_DISCOUNT",
            uses_max=uses_max,
            valid_from=timestamp(datetime.now(UTC) - timedelta(days=1)),
            **(terms | changes),
        )
        await self._operator.PutDiscount(
            pricing_pb2.PutDiscountRequest(request_id=new_id(), discount=discount, change_reason="A test")
        )
        return Coupon(code=code, pricing=self.pricing)

    async def started(self, coupon: Coupon, **changes: Any) -> str:
        return await self.journeys.started(coupon_codes=[coupon.code], **changes)

    async def paid(self) -> str:
        """Return a payment that was paid with a coupon of its own."""
        return await self.journeys.paid(coupon_codes=[(await self.coupon()).code])

    async def quote_state(self, payment_id: str) -> str:
        quote_id = (await self.journeys.plan(payment_id)).quote_id
        answer = await self.pricing.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote_id))
        return pricing_pb2.QuoteState.Name(answer.state).removeprefix("QUOTE_STATE_")

    async def outbox(self, payment_id: str) -> list[asyncpg.Record]:
        """Return what pricing has not heard yet."""
        async with connected(self._database) as connection:
            rows = await connection.fetch("SELECT * FROM quote_outbox WHERE payment_id = $1", payment_id)
        return list(rows)

    async def change_outbox(self, payment_id: str, assignment: str) -> None:
        async with connected(self._database) as connection:
            await connection.execute(f"UPDATE quote_outbox SET {assignment} WHERE payment_id = $1", payment_id)

    async def pay_late(self, payment_id: str) -> None:
        """Let the money arrive at Stripe, and the gateway tell of it."""
        [intent] = await self.journeys.intents(payment_id)
        await self.journeys.stripe.succeed(intent["id"])
        await self.journeys.deliver(await self.journeys.synced(payment_id))


@asynccontextmanager
async def connected(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    try:
        yield connection
    finally:
        await connection.close()
