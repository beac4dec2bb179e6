"""The order of the stages. To add one, write it in `stages.py` and put it into this list."""

from __future__ import annotations

from collections.abc import Callable

from .book import PriceBook
from .cart import Cart
from .price import Price
from .stages import base_lines, breakdown, platform_fee, tax

STAGES: tuple[Callable[[Cart, PriceBook, Price], Price], ...] = (base_lines, tax, platform_fee, breakdown)


def price_cart(cart: Cart, *, book: PriceBook) -> Price:
    """Return what a cart costs; the same cart and book always give the same price.

    Raises `AmountOverflow` and `TaxRateUnknown`, naming the field.
    """
    price = Price()
    for stage in STAGES:
        price = stage(cart, book, price)
    return price
