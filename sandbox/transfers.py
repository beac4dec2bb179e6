"""Transfers that the platform makes to sellers: from a charge, or from what it has available.

Stripe's rules as docs.stripe.com/connect/separate-charges-and-transfers has them. (U): that a part of a source that was
reversed may not be used again; the words of refusals.
"""

from typing import Any

from sandbox import accounts, seller_money, settlement
from sandbox.answers import page
from sandbox.balance_transactions import available_with
from sandbox.currencies import KNOWN, check_step, shown
from sandbox.errors import ApiError
from sandbox.world import Object, World, merge_metadata


def create(world: World, params: dict[str, Any]) -> Object:
    """Pay a seller from a charge (`source_transaction`), or else from what the platform has available."""
    amount, currency = _amount(params), params["currency"].lower()
    if currency not in KNOWN:
        raise ApiError(f"Invalid currency: {currency}", param="currency")
    check_step(amount, currency=currency)
    accounts.check_destination(world, params["destination"], param="destination")
    group, source, available_on = params.get("transfer_group"), params.get("source_transaction"), None
    if source is not None:
        charge = _source(world, source, group=group, amount=amount, currency=currency)
        group, available_on = charge["transfer_group"], available_with(world, charge["balance_transaction"])
    elif amount > world.balance.available.get(currency, 0):
        raise ApiError(
            "You have insufficient available funds in your Stripe account. Try adding funds directly to your available "
            "balance by creating Charges using the 4000000000000077 test card.",
            code="balance_insufficient",
        )
    return seller_money.pay(
        world,
        amount=amount,
        currency=currency,
        destination=params["destination"],
        source=source,
        group=group,
        description=params.get("description"),
        metadata=merge_metadata({}, params.get("metadata", {})),
        available_on=available_on,
    )


def update(world: World, params: dict[str, Any], transfer_id: str) -> Object:
    transfer = world.get("transfer", transfer_id)
    changes: Object = {"description": params["description"] or None} if "description" in params else {}
    if "metadata" in params:
        changes["metadata"] = merge_metadata(transfer["metadata"], params["metadata"])
    previous = {name: transfer[name] for name, value in changes.items() if transfer[name] != value}
    transfer.update(changes)
    if previous:
        world.emit("transfer.updated", transfer, previous=previous)
    return transfer


def list_all(world: World, params: dict[str, Any]) -> Object:
    wanted = {name: params[name] for name in ("destination", "transfer_group") if name in params}
    return page(
        world.all("transfer"),
        params,
        url="/v1/transfers",
        keep=lambda transfer: all(transfer[name] == wanted[name] for name in wanted),
    )


def _amount(params: dict[str, Any]) -> int:
    if "amount" not in params:
        raise ApiError("Missing required param: amount.", code="parameter_missing", param="amount")
    amount: int = params["amount"]
    if amount < 1:
        raise ApiError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    return amount


def _source(world: World, charge_id: str, *, group: str | None, amount: int, currency: str) -> Object:
    """Return the charge a transfer is to be paid from; refuses what the charge does not cover."""
    charge = world.referred("charge", charge_id, param="source_transaction")
    if charge["status"] != "succeeded" or not charge["amount_captured"]:
        raise ApiError(f"Charge {charge_id} took no money that could be transferred.", param="source_transaction")
    if group is not None and charge["transfer_group"] not in (None, group):
        raise ApiError(
            f"The transfer_group must be that of the source transaction ({charge['transfer_group']}).",
            param="transfer_group",
        )
    settlement.settle(world, charge, announce=True)  # what is transferred has to be on the books first
    rows = settlement.captures_of(world, charge)
    if rows[0]["currency"] != currency:
        raise ApiError(
            f"The currency of source_transaction's balance transaction ({rows[0]['currency']}) must be the same as the "
            f"transfer currency ({currency})",
            param="currency",
        )
    whole = sum(int(row["amount"]) for row in rows)
    used = sum(
        int(transfer["amount"]) for transfer in world.by_field("transfer", field="source_transaction", value=charge_id)
    )
    if used + amount > whole:
        raise ApiError(
            "Transfers using this transaction as a source must not exceed the source amount of "
            f"{shown(whole, currency=currency)}. (There is already an existing amount of "
            f"{shown(used, currency=currency)} that has been transferred from this source.)",
            param="amount",
        )
    if charge["transfer_group"] is None and group is not None:
        charge["transfer_group"] = group
    seller_money.join_group(charge)
    return charge
