"""The RPCs of reconciliations, for operators."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceServicer
from services.gateway.reconciliation.runner import Reconciliations
from services.gateway.reconciliation.store import ReconciliationStore
from services.gateway.wire import reconciliation
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class ReconciliationRpcs(GatewayOpsServiceServicer):
    """Begins reconciliations and shows them."""

    def __init__(self, reconciliations: Reconciliations, store: ReconciliationStore) -> None:
        self._reconciliations = reconciliations
        self._reconciliation_store = store

    async def Reconcile(self, request: ops_pb2.ReconcileRequest, context: Context) -> ops_pb2.ReconcileResponse:
        """Begin to compare with Stripe."""
        reconciliation_id = await self._reconciliations.begin(
            call_context.current_tenant(),
            reconciliation.span(request),
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request),
            repairs=request.repair,
            actor_id=fields.identifier(request.actor_id, field="actor_id"),
        )
        return ops_pb2.ReconcileResponse(reconciliation_id=reconciliation_id)

    async def GetReconciliation(
        self, request: ops_pb2.GetReconciliationRequest, context: Context
    ) -> ops_pb2.GetReconciliationResponse:
        """Return what was compared, and what is different."""
        tenant_id = call_context.current_tenant()
        size = fields.page_size(
            request.page_size, default=reconciliation.PAGE_SIZE_MAX, at_most=reconciliation.PAGE_SIZE_MAX
        )
        run = await self._reconciliation_store.require(tenant_id, request.reconciliation_id)
        tallies = await self._reconciliation_store.tallies(tenant_id, run.reconciliation_id)
        page, token = await self._reconciliation_store.findings(
            tenant_id, run.reconciliation_id, size=size, page_token=request.page_token
        )
        return reconciliation.reconciliation(run, tallies, page, token)
