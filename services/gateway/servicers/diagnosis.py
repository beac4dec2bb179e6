"""DiagnosisService: whether the gateway's records of payments agree, for the orchestrator."""

from __future__ import annotations

from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import diagnosis_pb2
from batzen.gateway.v1.diagnosis_pb2_grpc import DiagnosisServiceServicer
from services.gateway.diagnosis.examiner import Examiner
from services.gateway.servicers.tenants import served_tenant
from services.gateway.wire import diagnosis as wire
from services.shared import fields

Context = aio.ServicerContext[Any, Any]

BOOKED_DEFAULT: Final = 100
"""Payments of a page of those that money was booked of."""


class DiagnosisServicer(DiagnosisServiceServicer):
    """Compares, and changes nothing."""

    def __init__(self, *, examiner: Examiner, tenant_id: str) -> None:
        self._examiner = examiner
        self._tenant_id = tenant_id

    async def ExaminePayments(
        self, request: diagnosis_pb2.ExaminePaymentsRequest, context: Context
    ) -> diagnosis_pb2.ExaminePaymentsResponse:
        """Return what is known of payments, and where it disagrees."""
        tenant_id = served_tenant(self._tenant_id)
        found = await self._examiner.examine(tenant_id, wire.payment_ids(request), with_stripe=request.with_stripe)
        return diagnosis_pb2.ExaminePaymentsResponse(examinations=map(wire.examination, found))

    async def ListBookedPayments(
        self, request: diagnosis_pb2.ListBookedPaymentsRequest, context: Context
    ) -> diagnosis_pb2.ListBookedPaymentsResponse:
        """Return the payments of which money was booked."""
        tenant_id = served_tenant(self._tenant_id)
        since, until = wire.span(request)
        size = fields.page_size(request.page_size, default=BOOKED_DEFAULT, at_most=wire.PAYMENTS_MAX)
        found = await self._examiner.booked(
            tenant_id, since=since, until=until, after=request.after_payment_id, at_most=size
        )
        return diagnosis_pb2.ListBookedPaymentsResponse(payment_ids=found)
