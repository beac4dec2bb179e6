"""Reads what a quote says of a payment, and asks for another one of the same."""

from __future__ import annotations

from typing import Final

from batzen.pricing.v1 import pricing_pb2
from services import wire
from services.orchestrator.domain.checkout_lines import PriceRow, RowKind
from services.orchestrator.domain.payment import derived_id
from services.orchestrator.domain.price import Price
from services.orchestrator.domain.stripe_metadata import LineTotal
from services.shared.split import LinePart, Split, with_total

_KINDS: Final = {
    pricing_pb2.ROW_KIND_LINE: RowKind.LINE,
    pricing_pb2.ROW_KIND_ADJUSTMENT: RowKind.ADJUSTMENT,
    pricing_pb2.ROW_KIND_VAT: RowKind.VAT,
}


def price(quote: pricing_pb2.Quote) -> Price:
    """Return what a quote says."""
    shown = rows(quote)
    vat = [row for row in shown if row.kind is RowKind.VAT]
    adjusted_minor = sum(row.amount_minor for row in shown if row.kind is RowKind.ADJUSTMENT)
    return Price(
        quote_id=quote.quote_id,
        currency_code=quote.currency_code,
        total_minor=quote.total.amount_minor,
        split=with_total(_split(quote), quote.total.amount_minor),
        holds_uses=any(adjustment.held for adjustment in quote.adjustments),
        expire_time=wire.instant(quote, "expire_time"),
        vat_minor=sum(row.amount_minor for row in vat),
        vat_rate=",".join(dict.fromkeys(row.rate_percent for row in vat if row.rate_percent)),
        original_minor=quote.total.amount_minor - adjusted_minor,
    )


def _split(quote: pricing_pb2.Quote) -> Split:
    """Return who gets what of each line. Of the platform's own goods no fee plan was used."""
    of_platform = {seller.seller_id for seller in quote.sellers if not seller.fee_plan_id}
    return Split(
        lines=tuple(
            LinePart(
                line_id=line.line_id,
                seller_id=line.seller_id,
                gross_minor=line.gross_minor,
                seller_minor=line.seller_share_minor,
                platform_fee_minor=line.platform_fee_minor,
                fee_vat_minor=line.fee_vat_minor,
                fee_vat_country=line.fee_vat_country,
                platform_vat_minor=line.platform_vat_minor,
                vat_country=line.tax.country,
                vat_minor=line.vat_minor,
                discounts_funded_minor=line.discounts_funded_minor,
                surcharges_minor=line.surcharges_minor,
                is_platform=line.seller_id in of_platform,
            )
            for line in quote.lines
        ),
        step_minor=quote.rounding.step_minor or 1,
    )


def quote_request(first: bytes, payment_id: str, *, number: int) -> bytes:
    """Return what asks for the quote of this number of a payment: the same lines, under an id of its own."""
    request = pricing_pb2.CreateQuoteRequest.FromString(first)
    request.request_id = str(derived_id(payment_id, f"step:quote:{number}"))
    return request.SerializeToString()


def rows(quote: pricing_pb2.Quote) -> list[PriceRow]:
    """Return the rows of a quote that its payer is shown."""
    quantities = {line.line_id: line.quantity for line in quote.lines}
    codes = {one.adjustment_id: one.coupon_code for one in quote.adjustments}
    shares = {
        one.adjustment_id: {share.line_id: share.amount_minor for share in one.shares} for one in quote.adjustments
    }
    return [
        PriceRow(
            kind=_KINDS[row.kind],
            amount_minor=row.amount_minor,
            is_included=row.included_in_total,
            line_id=row.line_id,
            quantity=quantities.get(row.line_id, ""),
            rate_percent=row.rate_percent,
            name=codes.get(row.adjustment_id, ""),
            shares=shares.get(row.adjustment_id, {}),
        )
        for row in quote.rows
        if row.payer_facing and row.kind in _KINDS
    ]


def line_totals(quote: pricing_pb2.Quote) -> list[LineTotal]:
    """Return what the payer pays for each line of a quote."""
    return [LineTotal(line_id=line.line_id, gross_minor=line.gross_minor) for line in quote.lines]
