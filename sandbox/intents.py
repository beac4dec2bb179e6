"""PaymentIntents as objects: create, update, list, and what may be asked of them. Their life is in lifecycle.py."""

from collections.abc import Iterable
from typing import Any

from sandbox import (
    accounts,
    banks,
    challenge,
    confirmation_tokens,
    currencies,
    descriptors,
    exchange_rates,
    lifecycle,
    methods,
)
from sandbox.answers import page
from sandbox.errors import ApiError, unexpected_state
from sandbox.world import Object, World, merge_metadata, snapshot

_ONLY_WITH_CONFIRM = ("error_on_requires_action", "off_session", "return_url")
_UPDATABLE_ALWAYS = frozenset({"description", "metadata", "receipt_email"})
_OPEN = ("requires_payment_method", "requires_confirmation", "requires_action")
_CLIENT_SECRET_LENGTH = 25


def create(world: World, params: dict[str, Any]) -> Object:
    """Create an intent and, with `confirm`, confirm it: a decline is a 402 and leaves the intent behind."""
    currency = params["currency"].lower()
    currencies.check(params["amount"], currency=currency)
    exchange_rates.check(world, currency)
    confirm = params.get("confirm", False)
    for name in _ONLY_WITH_CONFIRM:
        if name in params and not confirm:
            raise ApiError(f"The parameter `{name}` is only allowed together with `confirm=true`.", param=name)
    if "customer" in params:
        world.referred("customer", params["customer"], param="customer")
    check_split(world, params, amount=params["amount"])
    descriptors.check(params)
    automatic = automatic_methods(params)
    if confirm:
        challenge.check_return_url(automatic, params)
    method = methods.chosen(world, params, customer_id=params.get("customer"))
    if confirm and method is None:
        raise ApiError(
            "You cannot confirm this PaymentIntent because it's missing a payment method. To confirm the PaymentIntent "
            "with `confirm=true`, specify a payment method or a ConfirmationToken.",
            param="payment_method",
        )
    intent = world.add(_new(world, params, currency=currency, automatic=automatic, method=method))
    world.emit("payment_intent.created", intent)
    if confirm:
        lifecycle.confirm(world, intent, params)
    return intent


def retrieve(world: World, params: dict[str, Any], intent_id: str) -> Object:
    intent = world.get("payment_intent", intent_id, param="intent")
    if "client_secret" in params and params["client_secret"] != intent["client_secret"]:
        raise ApiError("The client_secret provided does not match the PaymentIntent.", param="client_secret")
    return intent


def update(world: World, params: dict[str, Any], intent_id: str) -> Object:
    """Change an intent; once it is past confirmation only metadata, description and receipt address may change."""
    intent = world.get("payment_intent", intent_id, param="intent")
    if intent["status"] not in _OPEN and not _UPDATABLE_ALWAYS.issuperset(params):
        raise unexpected_state(
            f"This PaymentIntent could not be updated because it has a status of {intent['status']}.", intent=intent
        )
    amount: int = params["amount"] if "amount" in params else intent["amount"]
    currencies.check(amount, currency=intent["currency"])
    customer_id = params.get("customer", intent["customer"])
    if "customer" in params:
        world.referred("customer", params["customer"], param="customer")
    fee = params.get("application_fee_amount", intent["application_fee_amount"])
    check_split(world, {"transfer_data": intent["transfer_data"], "application_fee_amount": fee or None}, amount=amount)
    method = methods.chosen(world, params, customer_id=customer_id)
    before = intent["customer"]
    intent.update({name: params[name] or None for name in ("description", "receipt_email") if name in params})
    intent.update({name: params[name] for name in ("statement_descriptor_suffix", "transfer_group") if name in params})
    intent["payment_method_types"] = kinds(intent | {"amount": amount}, automatic=intent["automatic_payment_methods"])
    intent.update(amount=amount, customer=customer_id, application_fee_amount=fee if fee != "" else None)
    if before != customer_id:
        world.reindex(intent, field="customer", before=before)
    if "metadata" in params:
        intent["metadata"] = merge_metadata(intent["metadata"], params["metadata"])
    if method is not None:
        # A new payment method has to be confirmed again, whatever was begun with the old one.
        intent.update(payment_method=method["id"], status="requires_confirmation", next_action=None)
    return intent


def confirm(world: World, params: dict[str, Any], intent_id: str) -> Object:
    intent = world.get("payment_intent", intent_id, param="intent")
    lifecycle.check_confirmable(intent)
    challenge.check_return_url(intent["automatic_payment_methods"], params)
    if intent["transfer_data"] is not None:
        accounts.check_destination(world, intent["transfer_data"]["destination"])  # it may have been stopped since
    method = confirmation_tokens.chosen(
        world, params, customer_id=intent["customer"], intent_id=intent_id, of="payment_intent"
    )
    if method is not None:
        intent["payment_method"] = method["id"]
    elif intent["payment_method"] is None:
        raise unexpected_state(
            "You cannot confirm this PaymentIntent because it's missing a payment method. You can either update the "
            "PaymentIntent with a payment method and then confirm it again, or confirm it again directly with a "
            "payment method or ConfirmationToken.",
            intent=intent,
        )
    else:
        methods.check_usable(world, method_of(world, intent), customer_id=intent["customer"])
    lifecycle.confirm(world, intent, params)
    return intent


