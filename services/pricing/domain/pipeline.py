"""The order of the stages. To add one, write it in a module of its own and put it into the list."""

from __future__ import annotations

from collections.abc import Callable

from services.pricing.domain.adjustments import adjustments
from services.pricing.domain.base_lines import base_lines
from services.pricing.domain.book import PriceBook
from services.pricing.domain.breakdown import breakdown
from services.pricing.domain.cart import Cart
from services.pricing.domain.fees import platform_fee
from services.pricing.domain.price import Price
from services.pricing.domain.shares import line_shares
from services.pricing.domain.tax import tax

STAGES: tuple[Callable[[Cart, PriceBook, Price], Price], ...] = (
    base_lines,
    adjustments,
    tax,
    platform_fee,
    line_shares,
    breakdown,
)


def price_cart(cart: Cart, *, book: PriceBook) -> Price:
    """Return what a cart costs; the same cart and book always give the same price.

    Raises `AmountOverflow`, `TaxRateUnknown`, `FeePlanUnknown` or one of the `Coupon…` errors, naming the field.
    """
    price = Price()
    for stage in STAGES:
        price = stage(cart, book, price)
    return price
