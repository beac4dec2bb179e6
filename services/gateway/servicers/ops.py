"""GatewayOpsService, for operators: reads a request, has it carried out, answers what came of it."""

from __future__ import annotations

import logging
from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import ops_pb2
from services.gateway.call_log.store import CallStore
from services.gateway.dead_letters.listing import DeadLetterList
from services.gateway.dead_letters.replays import Replays
from services.gateway.erasure.domain import What
from services.gateway.erasure.erasing import Erasing
from services.gateway.ledger.store import Ledger
from services.gateway.mirror.store import Store
from services.gateway.operations.actions import ActionList
from services.gateway.receivables.store import ReceivableStore
from services.gateway.receivables.write_off import WriteOffs
from services.gateway.reconciliation.runner import Reconciliations
from services.gateway.reconciliation.store import ReconciliationStore
from services.gateway.servicers.actions import ActionRpcs
from services.gateway.servicers.attempts import AttemptRpcs
from services.gateway.servicers.ledger import LedgerRpcs
from services.gateway.servicers.receivables import ReceivableRpcs
from services.gateway.servicers.reconciliation import ReconciliationRpcs
from services.gateway.webhooks.listing import EventList
from services.gateway.wire import dead_letters as wire
from services.gateway.wire.responses import timestamp
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

WHAT: Final = {
    What.PAYMENTS: ops_pb2.ErasePayerResponse.WHAT_PAYMENTS,
    What.CONSENTS: ops_pb2.ErasePayerResponse.WHAT_CONSENTS,
    What.ERASURE: ops_pb2.ErasePayerResponse.WHAT_ERASURE,
    What.AT_STRIPE: ops_pb2.ErasePayerResponse.WHAT_AT_STRIPE,
}
"""What is kept → its name in the contract."""

Context = aio.ServicerContext[Any, Any]

_logger = logging.getLogger(__name__)


class GatewayOpsServicer(ActionRpcs, AttemptRpcs, LedgerRpcs, ReceivableRpcs, ReconciliationRpcs):
    """GatewayOpsService."""

    def __init__(
        self,
        dead_letters: DeadLetterList,
        replays: Replays,
        ledger: Ledger,
        erasing: Erasing,
        *,
        actions: ActionList,
        payments: Store,
        calls: CallStore,
        events: EventList,
        receivables: ReceivableStore,
        write_offs: WriteOffs,
        reconciliations: Reconciliations,
        reconciliation_store: ReconciliationStore,
    ) -> None:
        ActionRpcs.__init__(self, actions)
        AttemptRpcs.__init__(self, payments, calls, events)
        LedgerRpcs.__init__(self, ledger)
        ReceivableRpcs.__init__(self, receivables, write_offs)
        ReconciliationRpcs.__init__(self, reconciliations, reconciliation_store)
        self._dead_letters = dead_letters
        self._replays = replays
        self._erasing = erasing

    async def ListDeadLetters(
        self, request: ops_pb2.ListDeadLettersRequest, context: Context
    ) -> ops_pb2.ListDeadLettersResponse:
        """Return what was given up."""
        page, token = await self._dead_letters.page(
            call_context.current_tenant(),
            chosen=wire.listing_filter(request),
            page_size=request.page_size,
            page_token=request.page_token,
            with_payload=request.with_payload,
        )
        if request.with_payload:
            shown = {"to": call_context.current_caller().subject, "ids": [one.letter.dead_letter_id for one in page]}
            _logger.info("payloads of dead letters are shown", extra={"fields": shown})
        return ops_pb2.ListDeadLettersResponse(
            dead_letters=[wire.dead_letter(one) for one in page], next_page_token=token
        )

    async def ReplayDeadLetters(
        self, request: ops_pb2.ReplayDeadLettersRequest, context: Context
    ) -> ops_pb2.ReplayDeadLettersResponse:
        """Try what was given up again."""
        request_id = fields.request_id(request.request_id)
        actor_id = fields.identifier(request.actor_id, field="actor_id")
        replay = await self._replays.replay(
            call_context.current_tenant(),
            wire.choice(request),
            request_id=request_id,
            request_hash=request_hash(request),
            actor_id=actor_id,
        )
        return wire.replay_response(replay)

    async def ErasePayer(self, request: ops_pb2.ErasePayerRequest, context: Context) -> ops_pb2.ErasePayerResponse:
        """Destroy the personal data of a payer."""
        erased = await self._erasing.erase(
            call_context.current_tenant(),
            fields.identifier(request.payer_id, field="payer_id"),
            request_id=fields.request_id(request.request_id),
            request_hash=request_hash(request),
            actor_id=fields.identifier(request.actor_id, field="actor_id"),
        )
        return ops_pb2.ErasePayerResponse(
            done=erased.is_over,
            kept=[
                ops_pb2.ErasePayerResponse.Kept(
                    what=WHAT[one.what],
                    why=one.why,
                    until_time=None if one.until is None else timestamp(one.until),
                )
                for one in erased.kept
            ],
        )