def list_all(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all("payment_intent")
    if "customer" in params:
        found = world.by_field("payment_intent", field="customer", value=params["customer"])
    return page(found, params, url="/v1/payment_intents")


def method_of(world: World, intent: Object) -> Object:
    return world.get("payment_method", intent["payment_method"])


def public(intent: Object) -> Object:
    """Return what a publishable key may see of an intent."""
    hidden = ("application_fee_amount", "metadata", "transfer_data", "transfer_group")
    shown: Object = snapshot({name: value for name, value in intent.items() if name not in hidden})
    return shown


def automatic_methods(params: dict[str, Any]) -> Object:
    """Return `automatic_payment_methods`; without the parameter the Dashboard's methods apply, redirects included."""
    given = params.get("automatic_payment_methods")
    if given is None:
        return {"allow_redirects": "always", "enabled": True}
    if not given["enabled"]:
        raise ApiError(
            "The sandbox takes cards through automatic payment methods only: `enabled` must be true.",
            status=501,
            type="api_error",
            param="automatic_payment_methods[enabled]",
        )
    return {"allow_redirects": given.get("allow_redirects", "always"), "enabled": True}


def kinds(described: Object, *, automatic: Object | None = None) -> list[str]:
    """Return the kinds of method that an intent, or what one is made of, takes."""
    return banks.kinds_for(
        currency=described["currency"],
        amount=described["amount"],
        manual=described.get("capture_method") == "manual",
        redirects=automatic is None or automatic["allow_redirects"] == "always",
        kept=described.get("setup_future_usage") is not None,
        allowed=described.get("allowed_payment_method_types"),
        excluded=described.get("excluded_payment_method_types") or (),
    )


def check_split(world: World, params: dict[str, Any], *, amount: int) -> None:
    data, fee = params.get("transfer_data"), params.get("application_fee_amount")
    if "on_behalf_of" in params:
        world.referred("account", params["on_behalf_of"], param="on_behalf_of")
    if fee is not None and fee < 0:
        raise ApiError(
            "This value must be greater than or equal to 0.",
            code="parameter_invalid_integer",
            param="application_fee_amount",
        )
    if fee is not None and data is None:
        raise ApiError(
            "Can only apply an application_fee_amount when the PaymentIntent is attempting a direct payment (using an "
            "OAuth key or Stripe-Account header) or destination payment (using `transfer_data[destination]`).",
            param="application_fee_amount",
        )
    if fee is not None and fee > amount:
        raise ApiError("Fees must be less than or equal to the charge amount.", param="application_fee_amount")
    if data is None:
        return
    accounts.check_destination(world, data["destination"])
    if data.get("amount") is None:
        return
    if fee is not None:
        raise ApiError(
            "You may only specify one of these parameters: application_fee_amount, transfer_data[amount].",
            param="transfer_data[amount]",
        )
    if not 1 <= data["amount"] <= amount:
        raise ApiError(
            "The transfer_data[amount] must be positive and at most the charge amount.", param="transfer_data[amount]"
        )


def _new(world: World, params: dict[str, Any], *, currency: str, automatic: Object, method: Object | None) -> Object:
    intent_id = world.new_id("payment_intent")
    data = params.get("transfer_data")
    transfer_data = {name: data[name] for name in ("destination", "amount") if name in data} if data else None
    return {
        "id": intent_id,
        "object": "payment_intent",
        "amount": params["amount"],
        "amount_capturable": 0,
        "amount_details": {"tip": {}},
        "amount_received": 0,
        "application": None,
        "application_fee_amount": params.get("application_fee_amount"),
        "automatic_payment_methods": automatic,
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": params.get("capture_method", "automatic_async"),
        "client_secret": f"{intent_id}_secret_{world.token(_CLIENT_SECRET_LENGTH)}",
        "confirmation_method": "automatic",
        "created": world.clock.seconds(),
        "currency": currency,
        "customer": params.get("customer"),
        "customer_account": None,
        "description": params.get("description"),
        "allowed_payment_method_types": params.get("allowed_payment_method_types"),
        "excluded_payment_method_types": params.get("excluded_payment_method_types"),
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "managed_payments": {"enabled": False},
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "next_action": None,
        "on_behalf_of": params.get("on_behalf_of"),
        "payment_method": method["id"] if method else None,
        "payment_method_configuration_details": None,
        "payment_method_options": {
            "card": {
                "installments": None,
                "mandate_options": None,
                "network": None,
                "request_three_d_secure": "automatic",
            }
            | params.get("payment_method_options", {}).get("card", {})
        },
        "payment_method_types": kinds(params | {"currency": currency}, automatic=automatic),
        "processing": None,
        "receipt_email": params.get("receipt_email"),
        "review": None,
        "setup_future_usage": params.get("setup_future_usage"),
        "shipping": None,
        "source": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": params.get("statement_descriptor_suffix"),
        "status": "requires_confirmation" if method else "requires_payment_method",
        "transfer_data": transfer_data,
        "transfer_group": params.get("transfer_group"),
    }
