"""Checkout Sessions as objects: create, retrieve, list, expire. How one is paid is in checkout.py.

Marked (U): what Stripe's documentation does not say and nobody here could ask it.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from sandbox import checkout, currencies, customers, descriptors, intents, session_lines, setups
from sandbox.answers import page
from sandbox.errors import ApiError, not_modelled
from sandbox.world import Object, World, merge_metadata

_LIFE_MIN_S = 30 * 60
_LIFE_MAX_S = 24 * 3600
_CLOCK_SLACK_S = 5  # a caller's "in 30 minutes" is a moment old by the time it is read (U)
_URL_MAX = 5000  # characters
_REFERENCE_MAX = 200  # characters of `client_reference_id`
_OF_PAYMENT = "payment_intent_data"
_KEPT = {"setup_future_usage": "off_session"}
_NOT_IN = {
    "payment": ("setup_intent_data",),
    "setup": ("line_items", "payment_intent_data", "payment_method_options", "submit_type"),
}
# What the session's intent takes over of the session's own parameters.
_TAKEN_OVER = ("allowed_payment_method_types", "excluded_payment_method_types", "payment_method_options")


def create(world: World, params: dict[str, Any]) -> Object:
    """Open a session. A PaymentIntent comes into being when its payer first tries to pay, a SetupIntent at once (U)."""
    mode = params.get("mode")
    if mode is None:
        raise ApiError("You must provide a `mode`.", code="parameter_missing", param="mode")
    if mode not in _NOT_IN:
        raise not_modelled(f"Checkout Sessions with `mode={mode}`")
    for name in _NOT_IN[mode]:
        if name in params:
            raise ApiError(f"You can not pass `{name}` in `{mode}` mode.", param=name)
    if params.get("ui_mode", "hosted_page") != "hosted_page":
        raise not_modelled("Checkout Sessions on a page of the caller's own")
    if params.get("adaptive_pricing", {}).get("enabled", False):
        raise not_modelled("Checkout Sessions in the payer's own currency")
    _check_urls(params)
    created = world.clock.seconds()
    expires_at = _expires_at(params, now=created)
    if len(params.get("client_reference_id", "")) > _REFERENCE_MAX:
        raise ApiError(
            f"Invalid string: client_reference_id must be at most {_REFERENCE_MAX} characters.",
            param="client_reference_id",
        )
    _check_payer(world, params)
    times = {"created": created, "expires_at": expires_at}
    own: Object = {**times, "metadata": merge_metadata({}, params.get("metadata", {}))}
    session = (_to_pay if mode == "payment" else _to_set_up)(world, params, own)
    checkout.arm(world, session)
    return session


def retrieve(world: World, _params: dict[str, Any], session_id: str) -> Object:
    return world.get("checkout.session", session_id)


def list_all(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all("checkout.session")
    for field in ("payment_intent", "customer"):
        if field in params:
            found = world.by_field("checkout.session", field=field, value=params[field])
            break
    wanted = {name: params[name] for name in ("payment_intent", "customer", "status") if name in params}
    return page(
        found,
        params,
        url="/v1/checkout/sessions",
        keep=lambda session: all(session[name] == value for name, value in wanted.items()),
    )


def expire(world: World, _params: dict[str, Any], session_id: str) -> Object:
    """End an open session before its time."""
    session = world.get("checkout.session", session_id)
    if session["status"] != "open":
        raise ApiError(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a status of '
            f"`{session['status']}`."
        )
    checkout.expire(world, session)
    return session


def _to_pay(world: World, params: dict[str, Any], own: Object) -> Object:
    items = session_lines.make(world, params.get("line_items", []))
    amount, currency = session_lines.total(items)
    data = _intent_data(world, params, amount=amount)
    own["payment_method_types"] = intents.kinds(data | {"amount": amount, "currency": currency})
    session = world.add(_new(world, params, amount=amount, currency=currency) | own)
    world.parts[session["id"]] = {session_lines.LINE_ITEMS: [world.add(item) for item in items]}
    world.intent_data[session["id"]] = data
    return session


def _to_set_up(world: World, params: dict[str, Any], own: Object) -> Object:
    currency = params["currency"].lower() if "currency" in params else None
    if currency is None and "allowed_payment_method_types" not in params:
        raise ApiError(
            "You must provide `currency` in `setup` mode unless you pass `allowed_payment_method_types`.",
            code="parameter_missing",
            param="currency",
        )
    if currency is not None and currency not in currencies.KNOWN:
        raise ApiError(f"Invalid currency: {currency}", param="currency")
    data = params.get("setup_intent_data", {}) | {name: params[name] for name in _TAKEN_OVER if name in params}
    setup = setups.create(world, data | ({"customer": params["customer"]} if "customer" in params else {}))
    if currency is not None:
        setup["payment_method_types"] = intents.kinds(data | {"amount": 0, "currency": currency, **_KEPT})
    own |= {"setup_intent": setup["id"], "payment_method_types": list(setup["payment_method_types"])}
    own["payment_status"] = "no_payment_required"
    return world.add(_new(world, params, amount=None, currency=currency) | own)


def _check_urls(params: dict[str, Any]) -> None:
    if "success_url" not in params:
        raise ApiError("Missing required param: success_url.", code="parameter_missing", param="success_url")
    for name in ("success_url", "cancel_url"):
        url = params.get(name)
        if url is None:
            continue
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ApiError("Not a valid URL", code="url_invalid", param=name)
        if len(url) > _URL_MAX:
            raise ApiError(f"Invalid string: {name} must be at most {_URL_MAX} characters.", param=name)


def _expires_at(params: dict[str, Any], *, now: int) -> int:
    given: int = params.get("expires_at", now + _LIFE_MAX_S)
    if given < now + _LIFE_MIN_S - _CLOCK_SLACK_S:
        raise ApiError(
            "The `expires_at` timestamp must be at least 30 minutes from Checkout Session creation.", param="expires_at"
        )
    if given > now + _LIFE_MAX_S + _CLOCK_SLACK_S:
        raise ApiError(
            "The `expires_at` timestamp must be less than 24 hours from Checkout Session creation.", param="expires_at"
        )
    return given


def _check_payer(world: World, params: dict[str, Any]) -> None:
    if "customer" in params:
        world.referred("customer", params["customer"], param="customer")
        if "customer_email" in params:
            raise ApiError(
                "You may only specify one of these parameters: customer, customer_email.", param="customer_email"
            )
    customers.check_email(params.get("customer_email"))


def _intent_data(world: World, params: dict[str, Any], *, amount: int) -> Object:
    """Return what the session's intent will be made of; refuses now what would be refused then."""
    data: Object = dict(params.get(_OF_PAYMENT, {}))
    intents.check_split(world, data, amount=amount)
    descriptors.check(data, within=_OF_PAYMENT)
    data["metadata"] = merge_metadata({}, data.get("metadata", {}))
    return data | {name: params[name] for name in _TAKEN_OVER if name in params}


