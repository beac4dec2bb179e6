"""What moves once money is taken: its balance transaction, and the transfer and fee of a destination charge.

Fees are the stand-in's own figures: 2.9 % + 30 minor units of the currency it settles in, rounded half up.
"""

from sandbox import exchange_rates, fees, seller_money
from sandbox.balance_transactions import book
from sandbox.world import Object, World

SETTLEMENT = "settlement"  # the label of what settles later on the agenda


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
    world.touch(charge["id"])
    settled = exchange_rates.settled(world, amount, currency=charge["currency"])
    terms = world.processing_fee
    processing_fee = (settled.amount * terms["per_mille"] + 500) // 1000 + terms["fixed"]
    card = world.cards[charge["payment_method"]]
    kind, at_once = "charge" if card.kind == "card" else "payment", world.clock.seconds() if card.bypasses else None
    row = book(world, charge, kind=kind, amount=amount, fee=processing_fee, available_on=at_once)
    changes: Object = {"balance_transaction": row["id"]}
    if charge["transfer_data"] is not None:
        part = charge["transfer_data"]["amount"]
        taken = min(fee or 0, amount)  # the fee cannot exceed what was captured
        changes["transfer"] = seller_money.of_charge(
            world, charge, amount=amount if part is None else part, fee=taken, available_on=row["available_on"]
        )["id"]
        if taken:
            changes["application_fee"] = fees.of_charge(world, charge, amount=taken, available_on=row["available_on"])[
                "id"
            ]
    previous = {name: charge.get(name) for name in changes}
    charge.update(changes)
    if announce:
        world.emit("charge.updated", charge, previous=previous)


def captures_of(world: World, charge: Object) -> list[Object]:
    """Return the balance transactions of a charge's captures, oldest first."""
    entries = world.by_field("balance_transaction", field="source", value=charge["id"])
    return [found for found in entries if found["type"] in ("charge", "payment")]
