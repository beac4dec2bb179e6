"""What operators ask for and are shown, as messages."""

from __future__ import annotations

from typing import Final

from batzen.orchestrator.v1 import ops_pb2 as pb
from services import wire
from services.orchestrator.domain.operator_action import NOTHING_JSON, ActionFilter, DoneAction
from services.shared import fields

REASON_CHARACTERS_MAX: Final = 500
PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200


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
