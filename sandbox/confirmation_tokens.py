"""Confirmation tokens: what a browser made of what the payer entered. One confirm takes it, once, within hours."""

from typing import Any

from sandbox import methods
from sandbox.errors import ApiError, missing
from sandbox.world import Object, World

_KIND = "confirmation_token"
_LIFE_S = 12 * 3600
_NOT_IN_PREVIEW = ("id", "object", "created", "customer_account", "livemode", "metadata")


def create(world: World, params: dict[str, Any]) -> Object:
    """Make a token of a test payment method, as Stripe's test helper does; the stand-in for Stripe.js does so, too."""
    if "payment_method" not in params:
        raise ApiError("Missing required param: payment_method.", code="parameter_missing", param="payment_method")
    method = methods.resolve(world, params["payment_method"])
    methods.check_usable(world, method, customer_id=None)
    now = world.clock.seconds()
    token: Object = {
        "id": world.new_id(_KIND),
        "object": _KIND,
        "created": now,
        "expires_at": now + _LIFE_S,
        "livemode": False,
        "mandate_data": None,
        "payment_intent": None,
        "payment_method_options": None,
        "payment_method_preview": {name: value for name, value in method.items() if name not in _NOT_IN_PREVIEW},
        "return_url": params.get("return_url"),
        "setup_future_usage": params.get("setup_future_usage"),
        "setup_intent": None,
        "shipping": None,
        "use_stripe_sdk": True,
    }
    world.entered[token["id"]] = method["id"]
    return world.add(token)


def retrieve(world: World, _params: dict[str, Any], token_id: str) -> Object:
    return world.get(_KIND, token_id)


def chosen(
    world: World, params: dict[str, Any], *, customer_id: str | None, intent_id: str | None, of: str
) -> Object | None:
    """Return the payment method with which a call confirms: one that it names, or what a payer entered."""
    if _KIND not in params:
        return methods.chosen(world, params, customer_id=customer_id, of=of)
    if "payment_method" in params:
        raise ApiError("You may only specify one of these parameters: confirmation_token, payment_method.")
    token = world.find(params[_KIND])
    if token is None or token["object"] != _KIND:
        raise missing("ConfirmationToken", params[_KIND], param=_KIND, status=400)
    if token["id"] in world.used_up:
        raise ApiError(f"The ConfirmationToken {token['id']} was used before. Make a new one.", param=_KIND)
    if world.clock.seconds() >= token["expires_at"]:
        raise ApiError(f"The ConfirmationToken {token['id']} has expired. Make a new one.", param=_KIND)
    world.used_up.add(token["id"])
    token[of] = intent_id
    return methods.resolve(world, world.entered[token["id"]])
