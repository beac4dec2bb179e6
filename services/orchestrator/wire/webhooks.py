"""Reads and writes the messages about webhooks to the platform's own systems."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from google.protobuf.message import Message

from batzen.orchestrator.v1 import webhooks_pb2 as pb
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.webhooks_out.domain import (
    LEGACY_KINDS,
    SECRET_OVERLAP,
    SECRET_OVERLAP_MAX,
    Delivery,
    DeliveryState,
    Form,
    Receiver,
    Subscription,
    Try,
    is_subscription_id,
)
from services.orchestrator.webhooks_out.guard import Guard, ReceiverRefused
from services.orchestrator.webhooks_out.log import Period, Wanted
from services.shared import fields
from services.shared.text import storable
from services.wire import fill_instant, fill_optional_instant, instant

IDS_MAX: Final = 200
BODY_CHARACTERS_MAX: Final = 200_000

FORMS: Final = {
    pb.WebhookSubscription.FORM_UNSPECIFIED: Form.FULL,
    pb.WebhookSubscription.FORM_FULL: Form.FULL,
    pb.WebhookSubscription.FORM_LEGACY: Form.LEGACY,
}
TO_FORMS: Final = {Form.FULL: pb.WebhookSubscription.FORM_FULL, Form.LEGACY: pb.WebhookSubscription.FORM_LEGACY}
TO_STATES: Final = {
    DeliveryState.WAITING: pb.WebhookDelivery.STATE_WAITING,
    DeliveryState.DELIVERED: pb.WebhookDelivery.STATE_DELIVERED,
    DeliveryState.DEAD: pb.WebhookDelivery.STATE_DEAD,
    DeliveryState.CANCELED: pb.WebhookDelivery.STATE_CANCELED,
}
STATES: Final = {number: state for state, number in TO_STATES.items()}


def subscription_id(text: str, *, field: str = "subscription_id", required: bool = True) -> str:
    """Return the name of a subscription."""
    if not text and not required:
        return ""
    if not text:
        raise FieldMissing(field=field)
    if not is_subscription_id(text):
        raise FieldInvalid(field=field, detail="must be 1 to 64 lower case letters, digits, _ and -, a letter first")
    return text


def receiver(request: pb.PutWebhookSubscriptionRequest, guard: Guard) -> Receiver:
    """Return who is to be sent what."""
    name = subscription_id(request.subscription_id)
    if not request.url:
        raise FieldMissing(field="url")
    try:
        guard.url(request.url)
    except ReceiverRefused as refused:
        raise FieldInvalid(field="url", detail=f"must be a URL that may be called. {refused}") from None
    form = FORMS.get(request.form)
    if form is None:
        raise FieldInvalid(field="form", detail=fields.one_of(pb.WebhookSubscription.Form.items(), FORMS))
    for place, kind in enumerate(request.kinds):
        if kind not in FactKind.__members__:
            raise FieldInvalid(field=f"kinds[{place}]", detail=fields.one_word_of(FactKind))
        if form is Form.LEGACY and FactKind(kind) not in LEGACY_KINDS:
            raise FieldInvalid(field=f"kinds[{place}]", detail="must be PAYMENT_MOVED, the one kind of the old form")
    kinds = frozenset(FactKind(kind) for kind in request.kinds)
    return Receiver(subscription_id=name, url=request.url, kinds=kinds, form=form, paused=request.paused)


def overlap(request: pb.RotateWebhookSecretRequest) -> timedelta:
    """Return for how long the earlier secrets sign, too."""
    if not request.HasField("overlap"):
        return SECRET_OVERLAP
    asked = timedelta(seconds=request.overlap.seconds, microseconds=request.overlap.nanos // 1_000)
    if not timedelta(0) <= asked <= SECRET_OVERLAP_MAX:
        raise FieldInvalid(field="overlap", detail=f"must be 0 to {SECRET_OVERLAP_MAX.days} days")
    return asked


def wanted(request: pb.ListWebhookDeliveriesRequest) -> Wanted:
    """Return which deliveries are listed."""
    state = None
    if request.state != pb.WebhookDelivery.STATE_UNSPECIFIED:
        state = STATES.get(request.state)
        if state is None:
            offered = fields.one_of(pb.WebhookDelivery.State.items(), STATES)
            raise FieldInvalid(field="state", detail=offered)
    return Wanted(
        subscription_id=subscription_id(request.subscription_id, required=False),
        payment_id=fields.payment_id(request.payment_id) if request.payment_id else "",
        state=state,
        from_time=_instant(request, "from_time"),
        to_time=_instant(request, "to_time"),
    )


def replayed(request: pb.ReplayWebhookDeliveriesRequest) -> Sequence[uuid.UUID] | Period:
    """Return what is to be sent again."""
    if request.delivery_ids and request.HasField("period"):
        raise FieldInvalid(field="period", detail="must be empty beside ids: either of the two")
    if request.HasField("period"):
        return _period(request.period)
    if not request.delivery_ids:
        raise FieldMissing(field="delivery_ids")
    if len(request.delivery_ids) > IDS_MAX:
        raise FieldInvalid(field="delivery_ids", detail=f"must be at most {IDS_MAX}")
    return [_delivery_id(text, place) for place, text in enumerate(request.delivery_ids)]


def _delivery_id(text: str, place: int) -> uuid.UUID:
    try:
        return uuid.UUID(text)
    except ValueError:
        raise FieldInvalid(field=f"delivery_ids[{place}]", detail="must be a UUID") from None


def _period(message: pb.ReplayWebhookDeliveriesRequest.Period) -> Period:
    from_time = _instant(message, "from_time", within="period.")
    to_time = _instant(message, "to_time", within="period.")
    if from_time is None:
        raise FieldMissing(field="period.from_time")
    if to_time is None:
        raise FieldMissing(field="period.to_time")
    if to_time <= from_time:
        raise FieldInvalid(field="period.to_time", detail="must be after `from_time`")
    name = subscription_id(message.subscription_id, field="period.subscription_id")
    return Period(subscription_id=name, from_time=from_time, to_time=to_time, delivered_too=message.delivered_too)


def _instant(message: Message, name: str, *, within: str = "") -> datetime | None:
    try:
        return instant(message, name)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=within + name, detail="must be an instant of the years 1 to 9999") from None


def subscription(one: Subscription) -> pb.WebhookSubscription:
    """Return the message of a subscription."""
    message = pb.WebhookSubscription(
        subscription_id=one.receiver.subscription_id,
        url=one.receiver.url,
        kinds=sorted(one.receiver.kinds),
        form=TO_FORMS[one.receiver.form],
        paused=one.receiver.paused,
        failures=one.failures,
        waiting_count=one.waiting_count,
        dead_count=one.dead_count,
    )
    fill_instant(message.create_time, one.create_time)
    fill_instant(message.update_time, one.update_time)
    fill_optional_instant(message, "failing_time", one.failing_time)
    fill_optional_instant(message, "rest_end_time", one.rest_end_time)
    for secret in one.secrets:
        added = message.secrets.add(secret_id=str(secret.secret_id))
        fill_instant(added.create_time, secret.create_time)
        fill_optional_instant(added, "expire_time", secret.expire_time)
    return message


def delivery(one: Delivery) -> pb.WebhookDelivery:
    """Return the message of a delivery."""
    body = b"" if one.body is None else one.body
    message = pb.WebhookDelivery(
        delivery_id=str(one.delivery_id),
        subscription_id=one.subscription_id,
        kind=one.kind,
        payment_id=one.payment_id,
        revision=one.revision,
        state=TO_STATES[one.state],
        try_count=one.try_count,
        body=storable(body.decode(errors="replace"), characters_max=BODY_CHARACTERS_MAX),
    )
    fill_instant(message.create_time, one.create_time)
    fill_optional_instant(message, "next_time", one.next_time)
    fill_optional_instant(message, "end_time", one.end_time)
    for tried in one.tries:
        _fill_try(message.tries.add(), tried)
    return message


def _fill_try(message: pb.WebhookDelivery.Try, tried: Try) -> None:
    message.outcome, message.status = tried.outcome, tried.status
    message.answer, message.problem = tried.answer, tried.problem
    fill_instant(message.time, tried.time)
    message.duration.FromTimedelta(tried.duration)


def place_of(one: Delivery) -> str:
    """Return where a list of deliveries goes on after this one."""
    return f"{one.create_time.isoformat()} {one.delivery_id}"


def read_place(text: str) -> tuple[datetime, uuid.UUID]:
    """Return the place of a page's token; raise ValueError for what is none."""
    time, _, its_id = text.partition(" ")
    return datetime.fromisoformat(time), uuid.UUID(its_id)
