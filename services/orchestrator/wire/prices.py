"""Reads what a quote says of a payment, and asks for another one of the same."""

from __future__ import annotations

from batzen.pricing.v1 import pricing_pb2
from services import wire
from services.orchestrator.domain import split
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.price import Price
from services.orchestrator.domain.split import PaymentPart


def price(quote: pricing_pb2.Quote) -> Price:
    """Return what a quote says."""
    parts = [
        PaymentPart(seller_id=seller.seller_id, gross_minor=seller.gross_minor, fee_minor=seller.platform_share_minor)
        for seller in quote.sellers
    ]
    return Price(
        quote_id=quote.quote_id,
        currency_code=quote.currency_code,
        total_minor=quote.total.amount_minor,
        parts=split.with_total(parts, quote.total.amount_minor),
        holds_uses=any(adjustment.held for adjustment in quote.adjustments),
        expire_time=wire.instant(quote, "expire_time"),
    )


def quote_request(first: bytes, payment_id: str, *, number: int) -> bytes:
    """Return what asks for the quote of this number of a payment: the same lines, under an id of its own."""
    request = pricing_pb2.CreateQuoteRequest.FromString(first)
    request.request_id = str(derived_id(payment_id, f"step:quote:{number}"))
    return request.SerializeToString()
