"""Takes the gateway's deliveries: stores the newest observation of a payment, keeps what a notice says as a fact, and
answers. The sweep, and who takes facts, do the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final

from grpc import aio

from batzen.gateway.v1 import observation_pb2
from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceServicer
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator.domain.errors import PaymentNotFound
from services.orchestrator.facts.store import FactStore
from services.orchestrator.storage.store import Store
from services.orchestrator.wire.notices import fact_of
from services.runtime.rpc import call_context

Context = aio.ServicerContext[observation_pb2.DeliverEventRequest, Awaitable[observation_pb2.DeliverEventResponse]]

INTENT_STATES: Final = frozenset(observation_pb2.IntentState.values()) - {observation_pb2.INTENT_STATE_UNSPECIFIED}


class SinkServicer(GatewayEventSinkServiceServicer):
    """GatewayEventSinkService."""

    def __init__(self, store: Store, facts: FactStore) -> None:
        self._store = store
        self._facts = facts

    async def DeliverEvent(
        self,
        request: observation_pb2.DeliverEventRequest,
        context: aio.ServicerContext[
            observation_pb2.DeliverEventRequest, Awaitable[observation_pb2.DeliverEventResponse]
        ],
    ) -> observation_pb2.DeliverEventResponse:
        """Keep an observation, which makes the payment due."""
        observation = request.observation
        if not observation.payment_id:
            raise FieldMissing(field="observation.payment_id")
        if observation.mirror_version < 1:
            raise FieldMissing(field="observation.mirror_version")
        if observation.intent_state not in INTENT_STATES:
            # Kept, it would stop everything else on the payment; refused, the gateway keeps it for an operator.
            raise FieldInvalid(field="observation.intent_state", detail="must be a value that this version knows")
        call_context.about(observation.payment_id)
        found = await self._store.observe(
            call_context.current_tenant(),
            observation.payment_id,
            mirror_version=observation.mirror_version,
            observation=observation.SerializeToString(),
        )
        if not found:
            raise PaymentNotFound
        return observation_pb2.DeliverEventResponse()

    async def DeliverNotice(
        self,
        request: observation_pb2.DeliverNoticeRequest,
        context: aio.ServicerContext[
            observation_pb2.DeliverNoticeRequest, Awaitable[observation_pb2.DeliverNoticeResponse]
        ],
    ) -> observation_pb2.DeliverNoticeResponse:
        """Keep what a notice says, with all that follows from it; one that was kept changes nothing."""
        notice, tenant_id = request.notice, call_context.current_tenant()
        payer_id = ""
        if notice.payment_id:
            call_context.about(notice.payment_id)
            plan = await self._store.read(tenant_id, notice.payment_id, payer_id=None)
            payer_id = plan.payer_id if plan is not None else ""
        await self._facts.keep(tenant_id, [fact_of(notice, tenant_id=tenant_id, payer_id=payer_id)])
        return observation_pb2.DeliverNoticeResponse()
