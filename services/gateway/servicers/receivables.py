"""The part of GatewayOpsService that is about what sellers owe."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceServicer
from services.gateway.receivables.store import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, ReceivableStore
from services.gateway.receivables.write_off import WriteOffs
from services.gateway.wire.receivables import note_of, receivable_of, receivable_to_proto
from services.gateway.wire.responses import money
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class ReceivableRpcs(GatewayOpsServiceServicer):
    """Lists what sellers owe, and writes it off."""

    def __init__(self, receivables: ReceivableStore, write_offs: WriteOffs) -> None:
        self._receivables = receivables
        self._write_offs = write_offs

    async def ListReceivables(
        self, request: ops_pb2.ListReceivablesRequest, context: Context
    ) -> ops_pb2.ListReceivablesResponse:
        """Return what sellers owe."""
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        seller_id = fields.identifier(request.seller_id, field="seller_id") if request.seller_id else ""
        page, token = await self._receivables.page(
            call_context.current_tenant(), seller_id=seller_id, size=size, page_token=request.page_token
        )
        return ops_pb2.ListReceivablesResponse(receivables=map(receivable_to_proto, page), next_page_token=token)

    async def WriteOffReceivable(
        self, request: ops_pb2.WriteOffReceivableRequest, context: Context
    ) -> ops_pb2.WriteOffReceivableResponse:
        """Write off what a seller owes of a payment."""
        request_id = fields.request_id(request.request_id)
        owed = receivable_of(request)
        written_off = await self._write_offs.write_off(
            call_context.current_tenant(),
            owed,
            actor_id=fields.identifier(request.actor_id, field="actor_id"),
            note=note_of(request),
            request_id=request_id,
        )
        return ops_pb2.WriteOffReceivableResponse(
            write_off_id=written_off.movement_id, amount=money(written_off.charge_minor, written_off.currency_code)
        )
