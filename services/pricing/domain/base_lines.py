"""Stage: quantity × unit amount per line, rounded to the step of the currency."""

from __future__ import annotations

from services.pricing.domain.book import PriceBook
from services.pricing.domain.cart import Cart
from services.pricing.domain.exact import require_amount, round_ratio
from services.pricing.domain.price import Price, Stage


def base_lines(cart: Cart, book: PriceBook, price: Price) -> Price:  # noqa: ARG001 every stage is called alike
    """Set the list price of each line, from which the other stages start."""
    amounts = []
    for index, line in enumerate(cart.lines):
        numerator, denominator = line.quantity.as_integer_ratio()
        amount = round_ratio(numerator * line.unit_amount_minor, denominator=denominator, rounding=cart.rounding)
        amounts.append(require_amount(amount, field=f"lines[{index}].unit_amount"))
    column = tuple(amounts)
    total = require_amount(sum(column), field="lines")
    return price._replace(
        list_minor=column,
        base_minor=column,
        seller_base_minor=column,
        contributions=(*price.contributions, (Stage.BASE_LINES, total)),
    )
