"""Stripe's PaymentIntents and SetupIntents, read into the facts of an attempt: whether expanded or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from services.gateway.intents.domain import Hold, IntentFacts
from services.gateway.intents.holds import limit_of
from services.gateway.stripe_api.currencies import from_stripe
from services.gateway.stripe_api.movement_objects import charge_facts
from services.gateway.stripe_api.objects import amount, method_of, number, part, reference, text, told
from services.shared.codec import Json
from services.shared.payment import Method, PaymentError
from services.shared.states import IntentState

INTENT_STATES: Final = {state.value.lower(): state for state in IntentState}
UNRECOVERABLE: Final = frozenset({"merchant_blacklist", "fraudulent"})
"""Decline codes after which the same payer should not be asked again: the bank or Stripe says it is not the payer's."""
BY_ITSELF: Final = frozenset({"automatic", "expired"})
"""Reasons of a cancellation that nobody asked for."""


def attempt_facts(shown: Json) -> IntentFacts:
    """Read the intent of an attempt, of either kind."""
    return setup_facts(shown) if shown.get("object") == "setup_intent" else intent_facts(shown)


def intent_facts(intent: Json) -> IntentFacts:
    """Read a PaymentIntent as Stripe shows it, whether its charge and method are expanded or not."""
    currency = str(intent["currency"])
    charge, error = part(intent, "latest_charge"), part(intent, "last_payment_error")
    captured_minor = from_stripe(number(intent, "amount_received"), currency)
    capturable_minor = from_stripe(number(intent, "amount_capturable"), currency)
    state = _state_of(intent)
    is_ended = state == IntentState.CANCELED
    if is_ended and captured_minor:  # what was left of a hold was released, and money was taken before
        state = IntentState.SUCCEEDED
    return IntentFacts(
        intent_id=str(intent["id"]),
        state=state,
        amount_minor=amount(intent, "amount"),
        currency_code=currency.upper(),
        captured_minor=captured_minor,
        capturable_minor=capturable_minor,
        hold=_hold(charge) if charge and capturable_minor else None,
        was_held=intent.get("capture_method") == "manual" and charge.get("status") == "succeeded",
        ended_by_stripe=is_ended and text(intent, "cancellation_reason") in BY_ITSELF,
        keeps_method=text(intent, "setup_future_usage") == "off_session",
        charge_id=reference(intent, "latest_charge"),
        refunded_minor=from_stripe(number(charge, "amount_refunded"), currency),
        disputed=bool(charge.get("disputed")) if charge else None,
        charge=charge_facts(charge) if charge else None,
        error=_error(error) if error and state != IntentState.SUCCEEDED else None,
        error_mark=_error_mark(error) if error else "",
        advice_code=text(error, "advice_code"),
        method=_method(intent, charge, error),
        mandate_id=_mandate(charge),
    )


def setup_facts(setup: Json) -> IntentFacts:
    """Read a SetupIntent as Stripe shows it, whether its method is expanded or not."""
    state, error = _state_of(setup), part(setup, "last_setup_error")
    tried = reference(setup, "latest_attempt")
    return IntentFacts(
        intent_id=str(setup["id"]),
        state=state,
        is_setup=True,
        keeps_method=True,
        error=_error(error) if error and state != IntentState.SUCCEEDED else None,
        error_mark=(tried or _error_mark(error)) if error else "",
        advice_code=text(error, "advice_code"),
        method=_method(setup, {}, error),
        mandate_id=reference(setup, "mandate"),
    )


def redirect_of(intent: Json) -> str | None:
    """Return where the payer has to go; empty when the browser's own library handles it, None when nowhere."""
    action = part(intent, "next_action")
    if intent.get("status") != "requires_action" or not action:
        return None
    return text(part(action, "redirect_to_url"), "url")


def _state_of(intent: Json) -> IntentState:
    """Return a state; one that Stripe invents later is one in which nothing is asked of us: it is looked at again."""
    return INTENT_STATES.get(str(intent["status"]), IntentState.PROCESSING)


def _details_of(charge: Json) -> tuple[str, Json]:
    """Return what a charge says of the method it was made with, and that method's type."""
    details = part(charge, "payment_method_details")
    kind = text(details, "type")
    return kind, part(details, kind)


def _hold(charge: Json) -> Hold:
    kind, details = _details_of(charge)
    begin = datetime.fromtimestamp(number(charge, "created"), UTC)
    end = number(details, "capture_before")
    return Hold(
        expire_time=datetime.fromtimestamp(end, UTC) if end else begin + limit_of(kind),
        can_capture_again=text(part(details, "multicapture"), "status") == "available",
    )


def _mandate(charge: Json) -> str:
    _, details = _details_of(charge)
    return reference(details, "mandate")


def _error(error: Json) -> PaymentError:
    decline_code = text(error, "decline_code")
    return PaymentError(
        code=text(error, "code") or "card_error",
        decline_code=decline_code,
        message=told(error.get("message")),
        recoverable=decline_code not in UNRECOVERABLE,
    )


def _error_mark(error: Json) -> str:
    return text(error, "charge") or f"{error.get('code')}:{reference(error, 'payment_method') or None}"


def _method(intent: Json, charge: Json, error: Json) -> Method | None:
    """Return what was paid with last: by the charge, the expanded method, or the error that it led to."""
    method_id = reference(intent, "payment_method")
    given, failed = part(intent, "payment_method"), part(error, "payment_method")
    if given:
        details = given
    elif method_id and part(charge, "payment_method_details"):
        details = part(charge, "payment_method_details")
    elif failed:
        method_id, details = text(failed, "id"), failed
    elif method_id:
        return Method(payment_method_id=method_id)
    else:
        return None
    return method_of(details, method_id=method_id)
