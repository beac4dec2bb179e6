"""Charges: the attempt to take money, its settlement, and what a destination charge moves to the seller.

Fees are the stand-in's own figures: 2.9 % + 30 minor units of the charge's currency, rounded half up.
"""

from typing import Any

from sandbox import banks
from sandbox.answers import page
from sandbox.cards import Card
from sandbox.declines import Decline
from sandbox.world import Object, World, merge_metadata

SETTLEMENT = "settlement"  # the label of what settles later on the agenda
_FEE_PER_MILLE = 29
_FEE_FIXED_MINOR = 30
_AVAILABLE_AFTER_S = 2 * 86_400
_APPLICATION = "ca_sandbox000000000000000000000000"  # the platform's own Connect application


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
        "calculated_statement_descriptor": "BATZEN SANDBOX",
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
        "on_behalf_of": None,
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
        settle(world, charge, announce=False)
    world.emit(f"charge.{status}", charge)
    if settles and intent["capture_method"] == "automatic_async":
        settle_later(world, charge)
    return charge


def settle_later(world: World, charge: Object) -> None:
    """Let a charge settle by itself, a moment after its event."""
    world.later(world.settings.settle_delay_s, lambda: settle(world, charge, announce=True), label=SETTLEMENT)


def take_up(world: World, charge: Object) -> None:
    """Let a charge that was about to settle do so after a restart."""
    if charge["captured"] and charge["status"] == "succeeded" and charge["id"] not in world.settled:
        settle_later(world, charge)


def settle(world: World, charge: Object, *, announce: bool) -> None:
    """Give a captured charge its balance transaction, transfer and application fee; a second call changes nothing."""
    if charge["id"] not in world.settled:
        fee: int | None = charge["application_fee_amount"]
        settle_capture(world, charge, amount=charge["amount_captured"], fee=fee, announce=announce)


def settle_capture(world: World, charge: Object, *, amount: int, fee: int | None, announce: bool) -> None:
    """Book one capture of a charge: each has a balance transaction, transfer and application fee of its own.

    The charge names those of the last one (U).
    """
    world.settled.add(charge["id"])
    processing_fee = (amount * _FEE_PER_MILLE + 500) // 1000 + _FEE_FIXED_MINOR
    changes: Object = {
        "balance_transaction": entry(world, charge, kind="charge", amount=amount, fee=processing_fee)["id"],
    }
    if charge["transfer_data"] is not None:
        transfer = _transfer(world, charge, amount=amount)
        changes["transfer"] = transfer["id"]
        world.emit("transfer.created", transfer)
        if fee:
            # The fee cannot exceed what was captured.
            application_fee = _application_fee(world, charge, amount=min(fee, amount))
            changes["application_fee"] = application_fee["id"]
            world.emit("application_fee.created", application_fee)
    previous = {name: charge.get(name) for name in changes}
    charge.update(changes)
    if announce:
        world.emit("charge.updated", charge, previous=previous)


def captures_of(world: World, charge: Object) -> list[Object]:
    """Return the balance transactions of a charge's captures, oldest first."""
    entries = world.by_field("balance_transaction", field="source", value=charge["id"])
    return [found for found in entries if found["type"] == "charge"]


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


def entry(world: World, source: Object, *, kind: str, amount: int, fee: int = 0) -> Object:
    """Create a balance transaction (signed minor units) for `source`."""
    now = world.clock.seconds()
    details = [
        {
            "amount": fee,
            "application": None,
            "currency": source["currency"],
            "description": "Stripe processing fees",
            "type": "stripe_fee",
        }
    ]
    return world.add(
        {
            "id": world.new_id("balance_transaction"),
            "object": "balance_transaction",
            "amount": amount,
            "available_on": now + _AVAILABLE_AFTER_S,
            "balance_type": "payments",
            "created": now,
            "currency": source["currency"],
            "description": source.get("description"),
            "exchange_rate": None,
            "fee": fee,
            "fee_details": details if fee else [],
            "net": amount - fee,
            "reporting_category": _CATEGORY_OF.get(kind, kind),
            "source": source["id"],
            "status": "pending",
            "type": kind,
        }
    )


_CATEGORY_OF = {
    "application_fee": "platform_earning",
    "application_fee_refund": "platform_earning_refund",
    "transfer_refund": "transfer_reversal",
}


def list_charges(world: World, params: dict[str, Any]) -> Object:
    found = list(world.all("charge"))
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


def list_entries(world: World, params: dict[str, Any]) -> Object:
    found = list(world.all("balance_transaction"))
    if "source" in params:
        found = world.by_field("balance_transaction", field="source", value=params["source"])
    wanted = {name: params[name] for name in ("type", "currency") if name in params}
    return page(
        found,
        params,
        url="/v1/balance_transactions",
        keep=lambda row: all(row[name] == wanted[name] for name in wanted),
    )


def list_transfers(world: World, params: dict[str, Any]) -> Object:
    wanted = {name: params[name] for name in ("destination", "transfer_group") if name in params}
    return page(
        world.all("transfer"),
        params,
        url="/v1/transfers",
        keep=lambda transfer: all(transfer[name] == wanted[name] for name in wanted),
    )


def list_fees(world: World, params: dict[str, Any]) -> Object:
    charge = params.get("charge")
    return page(
        world.all("application_fee"),
        params,
        url="/v1/application_fees",
        keep=lambda fee: charge in (None, fee["charge"]),
    )


def _transfer(world: World, charge: Object, *, amount: int) -> Object:
    transfer_id = world.new_id("transfer")
    part = charge["transfer_data"]["amount"]
    transfer: Object = {
        "id": transfer_id,
        "object": "transfer",
        "amount": amount if part is None else part,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": world.clock.seconds(),
        "currency": charge["currency"],
        "description": None,
        "destination": charge["transfer_data"]["destination"],
        "destination_payment": f"py_{world.token(24)}",
        "livemode": False,
        "metadata": {},
        "reversals": {"object": "list", "data": [], "has_more": False, "url": f"/v1/transfers/{transfer_id}/reversals"},
        "reversed": False,
        "source_transaction": charge["id"],
        "source_type": "card",
        "transfer_group": charge["transfer_group"] or f"group_{charge['payment_intent']}",
    }
    charge["transfer_group"] = transfer["transfer_group"]
    transfer["balance_transaction"] = entry(world, transfer, kind="transfer", amount=-transfer["amount"])["id"]
    return world.add(transfer)


def _application_fee(world: World, charge: Object, *, amount: int) -> Object:
    fee_id = world.new_id("application_fee")
    fee: Object = {
        "id": fee_id,
        "object": "application_fee",
        "account": charge["transfer_data"]["destination"],
        "amount": amount,
        "amount_refunded": 0,
        "application": _APPLICATION,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": world.clock.seconds(),
        "currency": charge["currency"],
        "fee_source": {"charge": charge["id"], "type": "charge"},
        "livemode": False,
        "originating_transaction": charge["id"],
        "refunded": False,
        "refunds": {"object": "list", "data": [], "has_more": False, "url": f"/v1/application_fees/{fee_id}/refunds"},
    }
    fee["balance_transaction"] = entry(world, fee, kind="application_fee", amount=amount)["id"]
    return world.add(fee)


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
