"""Stage: the rows to be shown. Those that are payer-facing and included in the total sum to the total."""

from __future__ import annotations

from collections.abc import Iterator

from services.pricing.domain.book import FeePlan, PriceBook
from services.pricing.domain.cart import Cart
from services.pricing.domain.line import TaxBehavior
from services.pricing.domain.price import Price, Row, RowKind, SellerTotal
from services.pricing.domain.tax import TaxKey, tax_key


def breakdown(cart: Cart, book: PriceBook, price: Price) -> Price:  # noqa: ARG001 every stage is called alike
    """Set the rows: lines, adjustments, VAT by what is taxed alike, fees."""
    return price._replace(rows=(*_lines(cart, price), *_adjustments(price), *_vat(cart, price), *_fees(price.sellers)))


def _lines(cart: Cart, price: Price) -> list[Row]:
    kind = RowKind.LINE  # looked up once: reading a member of an enumeration takes as long as making half a row
    return [
        Row(
            kind=kind,
            amount_minor=amount,
            payer_facing=True,
            included_in_total=True,
            line_id=line.line_id,
            seller_id=line.seller_id,
        )
        for line, amount in zip(cart.lines, price.list_minor, strict=True)
    ]


def _adjustments(price: Price) -> Iterator[Row]:
    for adjustment in price.adjustments:
        yield Row(
            kind=RowKind.ADJUSTMENT,
            amount_minor=adjustment.amount_minor,
            payer_facing=True,
            included_in_total=True,
            adjustment_id=adjustment.adjustment_id,
        )


def _vat(cart: Cart, price: Price) -> Iterator[Row]:
    amounts: dict[TaxKey, int] = {}
    for line, rate, vat in zip(cart.lines, price.tax_rates, price.vat_minor, strict=True):
        key = tax_key(line, rate=rate)
        amounts[key] = amounts.get(key, 0) + vat
    for key in sorted(amounts, key=_order) if len(amounts) > 1 else amounts:
        yield Row(
            kind=RowKind.VAT,
            amount_minor=amounts[key],
            payer_facing=True,
            included_in_total=key.tax_behavior is TaxBehavior.EXCLUSIVE,
            rate_percent=key.rate_percent,
            country=key.country,
            tax_category=key.tax_category,
            tax_behavior=key.tax_behavior,
            tax_treatment=key.tax_treatment,
        )


def _order(key: TaxKey) -> tuple[str, ...]:
    return (*key[:3], key.tax_behavior.value, key.tax_treatment.value)


def _fees(sellers: tuple[SellerTotal, ...]) -> Iterator[Row]:
    for seller in sellers:
        if seller.fee_plan is None:
            continue
        yield Row(
            kind=RowKind.PLATFORM_FEE,
            amount_minor=seller.platform_fee_minor,
            payer_facing=False,
            included_in_total=False,
            seller_id=seller.seller_id,
            rate_percent=_plain_percent(seller, seller.fee_plan),
        )
        if seller.fee_plan.fee_vat is not None:
            yield Row(
                kind=RowKind.PLATFORM_FEE_VAT,
                amount_minor=seller.fee_vat_minor,
                payer_facing=False,
                included_in_total=False,
                seller_id=seller.seller_id,
                country=seller.fee_plan.fee_vat.country,
                tax_category=seller.fee_plan.fee_vat.tax_category,
                tax_behavior=seller.fee_plan.fee_vat.tax_behavior,
            )


def _plain_percent(seller: SellerTotal, plan: FeePlan) -> str:
    """Return the percentage when the fee is nothing else."""
    tier = plan.tier(seller.fee_basis_minor)
    bounded = plan.minimum_minor is not None or plan.maximum_minor is not None
    return "" if tier.fixed_minor or bounded or seller.fee_limited else str(tier.percent)
