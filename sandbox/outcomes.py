"""What the outcome of a charge makes of its intent, whether it is known at once or days later."""

from sandbox import disputes, methods, settlement
from sandbox.declines import Decline
from sandbox.world import Object, World, snapshot


def paid(world: World, intent: Object, charge: Object) -> None:
    """The money was taken."""
    intent.update(status="succeeded", amount_received=intent["amount"])
    world.emit("payment_intent.succeeded", intent)
    dispute_later(world, charge)


def keep_method(world: World, intent: Object, method: Object) -> None:
    """Save a method that was used as the intent says; without a customer it cannot be used again."""
    if intent["customer"] is None:
        world.used_up.add(method["id"])
    elif intent["setup_future_usage"] is not None:
        methods.save(world, method, customer_id=intent["customer"])
        if intent["setup_future_usage"] == "off_session":
            world.set_up.add(method["id"])


def refused(charge: Object | None, method: Object, decline: Decline) -> Object:
    """Return what `last_payment_error` says of a refused charge, or `last_setup_error` without one."""
    error: Object = {
        "code": decline.code,
        "doc_url": f"https://stripe.com/docs/error-codes/{decline.code.replace('_', '-')}",
        "message": decline.message,
        "payment_method": snapshot(method),
        "type": "card_error",
    }
    if decline.decline_code is not None:
        error["decline_code"] = decline.decline_code
    if decline.advice_code is not None:
        error["advice_code"] = decline.advice_code
    if charge is not None:
        error["charge"] = charge["id"]
    return error


def back_to_method(world: World, intent: Object, error: Object) -> None:
    """It is the payer's turn again."""
    intent.update(status="requires_payment_method", payment_method=None, next_action=None, last_payment_error=error)
    world.emit("payment_intent.payment_failed", intent)


def canceled(world: World, intent: Object, *, reason: str | None) -> None:
    """It will never take money."""
    intent.update(
        status="canceled",
        amount_capturable=0,
        canceled_at=world.clock.seconds(),
        cancellation_reason=reason,
        next_action=None,
    )
    world.emit("payment_intent.canceled", intent)


def take_up(world: World, charge: Object) -> None:
    """Let a dispute that was about to be opened be opened after a restart."""
    if charge["captured"] and charge["status"] == "succeeded" and not charge["disputed"]:
        dispute_later(world, charge)


def dispute_later(world: World, charge: Object) -> None:
    """Let the bank of a card that is known for it contest what was taken."""
    outcome = world.cards[charge["payment_method"]].dispute
    if outcome is None:
        return

    def contest() -> None:
        disputes.open_dispute(world, charge, reason=outcome.reason, inquiry=outcome.inquiry)

    world.later(world.settings.settle_delay_s, contest, label=settlement.SETTLEMENT)
