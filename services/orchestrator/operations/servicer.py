"""The operators' RPCs on what needs them, what does not move, and what they did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.operations.actions import ActionStore
from services.orchestrator.operations.wire import action_filter, action_to_proto, page_size
from services.runtime.rpc import call_context
from services.shared.paging import position_in, token_for

ActionsContext: TypeAlias = aio.ServicerContext[
    pb.ListOperatorActionsRequest, Awaitable[pb.ListOperatorActionsResponse]
]

ResolveContext: TypeAlias = aio.ServicerContext[pb.ResolvePaymentRequest, Awaitable[pb.ResolvePaymentResponse]]
Resolve: TypeAlias = Callable[[pb.ResolvePaymentRequest, ResolveContext], Awaitable[pb.ResolvePaymentResponse]]
"""The command's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What these RPCs go by."""

    actions: ActionStore


class OperationsRpcs(OrchestratorOpsServiceServicer):
    """Serves them."""

    operations: Operations
    resolve: Resolve

    async def ResolvePayment(
        self, request: pb.ResolvePaymentRequest, context: ResolveContext
    ) -> pb.ResolvePaymentResponse:
        """Decide about a payment by hand."""
        return await self.resolve(request, context)

    async def ListOperatorActions(
        self, request: pb.ListOperatorActionsRequest, context: ActionsContext
    ) -> pb.ListOperatorActionsResponse:
        """Return what operators did, the newest first."""
        tenant_id, size, wanted = call_context.current_tenant(), page_size(request.page_size), action_filter(request)
        walk, before = f"actions {tenant_id} {wanted}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=int, invalid=PageTokenInvalid)
        found = await self.operations.actions.page(tenant_id, wanted, before=before, limit=size + 1)
        page = found[:size]
        return pb.ListOperatorActionsResponse(
            actions=[action_to_proto(one) for one in page],
            next_page_token=token_for(str(page[-1].action_id), walk=walk) if len(found) > size else "",
        )
