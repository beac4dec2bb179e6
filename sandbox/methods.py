"""Payment methods: made from test ids, attached to customers."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from sandbox.answers import page
from sandbox.banks import TEST_METHODS, of_method
from sandbox.cards import Card
from sandbox.declines import BY_REASON, EXPIRED, UNATTENDED, Decline
from sandbox.errors import ApiError, missing, named
from sandbox.world import Object, World, merge_metadata

_EXPIRES_IN_YEARS = 4
_MONTHS = 12
_ADDRESS: Object = {"city": None, "country": None, "line1": None, "line2": None, "postal_code": None, "state": None}


def resolve(world: World, method_id: str, *, param: str = "payment_method", status: int = 400) -> Object:
    """Return a payment method; a test id such as `pm_card_visa` becomes a new one, as at Stripe."""
    if method_id in TEST_METHODS:
        return _make(world, TEST_METHODS[method_id])
    found = world.find(method_id)
    if found is None or found["object"] != "payment_method":
        raise missing("PaymentMethod", method_id, param=param, status=status)
    return found


def retrieve(world: World, _params: dict[str, Any], method_id: str) -> Object:
    return resolve(world, method_id, param="payment_method", status=404)


def attach(world: World, params: dict[str, Any], method_id: str) -> Object:
    """Attach a payment method to a customer; a card that declines here is refused as Stripe's check would."""
    if "customer" not in params:
        raise ApiError("Missing required param: customer.", code="parameter_missing", param="customer")
    world.referred("customer", params["customer"], param="customer")
    method = resolve(world, method_id, status=404)
    if method["customer"] not in (None, params["customer"]):
        raise ApiError("The payment method you provided has already been attached to a customer.")
    decline = refusal(world, method, charged=False)
    if decline is not None:
        raise declined(decline)
    save(world, method, customer_id=params["customer"])
    return method


def detach(world: World, _params: dict[str, Any], method_id: str) -> Object:
    method = resolve(world, method_id, status=404)
    if method["customer"] is None:
        raise ApiError("The payment method you provided is not attached to a customer so detachment is impossible.")
    release(world, method)
    return method


def update(world: World, params: dict[str, Any], method_id: str) -> Object:
    """Change what a payer may correct of a method that is attached: its expiry, its owner, whether it is shown."""
    method = resolve(world, method_id, status=404)
    if method["customer"] is None:
        raise ApiError("You must save this PaymentMethod to a customer before you can update it.")
    changes: Object = {}
    if "billing_details" in params:
        given = params["billing_details"]
        owner = {name: given[name] or None for name in ("email", "name", "phone") if name in given}
        if "address" in given:
            owner["address"] = _ADDRESS | (given["address"] or {})
        changes["billing_details"] = method["billing_details"] | owner
    if "allow_redisplay" in params:
        changes["allow_redisplay"] = params["allow_redisplay"]
    if "metadata" in params:
        changes["metadata"] = merge_metadata(method["metadata"], params["metadata"])
    if "card" in params:
        changes["card"] = _reissued(method, params["card"])
    _change(world, method, changes, event="payment_method.updated")
    return method


def renew(world: World, method: Object, *, exp_month: int, exp_year: int) -> Object:
    """Let the card's network tell Stripe a new expiry, as when a bank sends its customer the next card."""
    changes: Object = {"card": _reissued(method, {"exp_month": exp_month, "exp_year": exp_year})}
    _change(world, method, changes, event="payment_method.automatically_updated")
    return method


def list_all(world: World, params: dict[str, Any], *, url: str = "/v1/payment_methods") -> Object:
    kind, customer = params.get("type"), params.get("customer")
    found: Iterable[Object] = world.all("payment_method")
    if customer is not None:
        world.referred("customer", customer, param="customer")
        found = world.by_field("payment_method", field="customer", value=customer)
    return page(
        found, params, url=url, keep=lambda method: method["customer"] is not None and kind in (None, method["type"])
    )


def list_of_customer(world: World, params: dict[str, Any], customer_id: str) -> Object:
    world.get("customer", customer_id)
    return list_all(world, params | {"customer": customer_id}, url=f"/v1/customers/{customer_id}/payment_methods")


def save(world: World, method: Object, *, customer_id: str) -> None:
    """Attach without any check."""
    if method["customer"] == customer_id:
        return
    method["customer"] = customer_id
    world.reindex(method, field="customer", before=None)
    world.emit("payment_method.attached", method)


def release(world: World, method: Object) -> None:
    """Detach; the method can never be used again."""
    before, method["customer"] = method["customer"], None
    world.reindex(method, field="customer", before=before)
    world.used_up.add(method["id"])
    world.emit("payment_method.detached", method, previous={"customer": before})
    customer = world.get("customer", before)
    settings = customer["invoice_settings"]
    if settings["default_payment_method"] == method["id"]:
        customer["invoice_settings"] = settings | {"default_payment_method": None}
        world.emit("customer.updated", customer, previous={"invoice_settings": settings})


