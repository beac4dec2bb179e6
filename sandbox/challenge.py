"""The way through the payer's bank: when 3-D Secure is asked for, the page it happens on, and its failure."""

from typing import Any

from sandbox.cards import Authentication
from sandbox.declines import AUTHENTICATION_REQUIRED
from sandbox.errors import ApiError, named, unexpected_state
from sandbox.world import Object, World, snapshot

_FAILED = "We are unable to authenticate your payment method. Please choose a different payment method and try again."


def check_return_url(automatic: Object | None, params: dict[str, Any], *, of: str = "payment_intent") -> None:
    """Refuse a confirm that could need a redirect and does not say where to."""
    may_redirect = automatic is not None and automatic["enabled"] and automatic["allow_redirects"] != "never"
    if may_redirect and not params.get("return_url") and not params.get("use_stripe_sdk"):
        raise ApiError(
            f"This {named(of)} is configured to accept payment methods enabled in your Dashboard. Because some of "
            "these payment methods might redirect your customer off of your page, you must provide a `return_url`. If "
            "you don't want to accept redirect-based payment methods, set "
            "`automatic_payment_methods[enabled]` to `true` and `automatic_payment_methods[allow_redirects]` to "
            "`never` when creating Setup Intents and Payment Intents."
        )


def is_due(world: World, method: Object, *, off_session: bool) -> bool:
    """Whether the issuer asks the payer before it lets the method be charged or set up."""
    if world.declining.get(method["id"], {}).get("reason") == AUTHENTICATION_REQUIRED:
        return True
    match world.cards[method["id"]].authentication:
        case Authentication.NEVER:
            return False
        case Authentication.ALWAYS:
            return True
        case Authentication.UNLESS_SET_UP:
            return not (off_session and method["id"] in world.set_up)
        case Authentication.ON_SESSION:
            return not off_session


def ask(world: World, intent: Object, params: dict[str, Any]) -> None:
    """Send the payer of a payment or setup to the bank's page; Stripe.js shows it over its own where it is there."""
    return_url = params.get("return_url")
    url = f"{world.base_url()}/3ds/{intent['id']}?client_secret={intent['client_secret']}"
    action: Object
    if return_url and not params.get("use_stripe_sdk"):
        action = {"redirect_to_url": {"return_url": return_url, "url": url}, "type": "redirect_to_url"}
    else:
        action = {
            "type": "use_stripe_sdk",
            "use_stripe_sdk": {"source": intent["id"], "stripe_js": url, "type": "three_d_secure_redirect"},
        }
    intent.update(status="requires_action", next_action=action)
    world.emit(f"{intent['object']}.requires_action", intent)


def failure(intent: Object, method: Object) -> Object:
    """Return the error of a payer who did not pass."""
    code = f"{intent['object']}_authentication_failure"
    return {
        "code": code,
        "doc_url": f"https://stripe.com/docs/error-codes/{code.replace('_', '-')}",
        "message": _FAILED,
        "payment_method": snapshot(method),
        "type": "invalid_request_error",
    }


def check_asked(intent: Object) -> None:
    """Refuse an answer nobody waits for."""
    if intent["status"] != "requires_action":
        raise unexpected_state(
            f"The intent has a status of {intent['status']}; nothing to authenticate.", intent=intent
        )
