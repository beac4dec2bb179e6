"""Writes a price as a quote of the contract. Knows protobuf, decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from batzen.pricing.v1 import pricing_pb2
from services.pricing.domain.book import TaxRate
from services.pricing.domain.cart import Cart
from services.pricing.domain.line import CartLine
from services.pricing.domain.price import AppliedAdjustment, Price, Row, SellerTotal
from services.pricing.wire.enums import (
    BASIS_NUMBERS,
    BEHAVIOR_NUMBERS,
    DIRECTION_NUMBERS,
    FUNDER_NUMBERS,
    KIND_NUMBERS,
    LIABILITY_NUMBERS,
    MODE_NUMBERS,
    POINT_NUMBERS,
    ROW_KIND_NUMBERS,
    STAGE_NUMBERS,
    TREATMENT_NUMBERS,
)
from services.shared.locale_format import LocaleFormat


def write_quote(
    price: Price,
    *,
    cart: Cart,
    quote_id: str,
    create_time: datetime,
    expire_time: datetime | None,
    formats: Mapping[str, LocaleFormat],
) -> pricing_pb2.Quote:
    """Return the quote with its display strings in the locales of `formats`; without `expire_time` it is a preview."""
    countries = {
        seller.seller_id: seller.fee_plan.fee_vat.country
        for seller in price.sellers
        if seller.fee_plan is not None and seller.fee_plan.fee_vat is not None
    }
    quote = pricing_pb2.Quote(
        quote_id=quote_id,
        currency_code=cart.currency_code,
        lines=[
            _line(line, index=index, price=price, fee_vat_country=countries.get(line.seller_id, ""))
            for index, line in enumerate(cart.lines)
        ],
        rows=[_row(row, formats=formats) for row in price.rows],
        sellers=[_seller(seller) for seller in price.sellers],
        stages=[
            pricing_pb2.StageContribution(stage=STAGE_NUMBERS[stage], amount_minor=amount)
            for stage, amount in price.contributions
        ],
        adjustments=[_adjustment(applied, cart=cart) for applied in price.adjustments],
        rounding=pricing_pb2.Rounding(
            point=POINT_NUMBERS[cart.rounding.point],
            mode=MODE_NUMBERS[cart.rounding.mode],
            step_minor=cart.rounding.step_minor,
        ),
        payer_id=cart.payer_id,
        preview=expire_time is None,
    )
    quote.total.amount_minor = price.total_minor
    quote.total.currency_code = cart.currency_code
    quote.create_time.FromDatetime(create_time)
    if expire_time is not None:
        quote.expire_time.FromDatetime(expire_time)
    for locale, format_ in formats.items():
        quote.total_display[locale] = format_.amount(price.total_minor)
    return quote


def _line(line: CartLine, *, index: int, price: Price, fee_vat_country: str) -> pricing_pb2.QuoteLine:
    listed, base, shares = price.list_minor[index], price.base_minor[index], price.shares[index]
    return pricing_pb2.QuoteLine(
        line_id=line.line_id,
        seller_id=line.seller_id,
        kind=KIND_NUMBERS[line.kind],
        quantity=f"{line.quantity:f}",
        unit_amount_minor=line.unit_amount_minor,
        list_minor=listed,
        adjustment_minor=base - listed,
        base_minor=base,
        net_minor=price.net_minor[index],
        vat_minor=price.vat_minor[index],
        gross_minor=price.gross_minor[index],
        tax=_tax(line, rate=price.tax_rates[index]),
        seller_share_minor=shares.seller_minor,
        platform_fee_minor=shares.platform_fee_minor,
        fee_vat_minor=shares.fee_vat_minor,
        platform_vat_minor=shares.platform_vat_minor,
        discounts_funded_minor=shares.discounts_funded_minor,
        surcharges_minor=shares.surcharges_minor,
        fee_vat_country=fee_vat_country if shares.fee_vat_minor else "",
    )


def _tax(line: CartLine, *, rate: TaxRate | None) -> pricing_pb2.LineTax:
    return pricing_pb2.LineTax(
        country=line.country,
        tax_category=line.tax_category,
        rate_percent="0" if rate is None else str(rate.percent),
        tax_behavior=BEHAVIOR_NUMBERS[line.tax_behavior],
        tax_treatment=TREATMENT_NUMBERS[line.tax_treatment],
        tax_treatment_reason=line.tax_treatment_reason,
        vat_liability=LIABILITY_NUMBERS[line.vat_liability],
        tax_date=line.tax_date.isoformat(),
        rate_effective_from="" if rate is None else rate.effective_from.isoformat(),
        rate_revision=0 if rate is None else rate.revision,
    )


def _adjustment(applied: AppliedAdjustment, *, cart: Cart) -> pricing_pb2.AppliedAdjustment:
    return pricing_pb2.AppliedAdjustment(
        adjustment_id=applied.adjustment_id,
        coupon_code=applied.coupon_code,
        revision=applied.revision,
        direction=DIRECTION_NUMBERS[applied.direction],
        funder=FUNDER_NUMBERS[applied.funder],
        amount_minor=applied.amount_minor,
        shares=[
            pricing_pb2.AppliedAdjustment.LineShare(line_id=cart.lines[index].line_id, amount_minor=share)
            for index, share in applied.shares.items()
        ],
        held=applied.discount is not None and applied.discount.limited,
    )


def _row(row: Row, *, formats: Mapping[str, LocaleFormat]) -> pricing_pb2.QuoteRow:
    written = pricing_pb2.QuoteRow(
        kind=ROW_KIND_NUMBERS[row.kind],
        amount_minor=row.amount_minor,
        payer_facing=row.payer_facing,
        included_in_total=row.included_in_total,
        line_id=row.line_id,
        seller_id=row.seller_id,
        adjustment_id=row.adjustment_id,
        rate_percent=row.rate_percent,
        country=row.country,
        tax_category=row.tax_category,
    )
    if row.tax_behavior is not None:
        written.tax_behavior = BEHAVIOR_NUMBERS[row.tax_behavior]
    if row.tax_treatment is not None:
        written.tax_treatment = TREATMENT_NUMBERS[row.tax_treatment]
    for locale, format_ in formats.items():
        written.display[locale] = format_.amount(row.amount_minor)
        if row.rate_percent:
            written.rate_display[locale] = format_.percent(row.rate_percent)
    return written


def _seller(seller: SellerTotal) -> pricing_pb2.SellerTotal:
    plan = seller.fee_plan
    return pricing_pb2.SellerTotal(
        seller_id=seller.seller_id,
        base_minor=seller.base_minor,
        net_minor=seller.net_minor,
        vat_minor=seller.vat_minor,
        gross_minor=seller.gross_minor,
        platform_fee_minor=seller.platform_fee_minor,
        fee_vat_minor=seller.fee_vat_minor,
        platform_vat_minor=seller.platform_vat_minor,
        platform_funded_minor=seller.platform_funded_minor,
        seller_share_minor=seller.seller_share_minor,
        platform_share_minor=seller.platform_share_minor,
        fee_plan_id="" if plan is None else plan.fee_plan_id,
        fee_plan_revision=0 if plan is None else plan.revision,
        fee_basis=None if plan is None else BASIS_NUMBERS[plan.basis],
        fee_limited=seller.fee_limited,
    )
