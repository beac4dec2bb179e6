"""The RPC of imports, for operators."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import imports_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.errors import FieldInvalid
from services.orchestrator.imports.importer import Imports
from services.runtime.rpc import call_context
from services.shared import fields

RECORDS_MAX: Final = 50
"""Of one call, ~100 ms of all services."""

Context: TypeAlias = aio.ServicerContext[pb.ImportRecordsRequest, Awaitable[pb.ImportRecordsResponse]]


class ImportRpcs(OrchestratorOpsServiceServicer):
    """Takes records of systems before this one over."""

    def __init__(self, imports: Imports) -> None:
        self._imports = imports

    async def ImportRecords(self, request: pb.ImportRecordsRequest, context: Context) -> pb.ImportRecordsResponse:
        """Take records over, or say what would come of it."""
        if not 1 <= len(request.records) <= RECORDS_MAX:
            raise FieldInvalid(field="records", detail=f"must be 1 to {RECORDS_MAX}")
        outcomes = await self._imports.take(
            call_context.current_tenant(),
            request.records,
            dry_run=request.dry_run,
            actor_id=fields.identifier(request.actor_id, field="actor_id"),
        )
        return pb.ImportRecordsResponse(outcomes=outcomes)
