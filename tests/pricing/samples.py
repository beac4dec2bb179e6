"""Carts and callers that the tests of pricing share."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import grpc
from grpc import aio

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from batzen.type.v1 import money_pb2
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import Rounding
from services.pricing.domain.line import CartLine, LineKind, TaxBehavior, TaxTreatment, VatLiability
from services.pricing.domain.price import Price, SellerTotal
from services.pricing.seed import load_currencies, load_entries
from services.pricing.wire.entries import to_price_book
from tests.refusals import details_of

CURRENCIES = load_currencies()
BOOK = to_price_book(load_entries(), currencies=CURRENCIES)
"""What every tenant starts with."""
STEPS = sorted({currency.step_minor for currency in CURRENCIES.values()})

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SELLER_AMOUNTS = [name for name in SellerTotal._fields if name.endswith("_minor")]
INCLUSIVE = price_book_pb2.TAX_BEHAVIOR_INCLUSIVE
EXCLUSIVE = price_book_pb2.TAX_BEHAVIOR_EXCLUSIVE


class Clock:
    """Tells the time that a test sets."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """What a caller learns from a refusal."""

    code: grpc.StatusCode
    reason: str
    field: str | None
    metadata: dict[str, str]


def chf(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="CHF")


def line(**changes: Any) -> pricing_pb2.Line:
    """Return one session of CHF 100.00, VAT included, with some fields changed."""
    fields: dict[str, Any] = {
        "line_id": "session",
        "seller_id": "seller_1",
        "kind": price_book_pb2.LINE_KIND_SESSION,
        "quantity": "1",
        "unit_amount": chf(10_000),
    }
    return pricing_pb2.Line(**(fields | changes))


def order(*lines: pricing_pb2.Line, **changes: Any) -> pricing_pb2.CreateQuoteRequest:
    """Return a request for a quote, of one session unless lines are given, with an id of its own."""
    fields: dict[str, Any] = {"request_id": str(uuid.uuid4()), "lines": lines or [line()], "payer_id": "payer_1"}
    return pricing_pb2.CreateQuoteRequest(**(fields | changes))


def cart_line(**changes: Any) -> CartLine:
    """Return what `line` is in the domain."""
    fields: dict[str, Any] = {
        "line_id": "session",
        "seller_id": "seller_1",
        "kind": LineKind.SESSION,
        "quantity": Decimal(1),
        "unit_amount_minor": 10_000,
        "currency_code": "CHF",
        "tax_category": "standard",
        "country": "CH",
        "tax_behavior": TaxBehavior.INCLUSIVE,
        "tax_treatment": TaxTreatment.TAXABLE,
        "tax_treatment_reason": "",
        "vat_liability": VatLiability.SELLER,
        "tax_date": date(2026, 11, 20),
    }
    return CartLine(**(fields | changes))


def cart(*lines: CartLine, rounding: Rounding | None = None, **changes: Any) -> Cart:
    """Return a cart of one session unless lines are given, at NOW."""
    fields: dict[str, Any] = {
        "lines": lines or (cart_line(),),
        "payer_id": "payer_1",
        "as_of": NOW,
        "fee_date": NOW.date(),
        "rounding": rounding or Rounding(),
    }
    return Cart(**(fields | changes))


def rounding_of(currency_code: str) -> Rounding:
    """Return how amounts of a currency are rounded unless a request says otherwise."""
    return Rounding(step_minor=CURRENCIES[currency_code].step_minor)


def amounts_of(price: Price) -> list[int]:
    """Return every amount that a price holds."""
    columns = (price.list_minor, price.base_minor, price.seller_base_minor, price.net_minor, price.vat_minor)
    adjusted = [amount for applied in price.adjustments for amount in (applied.amount_minor, *applied.shares.values())]
    of_sellers = [
        amount
        for seller in price.sellers
        for amount in (*(getattr(seller, name) for name in SELLER_AMOUNTS), seller.platform_share_minor)
    ]
    return [
        *(amount for column in (*columns, price.gross_minor) for amount in column),
        *adjusted,
        *of_sellers,
        *(row.amount_minor for row in price.rows),
        *(amount for _, amount in price.contributions),
        price.total_minor,
    ]


def refusal_of(error: aio.AioRpcError) -> Refusal:
    """Read a refusal as a caller would."""
    details = details_of(error)
    return Refusal(
        code=error.code(),
        reason=details.reason,
        field=details.field or None,
        metadata=details.metadata,
    )
