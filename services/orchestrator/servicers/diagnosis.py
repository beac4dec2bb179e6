"""The RPC of diagnoses, for operators."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.orchestrator.diagnosis.examiner import Examiner
from services.orchestrator.domain.errors import PaymentNotFound
from services.orchestrator.wire.diagnosis import diagnosis
from services.runtime.rpc import call_context
from services.shared import fields

Context: TypeAlias = aio.ServicerContext[pb.DiagnosePaymentRequest, Awaitable[pb.DiagnosePaymentResponse]]


class DiagnosisRpcs(OrchestratorOpsServiceServicer):
    """Says what is known of a payment, and where it disagrees."""

    def __init__(self, examiner: Examiner) -> None:
        self._examiner = examiner

    async def DiagnosePayment(self, request: pb.DiagnosePaymentRequest, context: Context) -> pb.DiagnosePaymentResponse:
        """Read every record of a payment, and compare them."""
        payment_id = fields.payment_id(request.payment_id)
        found = await self._examiner.diagnose(
            call_context.current_tenant(), payment_id, with_stripe=request.with_stripe
        )
        if found is None:
            raise PaymentNotFound
        return pb.DiagnosePaymentResponse(diagnosis=diagnosis(found))
