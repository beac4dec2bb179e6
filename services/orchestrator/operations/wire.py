"""What operators ask for and are shown, as messages."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services import wire
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain.attention_item import Acknowledgment, AttentionItem, ItemFilter
from services.orchestrator.domain.operator_action import NOTHING_JSON, ActionFilter, DoneAction
from services.orchestrator.domain.resolution import Decision, Resolution
from services.orchestrator.domain.stuck import Stuck, StuckFilter, StuckReason
from services.shared import fields
from services.shared.states import AttentionReason, Cause, State

REASON_CHARACTERS_MAX: Final = 500
_RESOLUTIONS: Final = {pb.Resolution.Value(f"RESOLUTION_{one}"): one for one in Resolution}
_COLLECTIONS: Final = {
    payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{one}"): one
    for one in State
    if one not in (State.PARTIALLY_REFUNDED, State.REFUNDED, State.DISPUTED, State.DISPUTE_LOST)
}
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200
AGE_MAX_S: Final = 10 * 366 * 86_400


def page_size(value: int) -> int:
    """Return how many are listed at once."""
    return fields.page_size(value, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)


def payment_filter(value: str) -> str:
    """Return the payment that a list is narrowed to, empty for all."""
    return fields.payment_id(value) if value else ""


def action_filter(request: pb.ListOperatorActionsRequest) -> ActionFilter:
    """Return which actions are asked for."""
    return ActionFilter(
        payment_id=payment_filter(request.payment_id),
        actor_id=fields.reference(request.actor_id, field="actor_id"),
    )


def check_resolution(request: pb.ResolvePaymentRequest) -> None:
    """Refuse what decides nothing, or says not who did and why."""
    fields.payment_id(request.payment_id)
    fields.identifier(request.actor_id, field="actor_id")
    if not request.reason:
        raise FieldMissing(field="reason")
    fields.text(request.reason, field="reason", characters_max=REASON_CHARACTERS_MAX)
    resolution = resolution_of(request)
    expected_collection(request)
    if request.attention_reasons and resolution is not Resolution.CLEAR_ATTENTION:
        raise FieldInvalid(field="attention_reasons", detail="must be empty: it is of CLEAR_ATTENTION alone")
    if len(request.attention_reasons) > len(AttentionReason):
        raise FieldInvalid(field="attention_reasons", detail="must be each once")
    for place, reason in enumerate(request.attention_reasons):
        fields.reference(reason, field=f"attention_reasons[{place}]", required=True)
    is_set = request.HasField("expected_surplus")
    if resolution is Resolution.REFUND_SURPLUS:
        fields.money(request.expected_surplus, field="expected_surplus", least_minor=1, is_set=is_set)
    elif is_set:
        raise FieldInvalid(field="expected_surplus", detail="must be empty: it is of REFUND_SURPLUS alone")


def decision_of(request: pb.ResolvePaymentRequest) -> Decision:
    """Return what an operator decided."""
    return Decision(
        resolution=resolution_of(request),
        actor_id=request.actor_id,
        expected=expected_collection(request),
        reasons=frozenset(request.attention_reasons),
        clear_attention=request.clear_attention,
        expected_surplus_minor=request.expected_surplus.amount_minor,
        expected_surplus_currency=request.expected_surplus.currency_code,
    )


def resolution_of(request: pb.ResolvePaymentRequest) -> Resolution:
    """Return what is decided."""
    if request.resolution == pb.RESOLUTION_UNSPECIFIED:
        if not request.clear_attention:
            raise FieldMissing(field="resolution")
        return Resolution.CLEAR_ATTENTION
    if request.resolution not in _RESOLUTIONS:
        raise FieldInvalid(field="resolution", detail=fields.one_of(pb.Resolution.items(), _RESOLUTIONS))
    return _RESOLUTIONS[request.resolution]


def expected_collection(request: pb.ResolvePaymentRequest) -> State | None:
    """Return where the collection is to stand; None where nothing is expected."""
    if request.collection == payment_pb2.PAYMENT_STATE_UNSPECIFIED:
        return None
    if request.collection not in _COLLECTIONS:
        raise FieldInvalid(field="collection", detail="must be one of INITIALIZED to EXPIRED")
    return _COLLECTIONS[request.collection]


def item_filter(request: pb.ListAttentionRequest) -> ItemFilter:
    """Return which items are asked for."""
    return ItemFilter(
        payment_id=payment_filter(request.payment_id),
        reason=fields.reference(request.reason, field="reason"),
        with_resolved=request.with_resolved,
        unacknowledged_only=request.unacknowledged_only,
    )


def acknowledgment(request: pb.AcknowledgeAttentionRequest, *, now: datetime) -> Acknowledgment:
    """Return what somebody says who looks after an item."""
    try:
        item_id = uuid.UUID(request.item_id)
    except ValueError as error:
        raise FieldInvalid(field="item_id", detail="must be a UUID") from error
    return Acknowledgment(
        item_id=item_id,
        actor_id=fields.identifier(request.actor_id, field="actor_id"),
        note=fields.text(request.note, field="note", characters_max=REASON_CHARACTERS_MAX),
        time=now,
    )


def item_to_proto(item: AttentionItem) -> pb.AttentionItem:
    """Return the message of an item."""
    message = pb.AttentionItem(
        item_id=str(item.item_id),
        payment_id=item.payment_id,
        reason=item.reason,
        detail=item.detail,
        raise_time=wire.timestamp(item.raise_time),
        raise_revision=item.raise_revision,
        acknowledged_by=item.acknowledged_by,
        note=item.note,
        resolve_revision=item.resolve_revision,
    )
    wire.fill_optional_instant(message, "change_time", item.change_time)
    wire.fill_optional_instant(message, "acknowledge_time", item.acknowledge_time)
    wire.fill_optional_instant(message, "resolve_time", item.resolve_time)
    if item.resolve_cause is not None:
        message.MergeFrom(pb.AttentionItem(resolve_cause=f"CAUSE_{item.resolve_cause}"))
    return message


def attention_in(payment: bytes | None) -> dict[str, str]:
    """Return what of a payment as a fact has it needs an operator: the reasons, and what each says."""
    if payment is None:
        return {}
    snapshot = status_pb2.Payment.FromString(payment).snapshot
    return {one.reason: one.detail for one in wire.attentions(snapshot)}


def cause_in(payment: bytes | None) -> str:
    """Return what caused the revision that a fact has; empty where that is not known."""
    if payment is None:
        return ""
    cause = status_pb2.Payment.FromString(payment).snapshot.cause
    word = payment_pb2.PaymentSnapshot.Cause.Name(cause).removeprefix("CAUSE_")
    return word if word in set(Cause) else ""


def position_of(item: AttentionItem) -> str:
    """Return where a page ends with an item."""
    return f"{item.raise_time.isoformat()} {item.item_id}"


def position(text: str) -> tuple[datetime, uuid.UUID]:
    """Read what `position_of` gave."""
    raised, _, item_id = text.partition(" ")
    return datetime.fromisoformat(raised), uuid.UUID(item_id)


def stuck_filter(request: pb.ListStuckPaymentsRequest) -> StuckFilter:
    """Return which payments are asked for."""
    if request.reason and request.reason not in set(StuckReason):
        raise FieldInvalid(field="reason", detail=fields.one_word_of(StuckReason))
    if not 0 <= request.age_min_s <= AGE_MAX_S:
        raise FieldInvalid(field="age_min_s", detail=f"must be 0 to {AGE_MAX_S}")
    return StuckFilter(reason=request.reason, age_min=timedelta(seconds=request.age_min_s))


def stuck_position(text: str) -> tuple[datetime, str]:
    """Read where a page ends."""
    since, _, payment_id = text.partition(" ")
    return datetime.fromisoformat(since), payment_id


def stuck_to_proto(stuck: Stuck, payment: status_pb2.Payment, resolutions: Iterable[Resolution]) -> pb.StuckPayment:
    """Return the message of a payment that does not move."""
    message = pb.StuckPayment(
        payment=payment,
        reason=stuck.causes[0].reason,
        stuck_time=wire.timestamp(stuck.stuck_time),
        causes=[
            pb.StuckCause(reason=one.reason, since_time=wire.timestamp(one.since_time), step=one.step)
            for one in stuck.causes
        ],
        failures=stuck.failures,
        last_error=stuck.last_error,
        resolutions=[f"RESOLUTION_{one}" for one in resolutions],
    )
    wire.fill_optional_instant(message, "next_try_time", stuck.next_try_time)
    return message


def action_to_proto(action: DoneAction) -> pb.OperatorAction:
    """Return the message of what an operator did."""
    key = action.key
    return pb.OperatorAction(
        action_id=action.action_id,
        method=key.method,
        request_id=str(key.request_id),
        caller=key.caller,
        actor_id=action.actor_id,
        reason=action.reason,
        payment_id=action.payment_id,
        asked_json=_json(action.asked_json),
        before_json=_json(action.before_json),
        after_json=_json(action.after_json),
        refusal=action.refusal,
        create_time=wire.timestamp(action.create_time),
    )


def _json(stored: str) -> str:
    return "" if stored == NOTHING_JSON else stored
