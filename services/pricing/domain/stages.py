"""The stages of a price. Each takes the cart, the book and the price so far, and returns the price with its part added.

Rounded are, once each and to the minor unit: a line's amount, a line's VAT, a seller's fee. Everything else is a sum.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from services.errors import ServiceError

from .book import FeeBasis, FeePlan, PriceBook, TaxRate
from .cart import Cart, CartLine, TaxBehavior, TaxTreatment, VatLiability
from .exact import require_int64, round_ratio
from .price import Price, Row, RowKind, SellerTotal, Stage


def base_lines(cart: Cart, book: PriceBook, price: Price) -> Price:  # noqa: ARG001 every stage is called alike
    """Quantity × unit amount, rounded to the minor unit, per line."""
    amounts = []
    for index, line in enumerate(cart.lines):
        numerator, denominator = line.quantity.as_integer_ratio()
        amount = round_ratio(numerator * line.unit_amount_minor, denominator=denominator, mode=cart.rounding.mode)
        amounts.append(require_int64(amount, field=f"lines[{index}].unit_amount"))
    column = tuple(amounts)
    total = require_int64(sum(column), field="lines")
    return replace(
        price,
        list_minor=column,
        base_minor=column,
        contributions=(*price.contributions, (Stage.BASE_LINES, total)),
    )


def tax(cart: Cart, book: PriceBook, price: Price) -> Price:
    """VAT per line: taken out of a price that holds it, added to one that does not."""
    rates: list[TaxRate | None] = []
    net, vat, gross = [], [], []
    added = 0
    known: dict[tuple[object, ...], TaxRate] = {}
    for index, (line, base) in enumerate(zip(cart.lines, price.base_minor, strict=True)):
        rate = _rate_of(line, index=index, book=book, known=known)
        amount = 0
        if rate is not None:
            numerator, denominator = rate.percent.numerator, rate.percent.denominator
            if line.tax_behavior is TaxBehavior.INCLUSIVE:
                denominator += numerator
            amount = round_ratio(base * numerator, denominator=denominator, mode=cart.rounding.mode)
        rates.append(rate)
        vat.append(amount)
        if line.tax_behavior is TaxBehavior.INCLUSIVE:
            net.append(base - amount)
            gross.append(base)
        else:
            added += amount
            net.append(base)
            gross.append(require_int64(base + amount, field=f"lines[{index}].unit_amount"))
    return replace(
        price,
        tax_rates=tuple(rates),
        net_minor=tuple(net),
        vat_minor=tuple(vat),
        gross_minor=tuple(gross),
        total_minor=require_int64(sum(gross), field="lines"),
        contributions=(*price.contributions, (Stage.TAX, added)),
    )


def platform_fee(cart: Cart, book: PriceBook, price: Price) -> Price:
    """What the platform takes of each seller's part, rounded once per seller; nothing is added to the total."""
    indexes: dict[str, list[int]] = {}
    for index, line in enumerate(cart.lines):
        indexes.setdefault(line.seller_id, []).append(index)
    sellers = tuple(
        _seller_total(seller_id, of=indexes[seller_id], cart=cart, plan=book.fee_plan, price=price)
        for seller_id in sorted(indexes)
    )
    taken = sum(seller.platform_fee_minor for seller in sellers)
    return replace(price, sellers=sellers, contributions=(*price.contributions, (Stage.PLATFORM_FEE, taken)))


def breakdown(cart: Cart, book: PriceBook, price: Price) -> Price:  # noqa: ARG001 every stage is called alike
    """The rows to be shown: lines, VAT by rate, fees."""
    rows = [
        Row(
            kind=RowKind.LINE,
            amount_minor=amount,
            payer_facing=True,
            included_in_total=True,
            line_id=line.line_id,
            seller_id=line.seller_id,
        )
        for line, amount in zip(cart.lines, price.list_minor, strict=True)
    ]
    rows.extend(_vat_rows(cart, price))
    rows.extend(
        Row(
            kind=RowKind.PLATFORM_FEE,
            amount_minor=seller.platform_fee_minor,
            payer_facing=False,
            included_in_total=False,
            seller_id=seller.seller_id,
            rate_percent=str(seller.fee_plan.percent),
        )
        for seller in price.sellers
    )
    return replace(price, rows=tuple(rows))


def _rate_of(
    line: CartLine, *, index: int, book: PriceBook, known: dict[tuple[object, ...], TaxRate]
) -> TaxRate | None:
    if line.tax_treatment is not TaxTreatment.TAXABLE:
        return None
    key = (line.country, line.tax_category, line.tax_date)
    rate = known.get(key)
    if rate is None:
        try:
            rate = book.tax_rate(country=line.country, tax_category=line.tax_category, on=line.tax_date)
        except ServiceError as error:
            error.field = f"lines[{index}].tax_category"
            raise
        known[key] = rate
    return rate


def _seller_total(seller_id: str, *, of: list[int], cart: Cart, plan: FeePlan, price: Price) -> SellerTotal:
    base, net, vat, gross = (
        sum(column[index] for index in of)
        for column in (price.base_minor, price.net_minor, price.vat_minor, price.gross_minor)
    )
    platform_vat = sum(
        price.vat_minor[index] for index in of if cart.lines[index].vat_liability is VatLiability.PLATFORM
    )
    basis = {FeeBasis.BASE: base, FeeBasis.NET: net, FeeBasis.GROSS: gross}[plan.basis]
    asked = round_ratio(basis * plan.percent.numerator, denominator=plan.percent.denominator, mode=cart.rounding.mode)
    carried = gross - platform_vat
    fee = min(asked, carried)
    return SellerTotal(
        seller_id=seller_id,
        base_minor=base,
        net_minor=net,
        vat_minor=vat,
        gross_minor=gross,
        platform_fee_minor=fee,
        platform_vat_minor=platform_vat,
        seller_share_minor=carried - fee,
        fee_plan=plan,
        fee_limited=fee < asked,
    )


def _vat_rows(cart: Cart, price: Price) -> Iterable[Row]:
    """One row for all lines with the same country, category, rate, behaviour and treatment, in a fixed order."""
    amounts: dict[tuple[str, str, str, TaxBehavior, TaxTreatment], int] = {}
    for line, rate, vat in zip(cart.lines, price.tax_rates, price.vat_minor, strict=True):
        percent = "0" if rate is None else str(rate.percent)
        key = (line.country, line.tax_category, percent, line.tax_behavior, line.tax_treatment)
        amounts[key] = amounts.get(key, 0) + vat
    for key in sorted(amounts, key=lambda key: (*key[:3], key[3].value, key[4].value)):
        country, tax_category, percent, tax_behavior, tax_treatment = key
        yield Row(
            kind=RowKind.VAT,
            amount_minor=amounts[key],
            payer_facing=True,
            included_in_total=tax_behavior is TaxBehavior.EXCLUSIVE,
            rate_percent=percent,
            country=country,
            tax_category=tax_category,
            tax_behavior=tax_behavior,
            tax_treatment=tax_treatment,
        )