def _new(world: World, params: dict[str, Any], *, amount: int | None, currency: str | None) -> Object:
    session_id = world.new_id("checkout.session")
    return {
        "id": session_id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": None,
        "amount_subtotal": amount,
        "amount_total": amount,
        "automatic_tax": {"enabled": False, "liability": None, "provider": None, "status": None},
        "billing_address_collection": None,
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "client_secret": None,
        "collected_information": None,
        "consent": None,
        "consent_collection": None,
        "created": 0,
        "currency": currency,
        "currency_conversion": None,
        "custom_fields": [],
        "custom_text": {"after_submit": None, "shipping_address": None, "submit": None}
        | {"terms_of_service_acceptance": None},
        "customer": params.get("customer"),
        "customer_account": None,
        "customer_creation": "if_required",
        "customer_details": None,
        "customer_email": params.get("customer_email"),
        "discounts": [],
        "expires_at": 0,
        "integration_identifier": None,
        "invoice": None,
        "invoice_creation": None,
        "livemode": False,
        "locale": params.get("locale"),
        "managed_payments": {"enabled": False},
        "metadata": {},
        "mode": params["mode"],
        "origin_context": None,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": "if_required",
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {"request_three_d_secure": "automatic"} | params.get("payment_method_options", {}).get("card", {})
        },
        "allowed_payment_method_types": params.get("allowed_payment_method_types"),
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "payment_method_types": [],
        "payment_status": "unpaid",
        "permissions": None,
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "saved_payment_method_options": None,
        "setup_intent": None,
        "shipping_address_collection": None,
        "shipping_cost": None,
        "shipping_options": [],
        "status": "open",
        "submit_type": params.get("submit_type"),
        "subscription": None,
        "success_url": params["success_url"],
        "total_details": {"amount_discount": 0, "amount_shipping": 0, "amount_tax": 0},
        "ui_mode": "hosted_page",
        "url": checkout.page_url(world, session_id),
        "wallet_options": None,
    }
