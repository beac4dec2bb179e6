"""What goes to a seller: the transfer on the platform's side, and the payment on the seller's own account.

The seller's is a balance transaction of type `payment`, from which the fee of a destination charge is taken.
"""

from sandbox.balance_transactions import book
from sandbox.exchange_rates import settled
from sandbox.world import Object, World


def of_charge(world: World, charge: Object, *, amount: int, fee: int, available_on: int) -> Object:
    """Make the transfer of a destination charge, of which the platform takes `fee` back.

    Both are in the charge's currency and become what the platform settles in (U).
    """
    join_group(charge)
    part = settled(world, amount, currency=charge["currency"])
    return pay(
        world,
        amount=part.amount,
        currency=part.currency,
        destination=charge["transfer_data"]["destination"],
        source=charge["id"],
        group=charge["transfer_group"],
        available_on=available_on,
        fee=settled(world, fee, currency=charge["currency"]).amount,
    )


def join_group(charge: Object) -> None:
    """Give a charge without a transfer group the one that Stripe makes up."""
    charge["transfer_group"] = charge["transfer_group"] or f"group_{charge['payment_intent']}"


def pay(
    world: World,
    *,
    amount: int,
    currency: str,
    destination: str,
    source: str | None,
    group: str | None,
    description: str | None = None,
    metadata: Object | None = None,
    available_on: int | None,
    fee: int = 0,
) -> Object:
    """Make a transfer, whatever the platform has."""
    transfer_id = world.new_id("transfer")
    transfer: Object = {
        "id": transfer_id,
        "object": "transfer",
        "amount": amount,
        "amount_reversed": 0,
        "balance_transaction": None,
        "created": world.clock.seconds(),
        "currency": currency,
        "description": description,
        "destination": destination,
        "destination_payment": f"py_{world.token(24)}",
        "livemode": False,
        "metadata": metadata or {},
        "reversals": {"object": "list", "data": [], "has_more": False, "url": f"/v1/transfers/{transfer_id}/reversals"},
        "reversed": False,
        "source_transaction": source,
        "source_type": "card",
        "transfer_group": group,
    }
    now = world.clock.seconds()
    row = book(world, transfer, kind="transfer", amount=-amount, available_on=available_on)
    transfer["balance_transaction"] = row["id"]
    payment = {"id": transfer["destination_payment"], "currency": currency, "description": description}
    book(
        world.connected[destination],
        payment,
        kind="payment",
        amount=amount,
        fee=fee,
        fee_kind="application_fee",
        available_on=now if available_on is None else available_on,
    )
    world.add(transfer)
    world.emit("transfer.created", transfer)
    return transfer
