"""Line items of Checkout Sessions: what the payer sees, and what it sums to."""

from typing import Any

from sandbox import currencies
from sandbox.answers import page
from sandbox.errors import ApiError, not_modelled
from sandbox.world import Object, World, merge_metadata, snapshot

LINE_ITEMS = "line_items"  # the field of a session, shown only when it is expanded
_ITEMS_MAX = 100  # of a session that is paid once


def make(world: World, given: list[Object]) -> list[Object]:
    """Return the line items of a new session; raises ApiError (400) for what Stripe would not sell."""
    if not given:
        raise ApiError("Missing required param: line_items.", code="parameter_missing", param=LINE_ITEMS)
    if len(given) > _ITEMS_MAX:
        raise ApiError(f"A Checkout Session takes at most {_ITEMS_MAX} line items.", param=LINE_ITEMS)
    for index, item in enumerate(given):
        _check(item, at=f"{LINE_ITEMS}[{index}]")
    if len({item["price_data"]["currency"].lower() for item in given}) > 1:
        raise ApiError("All line items of a Checkout Session must have the same currency.", param=LINE_ITEMS)
    return [_new(world, item) for item in given]


def total(items: list[Object]) -> tuple[int, str]:
    """Return what items sum to (minor units) and their currency; raises ApiError (400) if Stripe cannot charge it."""
    amount, currency = sum(item["amount_total"] for item in items), items[0]["currency"]
    if amount == 0:
        raise not_modelled("a Checkout Session without anything to pay")
    least = currencies.MINIMUM_MINOR.get(currency, 1)
    if amount < least:
        raise ApiError(
            "The Checkout Session's total amount due must add up to at least "
            f"{currencies.shown(least, currency=currency)}",
            code="amount_too_small",
        )
    currencies.check(amount, currency=currency, param=LINE_ITEMS)
    return amount, currency


def list_all(world: World, params: dict[str, Any], session_id: str) -> Object:
    """List a session's items in the order they were given."""
    world.get("checkout.session", session_id)
    rows = world.parts.get(session_id, {}).get(LINE_ITEMS, [])
    return page(reversed(rows), params, url=f"/v1/checkout/sessions/{session_id}/{LINE_ITEMS}")


def _check(item: Object, *, at: str) -> None:
    if "price_data" not in item:
        raise ApiError(
            f"Missing required param: {at}[price_data].", code="parameter_missing", param=f"{at}[price_data]"
        )
    if "quantity" not in item:
        raise ApiError(f"Missing required param: {at}[quantity].", code="parameter_missing", param=f"{at}[quantity]")
    data, inside = item["price_data"], f"{at}[price_data]"
    for name in ("unit_amount", "product_data"):
        if name not in data:
            raise ApiError(
                f"Missing required param: {inside}[{name}].", code="parameter_missing", param=f"{inside}[{name}]"
            )
    for name in ("name", "description"):
        if data["product_data"].get(name) == "":
            raise _empty(f"{inside}[product_data][{name}]")
    if item["quantity"] < 1:
        raise _too_low(1, param=f"{at}[quantity]")
    if data["unit_amount"] < 0:
        raise _too_low(0, param=f"{inside}[unit_amount]")
    currency = data["currency"].lower()
    if currency not in currencies.KNOWN:
        raise ApiError(f"Invalid currency: {currency}", param=f"{inside}[currency]")
    currencies.check_step(data["unit_amount"], currency=currency, param=f"{inside}[unit_amount]")


def _empty(param: str) -> ApiError:
    return ApiError(
        f"You passed an empty string for '{param}'. We assume empty values are an attempt to unset a parameter; "
        f"however '{param}' cannot be unset. You should remove '{param}' from your request or supply a non-empty "
        "value.",
        code="parameter_invalid_empty",
        param=param,
    )


def _too_low(least: int, *, param: str) -> ApiError:
    return ApiError(
        f"This value must be greater than or equal to {least}.", code="parameter_invalid_integer", param=param
    )


def _new(world: World, given: Object) -> Object:
    data, quantity = given["price_data"], given["quantity"]
    amount = data["unit_amount"] * quantity
    return {
        "id": world.new_id("item"),
        "object": "item",
        "adjustable_quantity": None,
        "amount_discount": 0,
        "amount_subtotal": amount,
        "amount_tax": 0,
        "amount_total": amount,
        "currency": data["currency"].lower(),
        "description": data["product_data"]["name"],
        "metadata": merge_metadata({}, given.get("metadata", {})),
        "price": _price(world, data),
        "quantity": quantity,
    }


def _price(world: World, data: Object) -> Object:
    """Return the price Stripe makes of inline data: never active, and not to be used again."""
    return {
        "id": world.new_id("price"),
        "object": "price",
        "active": False,
        "billing_scheme": "per_unit",
        "created": world.clock.seconds(),
        "currency": data["currency"].lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": {},
        "nickname": None,
        "product": world.new_id("product"),
        "recurring": None,
        "tax_behavior": snapshot(data.get("tax_behavior", "unspecified")),
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "one_time",
        "unit_amount": data["unit_amount"],
        "unit_amount_decimal": str(data["unit_amount"]),
    }
