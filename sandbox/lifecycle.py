"""The life of a PaymentIntent: confirm, authenticate, cancel; each move with Stripe's events."""

from typing import Any

from sandbox import banks, challenge, charging, debits, holds, mandates, methods, outcomes
from sandbox.declines import UNATTENDED, Decline
from sandbox.errors import ApiError, unexpected_state
from sandbox.world import Object, World, snapshot

_CONFIRMABLE = ("requires_payment_method", "requires_confirmation", "requires_action")
_CANCELABLE = ("requires_payment_method", "requires_capture", "requires_confirmation", "requires_action", "processing")


def check_confirmable(intent: Object) -> None:
    if intent["status"] in _CONFIRMABLE:
        return
    if intent["status"] == "succeeded":
        because = "it has already succeeded after being previously confirmed"
    else:
        because = f"it has a status of {intent['status']}"
    raise unexpected_state(f"You cannot confirm this PaymentIntent because {because}.", intent=snapshot(intent))


def confirm(world: World, intent: Object, params: dict[str, Any]) -> None:
    """Confirm with the intent's payment method; raises the 402 of a decline after recording it."""
    if params.get("setup_future_usage"):
        intent["setup_future_usage"] = params["setup_future_usage"]
    if params.get("receipt_email"):
        intent["receipt_email"] = params["receipt_email"]
    method = world.get("payment_method", intent["payment_method"])
    if intent["customer"] is not None:
        world.referred("customer", intent["customer"], param="customer")  # it may have been deleted since
    banks.check_fits(intent, world.cards[method["id"]])
    mandates.ensure(world, intent, method, params, reusable=intent["setup_future_usage"] is not None)
    off_session = bool(params.get("off_session"))
    if challenge.is_due(world, method, off_session=off_session):
        if off_session or params.get("error_on_requires_action"):
            _decline(world, intent, method, decline=UNATTENDED, authenticated=False)
        intent["last_payment_error"] = None
        challenge.ask(world, intent, params)
        return
    _take(world, intent, method, authenticated=False, off_session=off_session)


def authenticate(world: World, intent: Object, *, succeed: bool) -> None:
    """Finish 3-D Secure. A decline after it is recorded, not raised: nobody is waiting for an API answer."""
    challenge.check_asked(intent)
    method = world.get("payment_method", intent["payment_method"])
    intent["next_action"] = None
    if not succeed:
        outcomes.back_to_method(world, intent, challenge.failure(intent, method))
        return
    try:
        _take(world, intent, method, authenticated=True)
    except ApiError as declined:
        if declined.status != 402:
            raise


def cancel(world: World, params: dict[str, Any], intent_id: str) -> Object:
    intent = world.get("payment_intent", intent_id, param="intent")
    if intent["status"] not in _CANCELABLE:
        raise unexpected_state(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}. Only a PaymentIntent "
            f"with one of the following statuses may be canceled: {', '.join(_CANCELABLE)}.",
            intent=snapshot(intent),
        )
    debits.check_not_pending(world, intent)
    reason = params.get("cancellation_reason")
    if intent["status"] == "requires_capture":
        holds.release(world, intent, reason=reason, charge_event="charge.refunded")
    else:
        outcomes.canceled(world, intent, reason=reason)
    return intent


def force_success(world: World, intent: Object, method: Object) -> None:
    """Let money arrive from outside whatever the intent's status, even canceled: late money."""
    _start_over(intent, method)
    _charge(world, intent, method, decline=None, authenticated=False)


def force_decline(world: World, intent: Object, method: Object, *, decline: Decline) -> None:
    """Let the bank refuse from outside, whatever the intent's status."""
    _start_over(intent, method)
    try:
        _decline(world, intent, method, decline=decline, authenticated=False)
    except ApiError as declined:
        if declined.status != 402:
            raise


def force_processing(world: World, intent: Object, method: Object) -> None:
    """Let the intent wait for its bank, as an asynchronous payment method does; another force ends it."""
    _start_over(intent, method)
    intent.update(status="processing", processing={"type": "card", "card": {}}, last_payment_error=None)
    world.emit("payment_intent.processing", intent)


def _start_over(intent: Object, method: Object) -> None:
    if intent["status"] in ("succeeded", "requires_capture"):
        raise unexpected_state(f"The intent has a status of {intent['status']}; its money is there.", intent=intent)
    intent.update(
        payment_method=method["id"], processing=None, next_action=None, canceled_at=None, cancellation_reason=None
    )


def _take(world: World, intent: Object, method: Object, *, authenticated: bool, off_session: bool = False) -> None:
    """Take the money, or send for it where the outcome comes later."""
    card = world.cards[method["id"]]
    if card.takes_s:
        debits.begin(world, intent, method)
    else:
        decline = methods.charge_refusal(world, method)
        _charge(world, intent, method, decline=decline, authenticated=authenticated, off_session=off_session)


def _charge(
    world: World,
    intent: Object,
    method: Object,
    *,
    decline: Decline | None,
    authenticated: bool,
    off_session: bool = False,
) -> None:
    if decline is not None:
        _decline(world, intent, method, decline=decline, authenticated=authenticated)
    intent.update(last_payment_error=None, next_action=None)
    held = holds.terms(world, intent, method, off_session=off_session)
    charge = charging.attempt(world, intent, method, decline=None, authenticated=authenticated, held=held)
    outcomes.keep_method(world, intent, method)
    if intent["capture_method"] == "manual":
        holds.begin(world, intent)
    else:
        outcomes.paid(world, intent, charge)


def _decline(world: World, intent: Object, method: Object, *, decline: Decline, authenticated: bool) -> None:
    """Record a failed charge and raise its 402."""
    charge = charging.attempt(world, intent, method, decline=decline, authenticated=authenticated)
    outcomes.back_to_method(world, intent, outcomes.refused(charge, method, decline))
    raise methods.declined(
        decline, charge=charge["id"], payment_intent=snapshot(intent), payment_method=snapshot(method)
    )
