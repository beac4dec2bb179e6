"""Customers and the payment methods saved with them."""

import re
from typing import Any

from sandbox import methods
from sandbox.answers import page
from sandbox.errors import ApiError, missing
from sandbox.world import Object, World, merge_metadata

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_LABEL}(?:\.{_LABEL})+")
_PLAIN = ("description", "email", "name", "phone")


def create(world: World, params: dict[str, Any]) -> Object:
    check_email(params.get("email"))
    customer_id = world.new_id("customer")
    customer: Object = {
        "id": customer_id,
        "object": "customer",
        "address": params.get("address") or None,
        "balance": 0,
        "created": world.clock.seconds(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": params.get("description"),
        "discount": None,
        "email": params.get("email"),
        "invoice_prefix": customer_id[4:12].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": merge_metadata({}, params.get("metadata", {})),
        "name": params.get("name"),
        "next_invoice_sequence": 1,
        "phone": params.get("phone"),
        "preferred_locales": params.get("preferred_locales", []),
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }
    world.add(customer)
    world.emit("customer.created", customer)
    return customer


def retrieve(world: World, _params: dict[str, Any], customer_id: str) -> Object:
    found = world.find(customer_id)
    if found is None or found["object"] != "customer":
        raise missing("customer", customer_id, param="id", status=404)
    return found


def update(world: World, params: dict[str, Any], customer_id: str) -> Object:
    customer = world.get("customer", customer_id)
    check_email(params.get("email"))
    default = params.get("invoice_settings", {}).get("default_payment_method")
    if default:
        method = world.referred("payment_method", default, param="invoice_settings[default_payment_method]")
        if method["customer"] != customer_id:
            raise _not_attached(default)
    changes: Object = {}
    if default is not None:
        changes["invoice_settings"] = customer["invoice_settings"] | {"default_payment_method": default or None}
    changes |= {name: params[name] or None for name in (*_PLAIN, "address") if name in params}
    if "preferred_locales" in params:
        changes["preferred_locales"] = params["preferred_locales"]
    if "metadata" in params:
        changes["metadata"] = merge_metadata(customer["metadata"], params["metadata"])
    previous = {name: customer[name] for name, value in changes.items() if customer[name] != value}
    customer.update(changes)
    if previous:
        world.emit("customer.updated", customer, previous=previous)
    return customer


def delete(world: World, _params: dict[str, Any], customer_id: str) -> Object:
    customer = world.get("customer", customer_id)
    for method in world.by_field("payment_method", field="customer", value=customer_id):
        methods.release(world, method)
    world.emit("customer.deleted", customer)
    world.remove(customer)
    customer.clear()
    customer.update({"id": customer_id, "object": "customer", "deleted": True})
    return customer


def list_all(world: World, params: dict[str, Any]) -> Object:
    email = params.get("email")
    return page(
        world.all("customer"), params, url="/v1/customers", keep=lambda customer: email in (None, customer["email"])
    )


def check_email(email: str | None) -> None:
    """Refuse what Stripe does not take for an address: dots astray, a domain without one, what is not ASCII."""
    if email and not _EMAIL.fullmatch(email):
        raise ApiError(f"Invalid email address: {email}", code="email_invalid", param="email")


def _not_attached(method_id: str) -> ApiError:
    return ApiError(
        f"The customer does not have a payment method with the ID {method_id}. "
        "The payment method must be attached to the customer.",
        code="resource_missing",
        param="invoice_settings[default_payment_method]",
    )
