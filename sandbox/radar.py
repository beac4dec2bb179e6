"""Early fraud warnings of card issuers, and reviews: what Stripe says of a payment that may turn out to be fraud."""

from typing import Any

from sandbox.answers import page
from sandbox.errors import ApiError
from sandbox.world import Object, World

WARNING = "radar.early_fraud_warning"
_CLOSINGS = (
    "acknowledged",
    "approved",
    "canceled",
    "disputed",
    "payment_never_settled",
    "redacted",
    "refunded",
    "refunded_as_fraud",
)


def warn(world: World, charge: Object, *, fraud_type: str = "unauthorized_use_of_card") -> Object:
    """Let the card's issuer say that a charge may be fraud."""
    if charge["status"] != "succeeded":
        raise ApiError(f"Charge {charge['id']} took no money, so nobody warns of it.", param="charge")
    warning = world.add(
        {
            "id": world.new_id(WARNING),
            "object": WARNING,
            "actionable": not charge["refunded"] and not charge["disputed"],
            "charge": charge["id"],
            "created": world.clock.seconds(),
            "fraud_type": fraud_type,
            "livemode": False,
            "payment_intent": charge["payment_intent"],
        }
    )
    world.emit(f"{WARNING}.created", warning)
    return warning


def list_warnings(world: World, params: dict[str, Any]) -> Object:
    wanted = {name: params[name] for name in ("charge", "payment_intent") if name in params}
    return page(
        world.all(WARNING),
        params,
        url="/v1/radar/early_fraud_warnings",
        keep=lambda warning: all(warning[name] == wanted[name] for name in wanted),
    )


def open_review(world: World, charge: Object, *, reason: str = "rule") -> Object:
    """Put a payment under review: by a `rule` of Radar's, or `manual`ly in the dashboard."""
    review = world.add(
        {
            "id": world.new_id("review"),
            "object": "review",
            "billing_zip": None,
            "charge": charge["id"],
            "closed_reason": None,
            "created": world.clock.seconds(),
            "ip_address": None,
            "ip_address_location": None,
            "livemode": False,
            "open": True,
            "opened_reason": reason,
            "payment_intent": charge["payment_intent"],
            "reason": reason,
            "session": None,
        }
    )
    charge["review"] = review["id"]
    intent = world.find(charge["payment_intent"] or "")
    if intent is not None:
        intent["review"] = review["id"]  # that both go on naming it once it is closed: (U)
    world.emit("review.opened", review)
    return review


def close_review(world: World, review: Object, *, reason: str) -> Object:
    """End a review, for one of Stripe's reasons."""
    if not review["open"]:
        raise ApiError(f"Review {review['id']} is closed already.")
    if reason not in _CLOSINGS:
        raise ApiError(f"A review is not closed because it is {reason}.", param="reason")
    review.update(open=False, reason=reason, closed_reason=reason)
    world.emit("review.closed", review)
    return review


def approve(world: World, _params: dict[str, Any], review_id: str) -> Object:
    return close_review(world, world.get("review", review_id), reason="approved")


def list_reviews(world: World, params: dict[str, Any]) -> Object:
    """List those that are open, as Stripe does."""
    return page(world.all("review"), params, url="/v1/reviews", keep=lambda review: bool(review["open"]))


def follow(world: World, event_type: str, obj: Object) -> None:
    """Let what becomes of a charge end its warnings and reviews: it was disputed, or given back as a whole."""
    if event_type == "charge.dispute.created":
        _over(world, obj["charge"], because="disputed")
    elif event_type == "charge.refunded" and obj["refunded"]:
        _over(world, obj["id"], because="refunded")


def _over(world: World, charge_id: str, *, because: str) -> None:
    for warning in world.by_field(WARNING, field="charge", value=charge_id):
        if warning["actionable"]:
            warning["actionable"] = False
            world.emit(f"{WARNING}.updated", warning, previous={"actionable": True})
    for review in world.by_field("review", field="charge", value=charge_id):
        if review["open"]:
            close_review(world, review, reason=because)
