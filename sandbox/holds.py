"""Money that is held: how long, captured once or in several parts, and what becomes of the rest.

Several captures follow docs.stripe.com/payments/multicapture, the lengths docs.stripe.com/payments/
place-a-hold-on-a-payment-method. Marked (U): what neither says and nobody here could ask Stripe.
"""

from typing import Any

from sandbox import charging, outcomes, settlement
from sandbox.errors import ApiError, unexpected_state
from sandbox.world import Object, World, merge_metadata, snapshot

EXPIRY = "expiry"  # the label of lapsing holds on the agenda
_DAY_S = 86_400
_HOLD_S = 7 * _DAY_S
_HOLD_UNATTENDED_VISA_S = 4 * _DAY_S + 18 * 3_600  # what a merchant begins without the payer
_HOLD_EXTENDED_S = 30 * _DAY_S
_EXTENDABLE = ("amex", "discover", "mastercard", "visa")
_CAPTURABLE_OFTEN = ("amex", "diners", "discover", "mastercard", "unionpay", "visa")  # JCB in some countries (U)
_CAPTURES_MAX = 50  # not counting the final one


def terms(world: World, intent: Object, method: Object, *, off_session: bool) -> Object:
    """Return what the card's details of a hold's charge say of it; nothing for what is not held."""
    if intent["capture_method"] != "manual" or method["type"] != "card":
        return {}
    asked, brand = intent["payment_method_options"]["card"], method["card"]["brand"]
    often = asked.get("request_multicapture") == "if_available" and brand in _CAPTURABLE_OFTEN
    extended = asked.get("request_extended_authorization") == "if_available" and brand in _EXTENDABLE
    unattended = off_session and brand == "visa"
    length_s = _HOLD_EXTENDED_S if extended else _HOLD_UNATTENDED_VISA_S if unattended else _HOLD_S
    return {
        "capture_before": world.clock.seconds() + length_s,
        "extended_authorization": {"status": "enabled" if extended else "disabled"},
        "multicapture": {"status": "available" if often else "unavailable"},
    }


def begin(world: World, intent: Object) -> None:
    """Hold what an intent's charge was authorised for."""
    intent.update(status="requires_capture", amount_capturable=intent["amount"])
    world.emit("payment_intent.amount_capturable_updated", intent)
    take_up(world, intent)


def take_up(world: World, intent: Object) -> None:
    """Let a hold lapse when its time comes: after it was made, and after a restart."""
    if intent["status"] != "requires_capture":
        return
    charge = world.get("charge", intent["latest_charge"])
    delay_s = charge["payment_method_details"]["card"]["capture_before"] - world.clock.now()
    world.later(delay_s, lambda: _lapse_if_held(world, intent, charge), label=EXPIRY)


def capture(world: World, params: dict[str, Any], intent_id: str) -> Object:
    """Capture a hold, all or less. The rest is released, unless the capture says that it is not the final one."""
    intent = world.get("payment_intent", intent_id, param="intent")
    if intent["status"] != "requires_capture":
        raise unexpected_state(
            f"This PaymentIntent could not be captured because it has a status of {intent['status']}. Only a "
            "PaymentIntent with one of the following statuses may be captured: requires_capture.",
            intent=snapshot(intent),
        )
    charge = world.get("charge", intent["latest_charge"])
    often, final = charging.is_captured_often(charge), params.get("final_capture", True)
    if "final_capture" in params and not often:
        raise ApiError(  # the words: (U)
            "You cannot use `final_capture` on this PaymentIntent because multicapture is not available for it.",
            param="final_capture",
        )
    if not final and len(settlement.captures_of(world, charge)) >= _CAPTURES_MAX:
        raise ApiError(f"A PaymentIntent can be captured up to {_CAPTURES_MAX} times.", param="final_capture")
    amount: int = params["amount_to_capture"] if "amount_to_capture" in params else intent["amount_capturable"]
    _check_amount(intent, amount, least=0 if often and final and charge["amount_captured"] else 1)
    fee, part = _split(world, intent, charge, params, amount=amount)
    intent["metadata"] = merge_metadata(intent["metadata"], params.get("metadata", {}))
    _take(world, intent, charge, amount=amount, fee=fee, part=part)
    if often:
        intent["amount_capturable"] = 0 if final else intent["amount_capturable"] - amount
        world.emit("payment_intent.amount_capturable_updated", intent)
    if final:
        _close(world, intent, charge)
    return intent


