"""What operators did by the gateway."""

from __future__ import annotations

from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceServicer
from services.gateway.operations.actions import Action, ActionFilter, ActionList
from services.gateway.wire.responses import timestamp
from services.runtime.rpc import call_context
from services.shared import fields

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200
Context = aio.ServicerContext[Any, Any]


class ActionRpcs(GatewayOpsServiceServicer):
    """Lists it."""

    def __init__(self, actions: ActionList) -> None:
        self._actions = actions

    async def ListOperatorActions(
        self, request: ops_pb2.ListOperatorActionsRequest, context: Context
    ) -> ops_pb2.ListOperatorActionsResponse:
        """Return what operators did, the newest first."""
        wanted = ActionFilter(
            payment_id=fields.reference(request.payment_id, field="payment_id"),
            actor_id=fields.reference(request.actor_id, field="actor_id"),
        )
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        page, token = await self._actions.page(
            call_context.current_tenant(), wanted, size=size, page_token=request.page_token
        )
        return ops_pb2.ListOperatorActionsResponse(actions=[_to_proto(one) for one in page], next_page_token=token)


def _to_proto(action: Action) -> ops_pb2.OperatorAction:
    return ops_pb2.OperatorAction(
        method=action.method,
        subject_id=action.subject_id,
        actor_id=action.actor_id,
        reason=action.reason,
        payment_id=action.payment_id,
        asked_json=action.asked_json,
        outcome_json=action.outcome_json,
        create_time=timestamp(action.create_time),
    )
