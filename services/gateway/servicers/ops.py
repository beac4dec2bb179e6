"""GatewayOpsService, for operators: reads a request, has it carried out, answers what came of it."""

from __future__ import annotations

from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from batzen.gateway.v1.ops_pb2_grpc import GatewayOpsServiceServicer
from services.errors import FieldInvalid, FieldMissing
from services.gateway.dead_letters import REPLAYED_AT_ONCE_MAX, DeadLetters
from services.gateway.wire.responses import timestamp
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

KINDS: Final = {
    "events": ops_pb2.DeadLetter.KIND_WEBHOOK_EVENT,
    "deliveries": ops_pb2.DeadLetter.KIND_DELIVERY,
    "calls": ops_pb2.DeadLetter.KIND_UNSETTLED_CALL,
}
"""Kind of due work → its name in the contract."""

Context = aio.ServicerContext[Any, Any]


class GatewayOpsServicer(GatewayOpsServiceServicer):
    """GatewayOpsService. RPCs that are only announced answer UNIMPLEMENTED."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters

    async def ListDeadLetters(
        self, request: ops_pb2.ListDeadLettersRequest, context: Context
    ) -> ops_pb2.ListDeadLettersResponse:
        """Return what was given up."""
        page, token = await self._dead_letters.page(
            call_context.current_tenant(), page_size=request.page_size, page_token=request.page_token
        )
        return ops_pb2.ListDeadLettersResponse(
            dead_letters=[
                ops_pb2.DeadLetter(
                    dead_letter_id=letter.dead_letter_id,
                    kind=KINDS.get(letter.kind, ops_pb2.DeadLetter.KIND_UNSPECIFIED),
                    payment_id=subject.payment_id,
                    subject_id=subject.subject_id,
                    subject_type=subject.subject_type,
                    attempt_count=letter.failures,
                    last_error=letter.problem,
                    hold_time=timestamp(letter.dead_time),
                )
                for letter, subject in page
            ],
            next_page_token=token,
        )

    async def ReplayDeadLetters(
        self, request: ops_pb2.ReplayDeadLettersRequest, context: Context
    ) -> ops_pb2.ReplayDeadLettersResponse:
        """Try what was given up again."""
        request_id = fields.request_id(request.request_id)
        actor_id = fields.identifier(request.actor_id, field="actor_id")
        ids = list(request.dead_letter_ids)
        if not ids:
            raise FieldMissing(field="dead_letter_ids")
        if len(ids) > REPLAYED_AT_ONCE_MAX or len(set(ids)) != len(ids):
            raise FieldInvalid(field="dead_letter_ids", detail=f"Each once, at most {REPLAYED_AT_ONCE_MAX}.")
        outcomes = await self._dead_letters.replay(
            call_context.current_tenant(),
            ids,
            request_id=request_id,
            request_hash=request_hash(request),
            actor_id=actor_id,
        )
        return ops_pb2.ReplayDeadLettersResponse(
            outcomes=[
                ops_pb2.ReplayDeadLettersResponse.Outcome(
                    dead_letter_id=one.dead_letter_id, succeeded=not one.problem, error=one.problem
                )
                for one in outcomes
            ]
        )
