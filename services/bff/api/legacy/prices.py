"""Prices that old clients send. Pure: a service's becomes lines, and a payer's is no more than a claim."""

from __future__ import annotations

from collections.abc import Sequence

from batzen.legacy_prices import LegacyPriceError, legacy_total, normalize_legacy_price
from batzen.pricing.v1.price_book_pb2 import LineKind
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.type.v1.money_pb2 import Money
from services.bff.api.legacy.models import CreateIntent
from services.web.failures import Refusal

LINE_ID = "1"


def lines_of(body: CreateIntent) -> Sequence[Line]:
    """Return what a service has sold. Raises `Refusal` for what is missing, or no price."""
    for name, given in (("price", body.price), ("userId", body.user_id), ("coachId", body.coach_id)):
        if not given:
            raise Refusal(400, "FIELD_MISSING", field=name)
    return _lines(body, seller_id=body.coach_id, currency_code=body.currency)


def check_claim(body: CreateIntent, total: Money) -> None:
    """Compare a price that somebody claims with what is charged: the same is passed over. Raises `Refusal`."""
    if body.price is None:
        return
    currency_code = body.currency or total.currency_code
    _lines(body, seller_id="claimed", currency_code=currency_code)
    if legacy_total(body.price, currency_code=currency_code) != total:
        raise Refusal(
            409,
            "PRICE_CHANGED",
            field="price",
            metadata={"total_minor": str(total.amount_minor), "currency_code": total.currency_code},
        )


def minor_units(amount: object, *, currency_code: str) -> Money:
    """Return an amount in major units exactly. Raises `Refusal` where it is none above zero."""
    try:
        money = legacy_total({"final": amount}, currency_code=currency_code)
    except LegacyPriceError as error:
        raise Refusal(400, "FIELD_INVALID", field="amount", explanation=error.problem) from error
    if money.amount_minor == 0:
        raise Refusal(400, "FIELD_INVALID", field="amount", explanation="must be above 0")
    return money


def _lines(body: CreateIntent, *, seller_id: str, currency_code: str) -> Sequence[Line]:
    try:
        return normalize_legacy_price(
            body.price,
            line_id=LINE_ID,
            seller_id=seller_id,
            kind=LineKind.LINE_KIND_SESSION,
            currency_code=currency_code or None,
        )
    except LegacyPriceError as error:
        field = f"price.{error.path}" if error.path else "price"
        raise Refusal(400, "FIELD_INVALID", field=field, explanation=error.problem) from error
