"""Charges: the attempt to take money. What moves once it is taken is in settlement.py."""

from collections.abc import Iterable
from typing import Any

from sandbox import banks, descriptors, settlement
from sandbox.answers import page
from sandbox.cards import Card
from sandbox.declines import Decline
from sandbox.world import Object, World, merge_metadata


def attempt(
    world: World,
    intent: Object,
    method: Object,
    *,
    decline: Decline | None,
    authenticated: bool,
    pending: bool = False,
    held: Object | None = None,
) -> Object:
    """Create the charge of a confirmed intent, and emit its event: succeeded or failed, unless it is `pending`.

    `held` is what the card's details say of a hold.
    """
    card = world.cards[method["id"]]
    manual = intent["capture_method"] == "manual"
    ok = decline is None
    status = "pending" if pending else "succeeded" if ok else "failed"
    captured = ok and not manual
    charge_id = world.new_id("charge")
    charge: Object = {
        "id": charge_id,
        "object": "charge",
        "amount": intent["amount"],
        "amount_captured": intent["amount"] if captured else 0,
        "amount_refunded": 0,
        "application": None,
        "application_fee": None,
        "application_fee_amount": intent["application_fee_amount"],
        "balance_transaction": None,
        "billing_details": method["billing_details"],
        "calculated_statement_descriptor": descriptors.shown(intent["statement_descriptor_suffix"]),
        "captured": captured,
        "created": world.clock.seconds(),
        "currency": intent["currency"],
        "customer": intent["customer"],
        "description": intent["description"],
        "disputed": False,
        "failure_balance_transaction": None,
        "failure_code": decline.code if decline else None,
        "failure_message": decline.message if decline else None,
        "fraud_details": {},
        "livemode": False,
        "metadata": dict(intent["metadata"]),
        "on_behalf_of": intent["on_behalf_of"],
        "outcome": outcome(decline),
        "paid": status == "succeeded",
        "payment_intent": intent["id"],
        "payment_method": method["id"],
        "payment_method_details": _details(
            method, card, charged=intent["amount"], authenticated=authenticated, held=held or {}
        )
        if card.kind == "card"
        else banks.of_charge(world, method, card),
        "radar_options": {},
        "receipt_email": intent["receipt_email"],
        "receipt_number": None,
        "receipt_url": None,
        "refunded": False,
        "review": None,
        "shipping": None,
        "source": None,
        "source_transfer": None,
        "statement_descriptor": None,
        "statement_descriptor_suffix": intent["statement_descriptor_suffix"],
        "status": status,
        "transfer_data": _transfer_data(intent),
        "transfer_group": intent["transfer_group"],
    }
    world.add(charge)
    intent["latest_charge"] = charge_id
    settles = captured and status == "succeeded"
    if settles and intent["capture_method"] == "automatic":
        settlement.settle(world, charge, announce=False)
    world.emit(f"charge.{status}", charge)
    if settles and intent["capture_method"] == "automatic_async":
        settlement.settle_later(world, charge)
    return charge


def is_captured_often(charge: Object) -> bool:
    """Whether a charge may be captured in several parts."""
    card = charge["payment_method_details"].get("card", {})
    return bool(card.get("multicapture", {}).get("status") == "available")


def count_refunded(charge: Object, amount: int = 0) -> None:
    """Count `amount` (minor units, negative for a refund that failed) as given back to the payer.

    What a hold's only capture leaves counts as refunded too; what is left after several does not.
    """
    charge["amount_refunded"] += amount
    whole = charge["amount_captured"] if is_captured_often(charge) else charge["amount"]
    charge["refunded"] = charge["captured"] and charge["amount_refunded"] >= whole


def list_charges(world: World, params: dict[str, Any]) -> Object:
    found: Iterable[Object] = world.all("charge")
    for field in ("payment_intent", "customer"):
        if field in params:
            found = world.by_field("charge", field=field, value=params[field])
            break
    wanted = {name: params[name] for name in ("payment_intent", "customer", "transfer_group") if name in params}
    return page(
        found, params, url="/v1/charges", keep=lambda charge: all(charge[name] == wanted[name] for name in wanted)
    )


def update(world: World, params: dict[str, Any], charge_id: str) -> Object:
    charge = world.get("charge", charge_id)
    changes: Object = {name: params[name] or None for name in ("description", "receipt_email") if name in params}
    if "metadata" in params:
        changes["metadata"] = merge_metadata(charge["metadata"], params["metadata"])
    previous = {name: charge[name] for name, value in changes.items() if charge[name] != value}
    charge.update(changes)
    if previous:
        world.emit("charge.updated", charge, previous=previous)
    return charge


def _transfer_data(intent: Object) -> Object | None:
    data = intent["transfer_data"]
    return {"amount": data.get("amount"), "destination": data["destination"]} if data else None


def outcome(decline: Decline | None) -> Object:
    sent = "approved_by_network" if decline is None else "declined_by_network"
    said: Object = {
        "advice_code": None,
        "network_advice_code": None,
        "network_decline_code": None,
        "network_status": sent,
        "reason": None,
        "risk_level": "normal",
        "risk_score": 20,
        "seller_message": "Payment complete.",
        "type": "authorized",
    }
    if decline is None:
        return said
    if decline.blocked:
        return said | {
            "network_status": "not_sent_to_network",
            "reason": "highest_risk_level",
            "risk_level": "highest",
            "risk_score": 90,
            "seller_message": "Stripe blocked this payment as too risky.",
            "type": "blocked",
        }
    return said | {
        "advice_code": decline.advice_code,
        "reason": decline.decline_code or decline.code,
        "seller_message": "The bank did not return any further details with this decline.",
        "type": "issuer_declined",
    }


def _details(method: Object, card: Card, *, charged: int, authenticated: bool, held: Object) -> Object:
    known = method["card"]
    three_d_secure: Object = {
        "authentication_flow": "challenge",
        "electronic_commerce_indicator": "05",
        "exemption_indicator": None,
        "result": "authenticated",
        "result_reason": None,
        "transaction_id": None,
        "version": "2.2.0",
    }
    details: Object = {
        "amount_authorized": charged,
        "authorization_code": None,
        "brand": card.brand,
        "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": None},
        "country": card.country,
        "exp_month": known["exp_month"],
        "exp_year": known["exp_year"],
        "extended_authorization": {"status": "disabled"},
        "fingerprint": known["fingerprint"],
        "funding": card.funding,
        "incremental_authorization": {"status": "unavailable"},
        "installments": None,
        "last4": card.last4,
        "mandate": None,
        "multicapture": {"status": "unavailable"},
        "network": card.brand,
        "network_token": {"used": False},
        "network_transaction_id": None,
        "overcapture": {"maximum_amount_capturable": charged, "status": "unavailable"},
        "regulated_status": "unregulated",
        "three_d_secure": three_d_secure if authenticated else None,
        "transaction_link_id": None,
        "wallet": None,
    }
    return {"card": details | held, "type": "card"}
