"""RefundService: reads a request, makes the call, writes what is true now."""

from __future__ import annotations

from typing import Any

from grpc import aio

from batzen.gateway.v1 import refunds_pb2
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceServicer
from services.gateway.call_log.engine import Calls
from services.gateway.errors import RefundNotFound
from services.gateway.mirror.store import Store
from services.gateway.refunds.operations import CreateRefund
from services.gateway.servicers.tenants import served_tenant
from services.gateway.wire import requests
from services.gateway.wire.responses import refund_to_proto, to_proto
from services.runtime.database.idempotency import request_hash
from services.runtime.rpc import call_context
from services.shared import fields

Context = aio.ServicerContext[Any, Any]


class RefundServicer(RefundServiceServicer):
    """Gives money back, and says what was."""

    def __init__(self, *, payments: Store, calls: Calls, tenant_id: str) -> None:
        self._payments = payments
        self._calls = calls
        self._tenant_id = tenant_id

    async def CreateRefund(
        self, request: refunds_pb2.CreateRefundRequest, context: Context
    ) -> refunds_pb2.CreateRefundResponse:
        """Give money back."""
        tenant_id = served_tenant(self._tenant_id)
        request_id = fields.request_id(request.request_id)
        payment_id = fields.identifier(request.payment_id, field="payment_id")
        payment = await self._payments.require_created(tenant_id, payment_id)
        params = requests.refund_params(request, tenant_id=tenant_id, currency_code=payment.currency_code)
        result = await self._calls.make(
            CreateRefund,
            params=params,
            tenant_id=tenant_id,
            subject_id=payment_id,
            request_id=request_id,
            request_hash=request_hash(request),
        )
        return refunds_pb2.CreateRefundResponse(
            refund=refund_to_proto(result.subject.refunds[params.refund_id], payment=result.subject),
            observation=to_proto(result.subject.observation),
        )

    async def GetRefund(self, request: refunds_pb2.GetRefundRequest, context: Context) -> refunds_pb2.GetRefundResponse:
        """Return one refund."""
        tenant_id = call_context.current_tenant()
        refund_id = fields.identifier(request.refund_id, field="refund_id")
        payment_id = await self._payments.payment_of_refund(tenant_id, refund_id)
        if payment_id is None:
            raise RefundNotFound
        payment = await self._payments.require_created(tenant_id, payment_id)
        return refunds_pb2.GetRefundResponse(refund=refund_to_proto(payment.refunds[refund_id], payment=payment))

    async def ListRefunds(
        self, request: refunds_pb2.ListRefundsRequest, context: Context
    ) -> refunds_pb2.ListRefundsResponse:
        """Return the refunds of a payment."""
        payment_id = fields.identifier(request.payment_id, field="payment_id")
        payment = await self._payments.require_created(call_context.current_tenant(), payment_id)
        return refunds_pb2.ListRefundsResponse(
            refunds=[refund_to_proto(one, payment=payment) for one in payment.refunds.values()]
        )
