"""The RPC of diagnoses, for operators."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.orchestrator.diagnosis.building import Diagnoses
from services.orchestrator.domain.errors import PageTokenInvalid, PaymentNotFound
from services.orchestrator.wire.diagnosis import diagnosis, finding, place_of, read_place
from services.runtime.rpc import call_context
from services.shared import fields
from services.shared.paging import position_in, token_for
from services.wire import fill_optional_instant

Context: TypeAlias = aio.ServicerContext[pb.DiagnosePaymentRequest, Awaitable[pb.DiagnosePaymentResponse]]

ListContext: TypeAlias = aio.ServicerContext[pb.ListDisagreementsRequest, Awaitable[pb.ListDisagreementsResponse]]

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200


class DiagnosisRpcs(OrchestratorOpsServiceServicer):
    """Says what is known of a payment, and where it disagrees."""

    def __init__(self, diagnoses: Diagnoses) -> None:
        self._examiner = diagnoses.examiner
        self._findings = diagnoses.findings

    async def DiagnosePayment(self, request: pb.DiagnosePaymentRequest, context: Context) -> pb.DiagnosePaymentResponse:
        """Read every record of a payment, and compare them."""
        payment_id = fields.payment_id(request.payment_id)
        found = await self._examiner.diagnose(
            call_context.current_tenant(), payment_id, with_stripe=request.with_stripe
        )
        if found is None:
            raise PaymentNotFound
        return pb.DiagnosePaymentResponse(diagnosis=diagnosis(found))

    async def ListDisagreements(
        self, request: pb.ListDisagreementsRequest, context: ListContext
    ) -> pb.ListDisagreementsResponse:
        """Return what the rounds through recent payments found."""
        tenant_id = call_context.current_tenant()
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, after = f"disagreements {tenant_id}", ("", "", "")
        if request.page_token:
            after = position_in(request.page_token, walk=walk, parse=read_place, invalid=PageTokenInvalid)
        found = await self._findings.page(tenant_id, after=after, limit=size + 1)
        page = found[:size]
        answer = pb.ListDisagreementsResponse(
            disagreements=map(finding, page),
            next_page_token=token_for(place_of(page[-1]), walk=walk) if len(found) > size else "",
        )
        fill_optional_instant(answer, "finish_time", await self._findings.finish_time(tenant_id))
        return answer
