"""Attempts, calls and events as operators see them: what is asked for, read; what was found, written."""

from __future__ import annotations

from typing import Final

from batzen.gateway.v1 import ops_pb2
from services.errors import FieldInvalid
from services.gateway.call_log.store import OpenCall
from services.gateway.intents.domain import Intent
from services.gateway.ledger.store import ALWAYS, NEVER
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.webhooks.listing import EventFilter, EventState, ListedEvent
from services.gateway.wire.ledger import instant
from services.gateway.wire.responses import money, optional_timestamp, timestamp
from services.shared import fields
from services.wire import fill

TYPES_MAX: Final = 20
"""Types that a filter names: a third of those that there are."""
TYPE_CHARACTERS_MAX: Final = 100

STATES: Final = {ops_pb2.WebhookEvent.State.Value(f"STATE_{state}"): state for state in EventState}


def event_filter(request: ops_pb2.ListWebhookEventsRequest) -> EventFilter:
    """Read which events are listed."""
    if request.payment_id and request.subject_id:
        raise FieldInvalid(field="subject_id", detail="must not be set beside `payment_id`: it stands instead of it")
    if len(request.types) > TYPES_MAX:
        raise FieldInvalid(field="types", detail=f"must be at most {TYPES_MAX}")
    for place, number in enumerate(request.states):
        if number not in STATES:
            raise FieldInvalid(
                field=f"states[{place}]", detail=fields.one_of(ops_pb2.WebhookEvent.State.items(), STATES)
            )
    start, end = instant(request, "start_time", unset=ALWAYS), instant(request, "end_time", unset=NEVER)
    if end <= start:
        raise FieldInvalid(field="end_time", detail="must be after `start_time`")
    return EventFilter(
        payment_id=fields.identifier(request.payment_id, field="payment_id") if request.payment_id else "",
        subject_id=fields.identifier(request.subject_id, field="subject_id") if request.subject_id else "",
        types=tuple(
            fields.text(value, field=f"types[{place}]", characters_max=TYPE_CHARACTERS_MAX)
            for place, value in enumerate(request.types)
        ),
        states=tuple(sorted({STATES[number] for number in request.states})),
        start_time=start,
        end_time=end,
    )


def event(listed: ListedEvent) -> ops_pb2.WebhookEvent:
    """Return the message of an event."""
    return ops_pb2.WebhookEvent(
        event_id=listed.event_id,
        type=listed.type,
        subject_id=listed.subject_id,
        payment_id=listed.payment_id,
        account_id=listed.account_id,
        state=f"STATE_{listed.state}",
        note=listed.note,
        create_time=timestamp(listed.create_time),
        receive_time=timestamp(listed.receive_time),
        done_time=optional_timestamp(listed.done_time),
    )


def attempt(intent: Intent, *, payment: MirroredPayment) -> ops_pb2.Attempt:
    """Return the message of an attempt."""
    message = ops_pb2.Attempt(
        attempt=intent.attempt,
        kind=f"ATTEMPT_KIND_{intent.kind}",
        state=f"INTENT_STATE_{intent.state}",
        intent_id=intent.intent_id,
        charge_id=intent.charge_id,
        session_id=intent.session_id,
        balance_transaction_id=intent.balance_transaction_id,
        amount=money(intent.amount_minor, payment.currency_code),
        captured_minor=intent.captured_minor,
        capturable_minor=intent.capturable_minor,
        refundable_minor=payment.refundable_minor(intent.attempt),
        decline_count=intent.decline_count,
        advice_code=intent.advice_code,
        create_time=timestamp(intent.create_time),
        hold_expire_time=optional_timestamp(intent.hold.expire_time if intent.hold is not None else None),
        session_expire_time=optional_timestamp(intent.session_expire_time),
        counts=intent.attempt == payment.observation.attempt,
        mismatch=intent.mismatch,
    )
    fill(message.last_error, intent.error)
    fill(message.method, intent.method)
    return message


def open_call(call: OpenCall) -> ops_pb2.StripeCall:
    """Return the message of a call without an answer."""
    return ops_pb2.StripeCall(
        operation=call.operation,
        request_id=call.request_id,
        outcome_unknown=call.is_unknown,
        tries=call.tries,
        problem=call.problem,
        create_time=timestamp(call.create_time),
        given_up=call.is_dead,
    )
