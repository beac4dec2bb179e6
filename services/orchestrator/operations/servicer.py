"""The operators' RPCs on what needs them, what does not move, and what they did."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.orchestrator.domain.errors import PageTokenInvalid
from services.orchestrator.figures.store import PaymentFigureStore
from services.orchestrator.operations.actions import ActionStore
from services.orchestrator.operations.attention import AttentionStore
from services.orchestrator.operations.stuck_rpcs import StuckPayments
from services.orchestrator.operations.wire import (
    acknowledgment,
    action_filter,
    action_to_proto,
    item_filter,
    item_to_proto,
    page_size,
    position,
    position_of,
)
from services.orchestrator.wire.requests import request_key
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared.paging import position_in, token_for

ActionsContext: TypeAlias = aio.ServicerContext[
    pb.ListOperatorActionsRequest, Awaitable[pb.ListOperatorActionsResponse]
]

StuckContext: TypeAlias = aio.ServicerContext[pb.ListStuckPaymentsRequest, Awaitable[pb.ListStuckPaymentsResponse]]
ItemsContext: TypeAlias = aio.ServicerContext[pb.ListAttentionRequest, Awaitable[pb.ListAttentionResponse]]
AcknowledgeContext: TypeAlias = aio.ServicerContext[
    pb.AcknowledgeAttentionRequest, Awaitable[pb.AcknowledgeAttentionResponse]
]
ResolveContext: TypeAlias = aio.ServicerContext[pb.ResolvePaymentRequest, Awaitable[pb.ResolvePaymentResponse]]
Resolve: TypeAlias = Callable[[pb.ResolvePaymentRequest, ResolveContext], Awaitable[pb.ResolvePaymentResponse]]
"""The command's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """What these RPCs go by."""

    actions: ActionStore
    attention: AttentionStore
    stuck: StuckPayments
    figures: PaymentFigureStore
    now: Callable[[], datetime]


class OperationsRpcs(OrchestratorOpsServiceServicer):
    """Serves them."""

    operations: Operations
    resolve: Resolve

    async def ListStuckPayments(
        self, request: pb.ListStuckPaymentsRequest, context: StuckContext
    ) -> pb.ListStuckPaymentsResponse:
        """Return what does not move."""
        return await self.operations.stuck.page(request)

    async def ResolvePayment(
        self, request: pb.ResolvePaymentRequest, context: ResolveContext
    ) -> pb.ResolvePaymentResponse:
        """Decide about a payment by hand."""
        return await self.resolve(request, context)

    async def ListAttention(self, request: pb.ListAttentionRequest, context: ItemsContext) -> pb.ListAttentionResponse:
        """Return what needs, or needed, an operator."""
        tenant_id, size, wanted = call_context.current_tenant(), page_size(request.page_size), item_filter(request)
        walk, before = f"attention {tenant_id} {wanted}", None
        if request.page_token:
            before = position_in(request.page_token, walk=walk, parse=position, invalid=PageTokenInvalid)
        found = await self.operations.attention.page(tenant_id, wanted, before=before, limit=size + 1)
        page = found[:size]
        return pb.ListAttentionResponse(
            items=[item_to_proto(one) for one in page],
            next_page_token=token_for(position_of(page[-1]), walk=walk) if len(found) > size else "",
        )

    async def AcknowledgeAttention(
        self, request: pb.AcknowledgeAttentionRequest, context: AcknowledgeContext
    ) -> pb.AcknowledgeAttentionResponse:
        """Note who looks after an item."""
        said = acknowledgment(request, now=self.operations.now())
        item = await self.operations.attention.acknowledge(request_key(request), request_hash(request), said)
        return pb.AcknowledgeAttentionResponse(item=item_to_proto(item))

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