def chosen(
    world: World, params: dict[str, Any], *, customer_id: str | None, of: str = "payment_intent"
) -> Object | None:
    """Return the payment method a call names, if it names one."""
    if "payment_method" not in params:
        return None
    method = resolve(world, params["payment_method"])
    check_usable(world, method, customer_id=customer_id, of=of)
    return method


def refusal(world: World, method: Object, *, charged: bool) -> Decline | None:
    """Return why the issuer refuses a method, if it does; some cards may be kept and are refused when `charged`."""
    card = world.cards[method["id"]]
    if card.decline is not None and (charged or card.declines_on_attach):
        return card.decline
    return EXPIRED if _is_expired(world, method) else None


def charge_refusal(world: World, method: Object) -> Decline | None:
    """Return why this charge is refused, if it is; one that was ordered is used up."""
    order = world.declining.get(method["id"])
    if order is None:
        return refusal(world, method, charged=True)
    if order["times"] is not None:
        order["times"] -= 1
        if order["times"] == 0:
            del world.declining[method["id"]]
    ordered = BY_REASON[order["reason"]]
    if ordered is UNATTENDED:  # the payer has just passed
        return refusal(world, method, charged=True)
    return replace(ordered, advice_code=order["advice_code"])


def order_refusals(
    world: World, method: Object, *, reason: str, times: int | None = 1, advice_code: str | None = ""
) -> Object:
    """Let the issuer refuse the next `times` charges of a method, or all; raises ValueError for an unknown reason.

    An `advice_code` of "" is the one that goes with the reason. `authentication_required` is what a charge without the
    payer is refused with, until they have passed 3-D Secure so many times.
    """
    if reason not in BY_REASON:
        raise ValueError(f"unknown reason {reason!r}: one of {', '.join(sorted(BY_REASON))}")
    if times == 0:
        world.declining.pop(method["id"], None)
    else:
        advice = BY_REASON[reason].advice_code if advice_code == "" else advice_code
        world.declining[method["id"]] = {"reason": reason, "times": times, "advice_code": advice}
    return method


def declined(decline: Decline, **fields: Any) -> ApiError:
    """Return the 402 for a refused card."""
    return ApiError(
        decline.message,
        status=402,
        type="card_error",
        code=decline.code,
        decline_code=decline.decline_code,
        advice_code=decline.advice_code,
        param="exp_month" if decline.code == "expired_card" else "cvc" if decline.code == "incorrect_cvc" else None,
        **fields,
    )


def check_usable(world: World, method: Object, *, customer_id: str | None, of: str = "payment_intent") -> None:
    """Refuse another customer's payment method, and one that was used up without a customer."""
    owner = method["customer"]
    if owner is not None and owner != customer_id:
        raise ApiError(
            f"The provided PaymentMethod ({method['id']}) belongs to a Customer. Please include that Customer in the "
            f"`customer` parameter on the {named(of)}.",
            param="payment_method",
        )
    if owner is None and method["id"] in world.used_up:
        raise ApiError(
            "The provided PaymentMethod was previously used with a PaymentIntent without Customer attachment or was "
            "detached from a Customer. It may not be used again.",
            param="payment_method",
        )


def _is_expired(world: World, method: Object) -> bool:
    """Whether the month that is printed on the card is over."""
    if method["type"] != "card":
        return False
    now = time.gmtime(world.clock.seconds())
    return bool((method["card"]["exp_year"], method["card"]["exp_month"]) < (now.tm_year, now.tm_mon))


def _reissued(method: Object, given: Object) -> Object:
    """Return a card's facts with another expiry; its fingerprint is of its number and stays."""
    if method["type"] != "card":
        raise ApiError("You cannot update `card` of a PaymentMethod that is none.", param="card")
    if not 1 <= given.get("exp_month", 1) <= _MONTHS:
        raise ApiError("Your card's expiration month is invalid.", code="invalid_expiry_month", param="card[exp_month]")
    known: Object = method["card"]
    return known | {name: given[name] for name in ("exp_month", "exp_year") if name in given}


def _change(world: World, method: Object, changes: Object, *, event: str) -> None:
    previous = {name: method[name] for name, value in changes.items() if method[name] != value}
    method.update(changes)
    if previous:
        world.emit(event, method, previous=previous)


def _make(world: World, card: Card) -> Object:
    method: Object = {
        "id": world.new_id("payment_method"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {"address": dict(_ADDRESS), "email": None, "name": None, "phone": None, "tax_id": None},
        card.kind: of_method(card)
        if card.kind != "card"
        else {
            "brand": card.brand,
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "unchecked"},
            "country": card.country,
            "display_brand": card.brand,
            "exp_month": 12,
            "exp_year": 1970 + world.clock.seconds() // 31_556_952 + _EXPIRES_IN_YEARS,
            "fingerprint": f"sandbox{card.brand[:4]}{card.last4}",
            "funding": card.funding,
            "generated_from": None,
            "last4": card.last4,
            "networks": {"available": [card.brand], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": world.clock.seconds(),
        "customer": None,
        "customer_account": None,
        "livemode": False,
        "metadata": {},
        "type": card.kind,
    }
    world.cards[method["id"]] = card
    return world.add(method)
