"""Application fees: the platform's part of a destination charge, and what it gives back of it.

A fee that is given back goes from the platform's balance to the seller's. (U): that the platform's may go below zero
for it, and that the seller's balance transaction is an `adjustment`.
"""

from typing import Any

from sandbox.answers import page
from sandbox.balance_transactions import available_with, book
from sandbox.currencies import shown
from sandbox.errors import ApiError, missing
from sandbox.exchange_rates import settled
from sandbox.world import Object, World, merge_metadata

_APPLICATION = "ca_sandbox000000000000000000000000"  # the platform's own Connect application
_REFUNDS_SHOWN = 10  # on the fee itself


def of_charge(world: World, charge: Object, *, amount: int, available_on: int) -> Object:
    """Take the platform's fee of a destination charge."""
    fee_id = world.new_id("application_fee")
    part = settled(world, amount, currency=charge["currency"])
    fee: Object = {
        "id": fee_id,
        "object": "application_fee",
        "account": charge["transfer_data"]["destination"],
        "amount": part.amount,
        "amount_refunded": 0,
        "application": _APPLICATION,
        "balance_transaction": None,
        "charge": charge["id"],
        "created": world.clock.seconds(),
        "currency": part.currency,
        "fee_source": {"charge": charge["id"], "type": "charge"},
        "livemode": False,
        "originating_transaction": charge["id"],
        "refunded": False,
        "refunds": {"object": "list", "data": [], "has_more": False, "url": f"/v1/application_fees/{fee_id}/refunds"},
    }
    row = book(world, fee, kind="application_fee", amount=part.amount, available_on=available_on)
    fee["balance_transaction"] = row["id"]
    world.add(fee)
    world.emit("application_fee.created", fee)
    return fee


def list_all(world: World, params: dict[str, Any]) -> Object:
    charge = params.get("charge")
    return page(
        world.all("application_fee"),
        params,
        url="/v1/application_fees",
        keep=lambda fee: charge in (None, fee["charge"]),
    )


def create_refund(world: World, params: dict[str, Any], fee_id: str) -> Object:
    """Give a seller back a fee, or what is left of it, or less."""
    fee = world.get("application_fee", fee_id)
    left = fee["amount"] - fee["amount_refunded"]
    if not left:
        raise ApiError(f"Application fee {fee_id} has already been refunded.")
    amount: int = params.get("amount", left)
    if amount < 1:
        raise ApiError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        currency = fee["currency"]
        raise ApiError(
            f"Refund amount ({shown(amount, currency=currency)}) is greater than unrefunded amount on fee "
            f"({shown(left, currency=currency)})",
            param="amount",
        )
    return give_back(world, fee, amount=amount, metadata=merge_metadata({}, params.get("metadata", {})))


def give_back(world: World, fee: Object, *, amount: int, metadata: Object | None = None) -> Object:
    """Give a seller back so much of a fee."""
    available_on = available_with(world, fee["balance_transaction"])
    returned: Object = {
        "id": world.new_id("fee_refund"),
        "object": "fee_refund",
        "amount": amount,
        "balance_transaction": None,
        "created": world.clock.seconds(),
        "currency": fee["currency"],
        "fee": fee["id"],
        "metadata": metadata or {},
    }
    row = book(world, returned, kind="application_fee_refund", amount=-amount, available_on=available_on)
    returned["balance_transaction"] = row["id"]
    world.add(returned)
    book(world.connected[fee["account"]], returned, kind="adjustment", amount=amount, available_on=available_on)
    fee["amount_refunded"] += amount
    fee["refunded"] = fee["amount_refunded"] == fee["amount"]
    _show_refunds(world, fee)
    world.emit("application_fee.refunded", fee)
    return returned


def list_refunds(world: World, params: dict[str, Any], fee_id: str) -> Object:
    world.get("application_fee", fee_id)
    return page(_refunds_of(world, fee_id), params, url=f"/v1/application_fees/{fee_id}/refunds")


def retrieve_refund(world: World, _params: dict[str, Any], fee_id: str, refund_id: str) -> Object:
    returned = world.get("fee_refund", refund_id)
    if returned["fee"] != fee_id:
        raise missing("fee_refund", refund_id, param="id", status=404)
    return returned


def update_refund(world: World, params: dict[str, Any], fee_id: str, refund_id: str) -> Object:
    """Change metadata: the only thing about a fee refund that can change."""
    returned = retrieve_refund(world, {}, fee_id, refund_id)
    if "metadata" in params:
        before = returned["metadata"]
        returned["metadata"] = merge_metadata(before, params["metadata"])
        if returned["metadata"] != before:
            _show_refunds(world, world.get("application_fee", fee_id))
            world.emit("application_fee.refund.updated", returned, previous={"metadata": before})
    return returned


def _refunds_of(world: World, fee_id: str) -> list[Object]:
    return world.by_field("fee_refund", field="fee", value=fee_id)


def _show_refunds(world: World, fee: Object) -> None:
    newest = _refunds_of(world, fee["id"])[::-1]
    fee["refunds"].update(data=newest[:_REFUNDS_SHOWN], has_more=len(newest) > _REFUNDS_SHOWN)
