"""Charges whose outcome is known later: the intent processes for days, then the money is there or it is not."""

from sandbox import charging, methods, outcomes, settlement
from sandbox.errors import unexpected_state
from sandbox.world import Object, World, snapshot

DEBIT = "debit"  # the label of outcomes to come on the agenda
_PENDING = "pending"


def begin(world: World, intent: Object, method: Object) -> None:
    """Send a charge on its way."""
    charge = charging.attempt(world, intent, method, decline=None, authenticated=False, pending=True)
    intent.update(status="processing", last_payment_error=None, next_action=None)
    outcomes.keep_method(world, intent, method)
    world.emit("payment_intent.processing", intent)
    arm(world, intent, charge)


def arm(world: World, intent: Object, charge: Object) -> None:
    """Let the outcome of a pending charge come when its time is over."""
    over = charge["created"] + world.cards[charge["payment_method"]].takes_s
    world.later(over - world.clock.now(), lambda: _finish_if_pending(world, intent, charge), label=DEBIT)


def pending_charge(world: World, intent: Object) -> Object | None:
    """Return the charge an intent waits for, if it waits for one."""
    charge = world.find(intent["latest_charge"]) if intent["latest_charge"] else None
    return charge if charge is not None and charge["status"] == _PENDING else None


def finish(world: World, intent: Object) -> None:
    """Let the outcome come now; raises ApiError (400) where none is waited for."""
    charge = pending_charge(world, intent)
    if charge is None:
        raise unexpected_state(f"The intent has a status of {intent['status']}; no debit is on its way.", intent=intent)
    _finish(world, intent, charge)


def check_not_pending(world: World, intent: Object) -> None:
    """Refuse to cancel what the bank already has."""
    if pending_charge(world, intent) is not None:
        raise unexpected_state(
            "You cannot cancel this PaymentIntent because it has a status of processing and its debit was submitted.",
            intent=snapshot(intent),
        )


def _finish_if_pending(world: World, intent: Object, charge: Object) -> None:
    if charge["status"] == _PENDING:
        _finish(world, intent, charge)


def _finish(world: World, intent: Object, charge: Object) -> None:
    method = world.get("payment_method", charge["payment_method"])
    decline = methods.charge_refusal(world, method)
    if decline is None:
        charge.update(status="succeeded", paid=True)
        world.emit("charge.succeeded", charge)
        settlement.settle_later(world, charge)
        outcomes.paid(world, intent, charge)
        return
    charge.update(
        status="failed",
        captured=False,
        amount_captured=0,
        failure_code=decline.code,
        failure_message=decline.message,
        outcome=charging.outcome(decline),
    )
    world.emit("charge.failed", charge)
    outcomes.back_to_method(world, intent, outcomes.refused(charge, method, decline))
