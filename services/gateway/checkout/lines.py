"""What a hosted page lists: rows that sum to the amount to the unit. Pure.

Stripe has no negative rows, so a discount is no row of its own: whoever prices takes it off the rows that it is for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.errors import FieldInvalid, FieldMissing
from services.gateway.stripe_api.currencies import to_stripe
from services.shared.codec import Json

LINES_MAX: Final = 100
"""As many as Stripe lists on a page of mode `payment`. Source: docs.stripe.com/api/checkout/sessions/create."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLine:
    """A row."""

    name: str
    amount_minor: int
    description: str = ""


def check_lines(lines: Sequence[PageLine], *, amount_minor: int, currency_code: str, is_setup: bool) -> None:
    """Raise FieldMissing or FieldInvalid unless the rows are what the page collects."""
    if is_setup:
        if lines:
            raise FieldInvalid(field="lines", detail="must be empty on a page that takes nothing")
        return
    if not lines:
        raise FieldMissing(field="lines")
    if len(lines) > LINES_MAX:
        raise FieldInvalid(field="lines", detail=f"must be at most {LINES_MAX}")
    total_minor = sum(one.amount_minor for one in lines)
    if total_minor != amount_minor:
        raise FieldInvalid(field="lines", detail=f"must sum to the amount, {amount_minor}, not to {total_minor}")
    for number, one in enumerate(lines):
        to_stripe(one.amount_minor, currency_code, field=f"lines[{number}].amount")


def line_items(lines: Sequence[PageLine], *, currency_code: str) -> list[Json]:
    """Return the rows as Stripe is sent them."""
    return [_item(one, currency_code) for one in lines]


def _item(line: PageLine, currency_code: str) -> Json:
    product: dict[str, object] = {"name": line.name}
    if line.description:  # Stripe takes no empty one
        product["description"] = line.description
    price = {
        "currency": currency_code.lower(),
        "unit_amount": to_stripe(line.amount_minor, currency_code),
        "product_data": product,
    }
    return {"price_data": price, "quantity": 1}
