"""Messages of the services as `/api/payments` shows them, in the words of `batzen.vocabularies`. Pure."""

from __future__ import annotations

import re
from typing import Final

from batzen.gateway.v1.payment_methods_pb2 import PaymentMethod
from batzen.orchestrator.v1.orchestrator_pb2 import PaymentSession
from batzen.status.v1.status_pb2 import Payment
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.vocabularies import known_state, refusal_word, words_of
from services.bff.api.modern.views import instant
from services.bff.api.operations import Submitted
from services.bff.declines import for_payer
from services.web.failures import Refusal, failure_of

DONE: Final = frozenset(
    {
        PaymentState.PAYMENT_STATE_SUCCEEDED,
        PaymentState.PAYMENT_STATE_AUTHORIZED,
        PaymentState.PAYMENT_STATE_SCHEDULED,
    }
)
"""Nothing more is asked of the payer. Only the first is paid: `status` says which."""
_SESSION_ID: Final = re.compile(r"cs_[A-Za-z0-9_]+")


def intent(session: PaymentSession, booking_id: str) -> dict[str, object]:
    """Return what a form of Stripe's needs."""
    return _base(session.payment, booking_id) | {
        "clientSecret": session.client_secret,
        "paymentIntentId": session.intent_id,
    }


def checkout_session(session: PaymentSession, booking_id: str) -> dict[str, object]:
    """Return the hosted page to send the payer to."""
    found = _SESSION_ID.search(session.checkout_url)
    return _base(session.payment, booking_id) | {
        "sessionId": found[0] if found else "",
        "url": session.checkout_url,
    }


def confirmed(submitted: Submitted, language: str) -> dict[str, object]:
    """Return what came of a confirm. Success is what the payer need do nothing more about; never a guess."""
    payment = submitted.payment
    answer = _base(payment, payment.booking_ids[0] if payment.booking_ids else "")
    if _state(payment) in DONE:
        return answer
    if submitted.is_unknown:
        return unknown(payment, language)
    if _state(payment) == PaymentState.PAYMENT_STATE_REQUIRES_ACTION:
        return answer | {
            "success": False,
            "code": "REQUIRES_ACTION",
            "message": "",
            "requiresAction": True,
            "redirectUrl": submitted.redirect_url,
        }
    return answer | {"success": False, **_why(payment)}


def unknown(payment: Payment, language: str) -> dict[str, object]:
    """Return that it is not known yet what became of a payment. Never an error: an old client would pay once more."""
    failure = failure_of(Refusal(200, "OUTCOME_UNKNOWN"), language)
    answer = _base(payment, payment.booking_ids[0] if payment.booking_ids else "")
    return answer | {"success": False, "status": "processing", "code": failure.code, "message": failure.message}


def status(payment: Payment, booking_id: str) -> dict[str, object]:
    """Return how a payment stands."""
    words = words_of(payment, has_booking=True)
    snapshot = payment.snapshot
    paid_at = instant(payment, "complete_time") if snapshot.amounts.captured_minor else None
    return _base(payment, booking_id) | {
        "paymentStatus": words.booking_status.value,
        "flowPhase": words.flow_phase.value,
        "checkoutStep": words.checkout_step.value,
        "modalState": words.modal_state.value,
        "paidAmountMinor": snapshot.amounts.captured_minor,
        "refundedAmountMinor": snapshot.amounts.refunded_minor,
        "paidAt": None if paid_at is None else paid_at.isoformat().replace("+00:00", "Z"),
        "error": {**_why(payment), "recoverable": for_payer(snapshot.last_error, payment.state).recoverable}
        if snapshot.HasField("last_error")
        else None,
    }


def method(kept: PaymentMethod) -> dict[str, object]:
    """Return a way to pay that is kept."""
    return {
        "id": kept.payment_method_id,
        "type": kept.type,
        "brand": kept.brand,
        "last4": kept.last4,
        "expMonth": kept.expire_month,
        "expYear": kept.expire_year,
        "isDefault": kept.default,
        "isExpired": kept.expired,
    }


def _base(payment: Payment, booking_id: str) -> dict[str, object]:
    return {
        "success": True,
        "bookingId": booking_id,
        "paymentId": payment.payment_id,
        "status": words_of(payment, has_booking=True).reservation_status.value,
        "amountMinor": payment.total.amount_minor,
        "currency": payment.total.currency_code,
    }


def _why(payment: Payment) -> dict[str, object]:
    """Return why it went wrong, as any browser may see it."""
    error = for_payer(payment.snapshot.last_error, payment.state)
    code = refusal_word((error.decline_code or error.code).upper())
    return {"code": code or "PAYMENT_STATE", "message": error.message}


def _state(payment: Payment) -> PaymentState:
    return known_state(payment.state, settled=payment.settled, phase=payment.phase)
