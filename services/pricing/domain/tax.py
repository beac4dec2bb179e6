"""Stage: VAT, taken out of a price that holds it, added to one that does not.

Included VAT is base × rate / (1 + rate), added VAT is base × rate, each rounded once where the cart says: for each
line, or once for all lines that are taxed alike and then spread over them by the largest remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from services.errors import ServiceError
from services.pricing.domain.book import PriceBook, TaxRate
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import Rounding, RoundingPoint, allocate, require_amount, round_ratio
from services.pricing.domain.line import CartLine, TaxBehavior, TaxTreatment
from services.pricing.domain.price import Price, Stage


class TaxKey(NamedTuple):
    """What lines that are taxed alike have in common."""

    country: str
    tax_category: str
    rate_percent: str
    tax_behavior: TaxBehavior
    tax_treatment: TaxTreatment


def tax(cart: Cart, book: PriceBook, price: Price) -> Price:
    """Set net, VAT and gross of each line, and the total. Raises `TaxRateUnknown` or `AmountOverflow`."""
    rates = _rates(cart, book)
    if cart.rounding.point is RoundingPoint.PER_LINE:
        vat = [
            vat_of(base, rate=rate, behavior=line.tax_behavior, rounding=cart.rounding)
            for line, base, rate in zip(cart.lines, price.base_minor, rates, strict=True)
        ]
    else:
        vat = _vat_per_total(cart, price, rates)
    net, gross = [], []
    added = 0
    for index, (line, base, amount) in enumerate(zip(cart.lines, price.base_minor, vat, strict=True)):
        if line.tax_behavior is TaxBehavior.INCLUSIVE:
            net.append(base - amount)
            gross.append(base)
        else:
            added += amount
            net.append(base)
            gross.append(require_amount(base + amount, field=f"lines[{index}].unit_amount"))
    return price._replace(
        tax_rates=tuple(rates),
        net_minor=tuple(net),
        vat_minor=tuple(vat),
        gross_minor=tuple(gross),
        total_minor=require_amount(sum(gross), field="lines"),
        contributions=(*price.contributions, (Stage.TAX, added)),
    )


def vat_of(base: int, *, rate: TaxRate | None, behavior: TaxBehavior, rounding: Rounding) -> int:
    """Return the VAT in, or on, an amount as priced; none without a rate."""
    if rate is None:
        return 0
    ratio = rate.percent
    whole = ratio.denominator + (ratio.numerator if behavior is TaxBehavior.INCLUSIVE else 0)
    return round_ratio(base * ratio.numerator, denominator=whole, rounding=rounding)


def tax_key(line: CartLine, *, rate: TaxRate | None) -> TaxKey:
    """Return what decides which row of the breakdown the line's VAT stands in."""
    percent = "0" if rate is None else rate.percent.text
    return TaxKey(line.country, line.tax_category, percent, line.tax_behavior, line.tax_treatment)


def _vat_per_total(cart: Cart, price: Price, rates: Sequence[TaxRate | None]) -> list[int]:
    alike: dict[TaxKey, list[int]] = {}
    for index, (line, rate) in enumerate(zip(cart.lines, rates, strict=True)):
        alike.setdefault(tax_key(line, rate=rate), []).append(index)
    vat = [0] * len(cart.lines)
    for key, of in alike.items():
        rate, bases = rates[of[0]], [price.base_minor[index] for index in of]
        amount = vat_of(sum(bases), rate=rate, behavior=key.tax_behavior, rounding=cart.rounding)
        keys = [cart.lines[index].line_id for index in of]
        shares = allocate(amount, weights=bases, keys=keys, step_minor=cart.rounding.step_minor)
        for index, share in zip(of, shares, strict=True):
            vat[index] = share
    return vat


def _rates(cart: Cart, book: PriceBook) -> list[TaxRate | None]:
    known: dict[tuple[object, ...], TaxRate] = {}
    rates: list[TaxRate | None] = []
    for index, line in enumerate(cart.lines):
        if line.tax_treatment is not TaxTreatment.TAXABLE:
            rates.append(None)
            continue
        key = (line.country, line.tax_category, line.tax_date)
        if key not in known:
            try:
                known[key] = book.tax_rate(country=line.country, tax_category=line.tax_category, on=line.tax_date)
            except ServiceError as error:
                error.field = f"lines[{index}].tax_category"
                raise
        rates.append(known[key])
    return rates
