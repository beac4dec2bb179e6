"""Mandates: a payer's word that their account may be debited, once or from now on."""

from typing import Any

from sandbox.banks import SEPA_DEBIT
from sandbox.errors import ApiError, named
from sandbox.world import Object, World

_UNKNOWN = "unknown"  # what a browser did not tell


def ensure(world: World, intent: Object, method: Object, params: dict[str, Any], *, reusable: bool) -> None:
    """Note the mandate a debit needs, from `mandate_data`; raises ApiError (400) where there is none.

    Stripe.js, and Stripe's own page, ask the payer and send it by themselves.
    """
    if method["type"] != SEPA_DEBIT or method["id"] in world.mandates:
        return
    given = params.get("mandate_data", {}).get("customer_acceptance")
    if given is None and not params.get("use_stripe_sdk"):
        raise ApiError(
            f"This {named(intent['object'])} requires a mandate, but no existing mandate was found. Collect mandate "
            "acceptance from the customer and try again, providing acceptance data in the mandate_data parameter.",
            code=f"{intent['object']}_mandate_invalid",
        )
    mandate = world.add(_new(world, intent, method, given or {"type": "online"}, reusable=reusable))
    world.mandates[method["id"]] = mandate["id"]


def retrieve(world: World, _params: dict[str, Any], mandate_id: str) -> Object:
    return world.get("mandate", mandate_id)


def _new(world: World, intent: Object, method: Object, given: Object, *, reusable: bool) -> Object:
    acceptance: Object = {"accepted_at": given.get("accepted_at", world.clock.seconds()), "type": given["type"]}
    if given["type"] == "online":
        online = given.get("online", {})
        acceptance["online"] = {name: online.get(name, _UNKNOWN) for name in ("ip_address", "user_agent")}
    else:
        acceptance["offline"] = {}
    once = {"amount": intent.get("amount", 0), "currency": intent.get("currency", "eur")}
    return {
        "id": world.new_id("mandate"),
        "object": "mandate",
        "customer_acceptance": acceptance,
        "livemode": False,
        "payment_method": method["id"],
        "payment_method_details": {
            "sepa_debit": {"reference": world.token(16).upper(), "url": f"{world.base_url()}/mandates"},
            "type": SEPA_DEBIT,
        },
        "status": "active",
        "type": "multi_use" if reusable else "single_use",
    } | ({"multi_use": {}} if reusable else {"single_use": once})
