"""ImportService: reads records, has them taken over, says what came of each."""

from __future__ import annotations

from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import imports_pb2 as pb
from batzen.gateway.v1.imports_pb2_grpc import ImportServiceServicer
from services.errors import FieldInvalid, FieldMissing, ServiceError
from services.gateway.imports.importer import Asked, Imports, Outcome, Record
from services.gateway.imports.store import Named
from services.gateway.servicers.tenants import served_tenant
from services.gateway.wire import imports as wire
from services.gateway.wire.responses import to_proto
from services.shared import fields

RECORDS_MAX: Final = 100
"""Of one call, ~50 ms of the database."""
DIGEST_BYTES: Final = 32

Context = aio.ServicerContext[Any, Any]


class ImportServicer(ImportServiceServicer):
    """Takes over what systems before this one knew of Stripe."""

    def __init__(self, imports: Imports, *, tenant_id: str) -> None:
        self._imports = imports
        self._tenant_id = tenant_id

    async def ImportRecords(self, request: pb.ImportRecordsRequest, context: Context) -> pb.ImportRecordsResponse:
        """Take records over."""
        if not 1 <= len(request.records) <= RECORDS_MAX:
            raise FieldInvalid(field="records", detail=f"must be 1 to {RECORDS_MAX}")
        actor_id = fields.identifier(request.actor_id, field="actor_id")
        outcomes = [pb.ImportRecordsResponse.Outcome() for _ in request.records]
        asked: dict[int, Asked] = {}
        for place, message in enumerate(request.records):
            try:
                asked[place] = _asked(message)
            except ServiceError as refusal:
                outcomes[place] = _to_proto(Outcome(refusal=refusal))
        found = await self._imports.take(
            served_tenant(self._tenant_id), list(asked.values()), dry_run=request.dry_run, actor_id=actor_id
        )
        for place, outcome in zip(asked, found, strict=True):
            outcomes[place] = _to_proto(outcome)
        return pb.ImportRecordsResponse(outcomes=outcomes)


def _asked(message: pb.ImportRecordsRequest.Record) -> Asked:
    record_id = fields.reference(message.record_id, field="record_id", required=True)
    if len(message.digest) != DIGEST_BYTES:
        raise FieldInvalid(field="digest", detail=f"must have {DIGEST_BYTES} bytes")
    return Asked(named=Named(record_id=record_id, digest=message.digest), record=_record(message))


def _record(message: pb.ImportRecordsRequest.Record) -> Record:
    match message.WhichOneof("record"):
        case "payment":
            return wire.payment(message.payment)
        case "customer":
            return wire.customer(message.customer)
        case "seller":
            return wire.seller(message.seller)
        case _:
            raise FieldMissing(field="record")


def _to_proto(outcome: Outcome) -> pb.ImportRecordsResponse.Outcome:
    refusal = outcome.refusal
    if refusal is not None:
        return pb.ImportRecordsResponse.Outcome(
            result=pb.IMPORT_RESULT_REFUSED,
            problem=pb.ImportProblem(reason=refusal.reason, field=refusal.field or "", detail=str(refusal)),
        )
    return pb.ImportRecordsResponse.Outcome(
        result=pb.IMPORT_RESULT_IMPORTED if outcome.is_new else pb.IMPORT_RESULT_UNCHANGED,
        observation=to_proto(outcome.observation) if outcome.observation is not None else None,
    )
