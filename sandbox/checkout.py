"""The life of a Checkout Session: the payer's tries, what its intent's fate makes of it, its end by time.

A session is complete once its intent no longer waits for the payer: paid, held, or on its way through a bank. What
becomes of the money after that shows in `payment_status`. Marked (U): unconfirmed, see sessions.py.
"""

from collections.abc import Callable
from typing import Any

from sandbox import customers, intents, lifecycle, setups
from sandbox.errors import ApiError, named, unexpected_state
from sandbox.world import Object, World, snapshot

EXPIRY = "session_expiry"  # the label of sessions that expire by themselves on the agenda
Operation = Callable[[World, dict[str, Any], str], Object]
_ENDED = ("succeeded", "canceled")


def page_url(world: World, session_id: str) -> str:
    """Return where the payer goes to pay."""
    return f"{world.base_url()}/c/pay/{session_id}"


def arm(world: World, session: Object) -> None:
    """Let a session expire when its time comes, if it is still open then."""
    delay_s = session["expires_at"] - world.clock.now()
    world.later(delay_s, lambda: _expire_if_open(world, session), label=EXPIRY)


def pay(world: World, session: Object, *, payment_method: str, email: str | None = None) -> Object:
    """Try to pay; returns the intent, which may ask for authentication. A decline is a 402 and leaves it open."""
    if session["status"] != "open":
        raise ApiError(f"This Checkout Session has a status of `{session['status']}`; it cannot be paid.")
    _take_email(world, session, email)
    params = {
        "payment_method": payment_method,
        "return_url": page_url(world, session["id"]),
        "mandate_data": {"customer_acceptance": {"type": "online"}},  # the page asks for it
    }
    if session["mode"] == "setup":
        return setups.confirm(world, params, session["setup_intent"])
    return intents.confirm(world, params, _intent(world, session)["id"])


def intent_of(world: World, session: Object) -> Object | None:
    """Return the intent of a session of either mode, if there is one yet."""
    intent_id = session["payment_intent"] or session["setup_intent"]
    return world.find(intent_id) if intent_id else None


def expire(world: World, session: Object) -> None:
    """End an open session, and the intent of a payer who tried and did not succeed."""
    session.update(status="expired", url=None)
    intent = intent_of(world, session)
    if intent is not None and intent["status"] not in _ENDED:
        cancel, reason = _CANCEL[intent["object"]]
        cancel(world, {"cancellation_reason": reason}, intent["id"])
    world.emit("checkout.session.expired", session)


def guarded(call: Operation, *, verb: str) -> Operation:
    """Return a call that refuses an intent whose session is open: that is expired instead. The words: (U)."""

    def checked(world: World, params: dict[str, Any], intent_id: str) -> Object:
        intent = world.find(intent_id)
        kind = intent["object"] if intent is not None else ""
        sessions = world.by_field("checkout.session", field=kind, value=intent_id)
        if any(session["status"] == "open" for session in sessions):
            raise unexpected_state(
                f"You cannot {verb} the {named(kind)} for a Checkout Session. Expire the Checkout Session instead.",
                intent=snapshot(intent),
            )
        return call(world, params, intent_id)

    return checked


def follow(world: World, event_type: str, intent: Object) -> None:
    """Move the session of an intent on after an event of the intent."""
    status_of = _STATUS_AFTER.get(event_type)
    if status_of is None:
        return
    for session in world.by_field("checkout.session", field=intent["object"], value=intent["id"]):
        if session["status"] == "open" and status_of != "failed":
            _complete(world, session, payment_status=status_of)
        elif session["status"] == "complete" and session["payment_status"] == "unpaid":
            _settle(world, session, intent, outcome=status_of)


_STATUS_AFTER = {
    "payment_intent.succeeded": "paid",
    "payment_intent.amount_capturable_updated": "unpaid",
    "payment_intent.processing": "unpaid",
    "payment_intent.payment_failed": "failed",
    "setup_intent.succeeded": "no_payment_required",
}
# How Stripe words why it ends the intent of a session that expires: (U).
_CANCEL: dict[str, tuple[Operation, str]] = {
    "payment_intent": (lifecycle.cancel, "automatic"),
    "setup_intent": (setups.cancel, "abandoned"),
}


def _complete(world: World, session: Object, *, payment_status: str) -> None:
    session.update(
        status="complete", payment_status=payment_status, url=None, customer_details=_details(world, session)
    )
    world.emit("checkout.session.completed", session)


def _settle(world: World, session: Object, intent: Object, *, outcome: str) -> None:
    """Tell what became of money that was on its way when the session was completed."""
    if outcome == "paid":
        session["payment_status"] = "paid"
    if outcome == "unpaid" or intent["capture_method"] == "manual":
        return  # a hold that is captured later has no event of its own (U)
    end = "succeeded" if outcome == "paid" else "failed"
    world.emit(f"checkout.session.async_payment_{end}", session)


def _intent(world: World, session: Object) -> Object:
    """Return the session's intent; the first try makes it."""
    if session["payment_intent"] is not None:
        return world.get("payment_intent", session["payment_intent"])
    params = world.intent_data[session["id"]] | {"amount": session["amount_total"], "currency": session["currency"]}
    if session["customer"] is not None:
        params["customer"] = session["customer"]
    intent = intents.create(world, params)
    session["payment_intent"] = intent["id"]
    world.reindex(session, field="payment_intent", before=None)
    return intent


def _take_email(world: World, session: Object, email: str | None) -> None:
    """Keep the address a payer typed, with the customer if there is one that has none."""
    customers.check_email(email)
    if not email:
        return
    if session["customer"] is None:
        session["customer_email"] = email
    elif not world.get("customer", session["customer"])["email"]:
        customers.update(world, {"email": email}, session["customer"])


def _details(world: World, session: Object) -> Object:
    customer = world.find(session["customer"]) if session["customer"] else None
    known = customer or {}
    return {
        "address": known.get("address"),
        "business_name": None,
        "email": known.get("email") or session["customer_email"],
        "individual_name": None,
        "name": known.get("name"),
        "phone": known.get("phone"),
        "tax_exempt": "none",
        "tax_ids": [],
    }


def _expire_if_open(world: World, session: Object) -> None:
    if session["status"] == "open":
        expire(world, session)