def release(world: World, intent: Object, *, reason: str | None, charge_event: str) -> None:
    """Give back what is held; what was captured before stays, and the intent has succeeded with it.

    Stripe says so of a hold that lapses. That a cancelled one ends so too: (U).
    """
    charge = world.get("charge", intent["latest_charge"])
    if charge["amount_captured"]:
        _close(world, intent, charge)
        return
    charge.update(refunded=True, amount_refunded=charge["amount"])
    world.emit(charge_event, charge)
    outcomes.canceled(world, intent, reason=reason)


def lapse(world: World, intent: Object) -> None:
    """Let a hold lapse now, whatever its time."""
    if intent["status"] != "requires_capture":
        raise unexpected_state(f"The intent has a status of {intent['status']}; nothing is held.", intent=intent)
    release(world, intent, reason="automatic", charge_event="charge.expired")


def _lapse_if_held(world: World, intent: Object, charge: Object) -> None:
    if intent["status"] == "requires_capture" and intent["latest_charge"] == charge["id"]:
        lapse(world, intent)


def _check_amount(intent: Object, amount: int, *, least: int) -> None:
    if amount < least:
        raise ApiError(
            f"This value must be greater than or equal to {least}.",
            code="parameter_invalid_integer",
            param="amount_to_capture",
        )
    if amount > intent["amount_capturable"]:
        raise ApiError(
            "The amount_to_capture is greater than the amount you can capture for this charge.",
            code="amount_too_large",
            param="amount_to_capture",
        )


def _split(
    world: World, intent: Object, charge: Object, params: dict[str, Any], *, amount: int
) -> tuple[int | None, int | None]:
    """Return the application fee and the seller's part of one capture."""
    given = {
        "application_fee_amount": params.get("application_fee_amount"),
        "transfer_data[amount]": params.get("transfer_data", {}).get("amount"),
    }
    captured_before = settlement.captures_of(world, charge)
    if captured_before:
        for name in world.split_by_capture.get(charge["id"], ()):
            if given[name] is None:
                raise ApiError(
                    f"Missing required param: {name}. It was given with the first capture.",
                    code="parameter_missing",
                    param=name,
                )
    else:
        world.split_by_capture[charge["id"]] = [name for name, value in given.items() if value is not None]
    fee, part = given["application_fee_amount"], given["transfer_data[amount]"]
    whole_fee: int | None = intent["application_fee_amount"]
    if fee is not None and (intent["transfer_data"] is None or not 0 <= fee <= amount):
        raise ApiError("Fees must be less than or equal to the charge amount.", param="application_fee_amount")
    if fee is None and whole_fee is not None:
        taken = charge["application_fee_amount"] if captured_before else 0
        left = whole_fee - taken  # of the intent's (U)
        fee = min(left, amount) if charging.is_captured_often(charge) else left
    if part is not None and (intent["transfer_data"] is None or fee is not None or not 1 <= part <= amount):
        raise ApiError("The transfer amount does not fit this charge.", param="transfer_data[amount]")
    return fee, part


def _take(world: World, intent: Object, charge: Object, *, amount: int, fee: int | None, part: int | None) -> None:
    """Move the money of one capture."""
    often = charging.is_captured_often(charge)
    if part is not None:
        intent["transfer_data"]["amount"] = charge["transfer_data"]["amount"] = part
    if amount:
        is_first = not charge["amount_captured"]
        before = 0 if is_first else charge["application_fee_amount"] or 0
        charge["amount_captured"] += amount
        charge["application_fee_amount"] = None if fee is None else before + fee  # their sum (U)
        settlement.settle_capture(world, charge, amount=amount, fee=fee, announce=often)
    if not often:
        # What is not captured goes back to the payer and counts as refunded on the charge, without a refund object.
        charge["amount_refunded"] = charge["amount"] - amount
        intent["application_fee_amount"] = fee
    intent["amount_received"] = charge["amount_captured"]


def _close(world: World, intent: Object, charge: Object) -> None:
    """End a hold of which something was captured: what is left goes back to the payer."""
    charge["captured"] = True
    intent.update(status="succeeded", amount_capturable=0)
    charging.count_refunded(charge)
    world.emit("charge.captured", charge)
    world.emit("payment_intent.succeeded", intent)
    outcomes.dispute_later(world, charge)
