"""DisputeService: reads a request, makes the call, writes what is true now."""

from __future__ import annotations

import uuid
from typing import Any, TypeVar

from grpc import aio

from batzen.gateway.v1 import disputes_pb2
from batzen.gateway.v1.disputes_pb2_grpc import DisputeServiceServicer
from services.gateway.call_log.engine import Calls
from services.gateway.call_log.operation import Operation
from services.gateway.disputes import operations
from services.gateway.disputes.operations import DisputeParams, SubmitEvidence, find
from services.gateway.disputes.store import PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX, DisputeStore
from services.gateway.errors import StripeUnavailable
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.servicers.tenants import served_tenant
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import evidence_in
from services.gateway.wire import disputes as wire
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]
P = TypeVar("P", bound=DisputeParams)


class DisputeServicer(DisputeServiceServicer):
    """Shows disputes and answers them."""

    def __init__(
        self, *, payments: Store, disputes: DisputeStore, calls: Calls, provider: Provider, tenant_id: str
    ) -> None:
        self._payments = payments
        self._disputes = disputes
        self._calls = calls
        self._provider = provider
        self._tenant_id = tenant_id

    async def ListDisputes(
        self, request: disputes_pb2.ListDisputesRequest, context: Context
    ) -> disputes_pb2.ListDisputesResponse:
        """Return disputes, the newest first."""
        found, token = await self._disputes.page(
            call_context.current_tenant(),
            wire.list_filter(request),
            size=fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX),
            page_token=request.page_token,
        )
        return disputes_pb2.ListDisputesResponse(
            disputes=[wire.to_proto(one.dispute, payment_id=one.payment_id, attempt=one.attempt) for one in found],
            next_page_token=token,
        )

    async def GetDispute(
        self, request: disputes_pb2.GetDisputeRequest, context: Context
    ) -> disputes_pb2.GetDisputeResponse:
        """Return one dispute, with the evidence that Stripe has where that is asked for."""
        tenant_id = served_tenant(self._tenant_id) if request.with_evidence else call_context.current_tenant()
        dispute_id = wire.dispute_id(request.dispute_id)
        payment = await self._payments.require(tenant_id, await self._disputes.payment_of(tenant_id, dispute_id))
        attempt, dispute = find(payment, dispute_id)
        evidence = evidence_in(await self._provider.disputes.retrieve(dispute_id)) if request.with_evidence else None
        message = wire.to_proto(dispute, payment_id=payment.payment_id, attempt=attempt, evidence=evidence)
        return disputes_pb2.GetDisputeResponse(dispute=message)

    async def SubmitDisputeEvidence(
        self, request: disputes_pb2.SubmitDisputeEvidenceRequest, context: Context
    ) -> disputes_pb2.SubmitDisputeEvidenceResponse:
        """Draft evidence, or hand it in."""
        tenant_id, request_id = served_tenant(self._tenant_id), fields.request_id(request.request_id)
        params = wire.evidence_params(request)
        payment = await self._make(SubmitEvidence, params, tenant_id, request_id, request_hash(request))
        return disputes_pb2.SubmitDisputeEvidenceResponse(dispute=_of(payment, params.dispute_id))

    async def AcceptDispute(
        self, request: disputes_pb2.AcceptDisputeRequest, context: Context
    ) -> disputes_pb2.AcceptDisputeResponse:
        """Give a dispute up."""
        tenant_id, request_id = served_tenant(self._tenant_id), fields.request_id(request.request_id)
        params = wire.accept_params(request)
        payment = await self._make(operations.AcceptDispute, params, tenant_id, request_id, request_hash(request))
        return disputes_pb2.AcceptDisputeResponse(dispute=_of(payment, params.dispute_id))

    async def _make(
        self,
        kind: type[Operation[P, MirroredPayment]],
        params: P,
        tenant_id: str,
        request_id: uuid.UUID,
        request_hash: bytes,
    ) -> MirroredPayment:
        """Make a call on the payment of a dispute, and return that."""
        payment_id = await self._disputes.payment_of(tenant_id, params.dispute_id)
        result = await self._calls.make(
            kind,
            params=params,
            tenant_id=tenant_id,
            subject_id=payment_id,
            request_id=request_id,
            request_hash=request_hash,
        )
        if not result.answer:  # it goes on, and what it led to is seen by whoever asks again
            raise StripeUnavailable
        return result.subject


def _of(payment: MirroredPayment, dispute_id: str) -> disputes_pb2.Dispute:
    attempt, dispute = find(payment, dispute_id)
    return wire.to_proto(dispute, payment_id=payment.payment_id, attempt=attempt)
