"""Transfer reversals: what is taken back from a seller.

On the seller's own account it is a balance transaction of type `payment_refund`. Stripe's rule: the transfer of a
destination charge is reversed whatever the seller has, any other only as far as the seller has it. (U): that this
counts the seller's pending money, too; that the seller goes below zero in the first case; the words of refusals.
"""

from typing import Any

from sandbox.answers import page
from sandbox.balance_transactions import available_with, book
from sandbox.currencies import check_step, shown
from sandbox.errors import ApiError, missing
from sandbox.world import Object, World, merge_metadata

_SHOWN = 10  # on the transfer itself


def create(world: World, params: dict[str, Any], transfer_id: str) -> Object:
    """Take back a transfer or a part of it, as far as the seller has it."""
    transfer = world.get("transfer", transfer_id)
    left = transfer["amount"] - transfer["amount_reversed"]
    if not left:
        raise ApiError(f"Transfer {transfer_id} is already fully reversed.")
    amount: int = params.get("amount", left)
    if amount < 1:
        raise ApiError("Invalid positive integer", code="parameter_invalid_integer", param="amount")
    if amount > left:
        currency = transfer["currency"]
        raise ApiError(
            f"Reversal amount ({shown(amount, currency=currency)}) is greater than the unreversed amount on the "
            f"transfer ({shown(left, currency=currency)})",
            param="amount",
        )
    check_step(amount, currency=transfer["currency"])
    has = world.connected[transfer["destination"]].balance.total(transfer["currency"])
    if amount > has and not _of_destination_charge(world, transfer):
        raise ApiError(
            "Insufficient funds in the destination account's balance to reverse this transfer.",
            code="balance_insufficient",
        )
    metadata = merge_metadata({}, params.get("metadata", {}))
    return reverse(world, transfer, amount=amount, metadata=metadata, description=params.get("description"))


def reverse(
    world: World,
    transfer: Object,
    *,
    amount: int,
    refund: Object | None = None,
    metadata: Object | None = None,
    description: str | None = None,
) -> Object:
    """Take back so much of a transfer, whatever the seller has."""
    available_on = available_with(world, transfer["balance_transaction"])
    reversal: Object = {
        "id": world.new_id("transfer_reversal"),
        "object": "transfer_reversal",
        "amount": amount,
        "balance_transaction": None,
        "created": world.clock.seconds(),
        "currency": transfer["currency"],
        "destination_payment_refund": f"pyr_{world.token(24)}",
        "metadata": metadata or {},
        "source_refund": refund["id"] if refund else None,
        "transfer": transfer["id"],
    }
    row = book(
        world,
        reversal | {"description": description},
        kind="transfer_refund",
        amount=amount,
        available_on=available_on,
    )
    reversal["balance_transaction"] = row["id"]
    world.add(reversal)
    back = {"id": reversal["destination_payment_refund"], "currency": transfer["currency"]}
    seller = world.connected[transfer["destination"]]
    book(seller, back, kind="payment_refund", amount=-amount, available_on=available_on)
    transfer["amount_reversed"] += amount
    transfer["reversed"] = transfer["amount_reversed"] == transfer["amount"]
    _show(world, transfer)
    world.emit("transfer.reversed", transfer)  # also of a part
    return reversal


def list_all(world: World, params: dict[str, Any], transfer_id: str) -> Object:
    world.get("transfer", transfer_id)
    found = world.by_field("transfer_reversal", field="transfer", value=transfer_id)
    return page(found, params, url=f"/v1/transfers/{transfer_id}/reversals")


def retrieve(world: World, _params: dict[str, Any], transfer_id: str, reversal_id: str) -> Object:
    reversal = world.get("transfer_reversal", reversal_id)
    if reversal["transfer"] != transfer_id:
        raise missing("transfer_reversal", reversal_id, param="id", status=404)
    return reversal


def update(world: World, params: dict[str, Any], transfer_id: str, reversal_id: str) -> Object:
    """Change metadata: the only thing about a reversal that can change. No event says so."""
    reversal = retrieve(world, {}, transfer_id, reversal_id)
    if "metadata" in params:
        reversal["metadata"] = merge_metadata(reversal["metadata"], params["metadata"])
        _show(world, world.get("transfer", transfer_id))
    return reversal


def _of_destination_charge(world: World, transfer: Object) -> bool:
    charge = world.find(transfer["source_transaction"]) if transfer["source_transaction"] else None
    return charge is not None and charge["transfer_data"] is not None


def _show(world: World, transfer: Object) -> None:
    newest = world.by_field("transfer_reversal", field="transfer", value=transfer["id"])[::-1]
    transfer["reversals"].update(data=newest[:_SHOWN], has_more=len(newest) > _SHOWN)
