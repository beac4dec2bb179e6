"""What moves once money is taken: its balance transaction, and the transfer and fee of a destination charge.

Fees are the stand-in's own figures: 2.9 % + 30 minor units of the charge's currency, rounded half up.
"""

from typing import Any

from sandbox.answers import page
from sandbox.world import Object, World

SETTLEMENT = "settlement"  # the label of what settles later on the agenda
_FEE_PER_MILLE = 29
_FEE_FIXED_MINOR = 30
_AVAILABLE_AFTER_S = 2 * 86_400
_APPLICATION = "ca_sandbox000000000000000000000000"  # the platform's own Connect application


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
