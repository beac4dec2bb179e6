"""Messages of the services as `/v1` shows them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from batzen.gateway.v1 import payment_methods_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.pricing.v1 import pricing_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import money_pb2, payment_pb2
from batzen.vocabularies import known_state
from services.bff.api.modern import models
from services.bff.callers import Asker
from services.bff.declines import for_payer


def payment(message: status_pb2.Payment, asker: Asker) -> models.Payment:
    """Return a payment."""
    snapshot = message.snapshot
    return models.Payment(
        payment_id=message.payment_id,
        revision=message.revision,
        state=state_name(message),
        phase=phase_name(message),
        settled=message.settled,
        reason=snapshot.reason,
        total=money(message.total),
        amounts=amounts(snapshot.amounts),
        payer_id=message.payer_id,
        seller_ids=list(message.seller_ids),
        booking_ids=list(message.booking_ids),
        client_reference=message.client_reference,
        attempt=snapshot.attempt,
        decline_count=snapshot.decline_count,
        method=method(snapshot.method) if snapshot.HasField("method") else None,
        last_error=_problem(message, is_service=asker.is_service),
        charge_time=instant(snapshot, "charge_time"),
        hold_expire_time=instant(snapshot, "hold_expire_time"),
        open_time=message.open_time.ToDatetime(UTC),
        update_time=message.update_time.ToDatetime(UTC),
        complete_time=instant(message, "complete_time"),
    )


def transition(message: status_pb2.Transition, *, is_service: bool) -> models.TransitionEntry:
    """Return one step of a history."""
    return models.TransitionEntry(
        revision=message.revision,
        state=state_name(message),
        phase=phase_name(message),
        settled=message.settled,
        reason=message.snapshot.reason,
        amounts=amounts(message.snapshot.amounts),
        last_error=_problem(message, is_service=is_service),
        record_time=message.record_time.ToDatetime(UTC),
    )


def session(message: orchestrator_pb2.PaymentSession, asker: Asker) -> models.Session:
    """Return what a payer needs to go on."""
    return models.Session(
        payment=payment(message.payment, asker),
        price=_price(message.quote, asker.language) if message.HasField("quote") else None,
        client_secret=message.client_secret,
        checkout_url=message.checkout_url,
        redirect_url=message.next_action.redirect_url,
        intent_id=message.intent_id,
        charge_id=message.charge_id,
        timing=timing_name(message.timing),
        timings_offered=[
            models.OfferedTiming(
                timing=timing_name(one.timing),
                charge_time=instant(one, "charge_time"),
                capture_time=instant(one, "capture_time"),
            )
            for one in message.timings_offered
        ],
    )


def timing_name(timing: orchestrator_pb2.Timing) -> str:
    """Return when the money is taken; empty of one that is not said, or newer than this front."""
    if not timing or timing not in orchestrator_pb2.Timing.values():
        return ""
    return orchestrator_pb2.Timing.Name(timing).removeprefix("TIMING_")


def kept_method(message: payment_methods_pb2.PaymentMethod) -> models.KeptMethod:
    """Return a way to pay that is kept."""
    return models.KeptMethod(
        payment_method_id=message.payment_method_id,
        type=message.type,
        brand=message.brand,
        last4=message.last4,
        expire_month=message.expire_month,
        expire_year=message.expire_year,
        default=message.default,
        expired=message.expired,
    )


def method(message: payment_pb2.PaymentSnapshot.Method) -> models.Method:
    """Return the way that a payment is paid."""
    return models.Method(
        payment_method_id=message.payment_method_id,
        type=message.type,
        brand=message.brand,
        last4=message.last4,
        expire_month=message.expire_month,
        expire_year=message.expire_year,
    )


def money(message: money_pb2.Money) -> models.Money:
    """Return an amount."""
    return models.Money(amount_minor=message.amount_minor, currency_code=message.currency_code)


def amounts(message: payment_pb2.PaymentSnapshot.Amounts) -> models.Amounts:
    """Return the amounts of a payment."""
    return models.Amounts(
        authorized_minor=message.authorized_minor,
        capturable_minor=message.capturable_minor,
        captured_minor=message.captured_minor,
        refund_pending_minor=message.refund_pending_minor,
        refunded_minor=message.refunded_minor,
        disputed_open_minor=message.disputed_open_minor,
        disputed_lost_minor=message.disputed_lost_minor,
        surplus_minor=message.surplus_minor,
    )


def state_name(message: status_pb2.Payment | status_pb2.Transition) -> str:
    """Return the state; one that is newer than this front is read as the nearest that is known."""
    state = known_state(message.state, settled=message.settled, phase=message.phase)
    return payment_pb2.PaymentState.Name(state).removeprefix("PAYMENT_STATE_")


def phase_name(message: status_pb2.Payment | status_pb2.Transition) -> str:
    """Return the phase; PROCESSING for one that is newer than this front."""
    try:
        return status_pb2.Phase.Name(message.phase).removeprefix("PHASE_")
    except ValueError:
        return "PROCESSING"


def instant(message: Message, name: str) -> datetime | None:
    """Return a time, None where it is not set."""
    if not message.HasField(name):
        return None
    found: Timestamp = getattr(message, name)
    return found.ToDatetime(UTC)


def _problem(message: status_pb2.Payment | status_pb2.Transition, *, is_service: bool) -> models.PaymentProblem | None:
    snapshot = message.snapshot
    if not snapshot.HasField("last_error"):
        return None
    error = snapshot.last_error if is_service else for_payer(snapshot.last_error, message.state)
    return models.PaymentProblem(
        code=error.code,
        decline_code=error.decline_code,
        message=error.message,
        recoverable=error.recoverable,
    )


def _price(quote: pricing_pb2.Quote, language: str) -> models.Price:
    return models.Price(
        quote_id=quote.quote_id,
        total=money(quote.total),
        total_display=_displayed(quote.total_display, language),
        rows=[
            models.PriceRow(
                kind=pricing_pb2.RowKind.Name(row.kind).removeprefix("ROW_KIND_"),
                line_id=row.line_id,
                amount_minor=row.amount_minor,
                display=_displayed(row.display, language),
                rate_percent=row.rate_percent,
                included_in_total=row.included_in_total,
            )
            for row in quote.rows
            if row.payer_facing
        ],
        expire_time=instant(quote, "expire_time"),
    )


def _displayed(texts: Mapping[str, str], language: str) -> str:
    """Return a display string in the language, else in any; empty where pricing was asked for none."""
    fitting = (text for locale, text in texts.items() if locale.replace("_", "-").split("-")[0] == language)
    return next(fitting, next(iter(texts.values()), ""))
