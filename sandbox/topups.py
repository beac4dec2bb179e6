"""Top-ups: what the platform adds to its balance from its own bank. A control makes them; they are there at once."""

from sandbox.balance_transactions import book
from sandbox.world import Object, World


def make(world: World, *, amount: int, currency: str) -> Object:
    """Add to what the platform has available."""
    topup: Object = {
        "id": world.new_id("topup"),
        "object": "topup",
        "amount": amount,
        "balance_transaction": None,
        "created": world.clock.seconds(),
        "currency": currency,
        "description": None,
        "expected_availability_date": world.clock.seconds(),
        "failure_code": None,
        "failure_message": None,
        "livemode": False,
        "metadata": {},
        "source": None,
        "statement_descriptor": None,
        "status": "succeeded",
        "transfer_group": None,
    }
    topup["balance_transaction"] = book(world, topup, kind="topup", amount=amount)["id"]
    world.add(topup)
    world.emit("topup.created", topup)
    world.emit("topup.succeeded", topup)
    return topup
