"""That of OrchestratorOpsService about figures of payments."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeAlias

from grpc import aio

from batzen.orchestrator.v1 import ops_pb2 as pb
from batzen.orchestrator.v1.ops_pb2_grpc import OrchestratorOpsServiceServicer
from services.orchestrator.figures.store import PaymentFigureStore
from services.orchestrator.wire.figures import figures_to_proto, wanted_figures
from services.runtime.rpc import call_context
from services.shared import fields
from services.wire import fill_optional_instant

PAGE_SIZE_DEFAULT: Final = 400
"""More than the days of a year."""
PAGE_SIZE_MAX: Final = 1_000
"""About 500 KB."""

FiguresContext: TypeAlias = aio.ServicerContext[pb.GetPaymentFiguresRequest, Awaitable[pb.GetPaymentFiguresResponse]]


class FigureRpcs(OrchestratorOpsServiceServicer):
    """Serves it."""

    def __init__(self, figures: PaymentFigureStore) -> None:
        self._figures = figures

    async def GetPaymentFigures(
        self, request: pb.GetPaymentFiguresRequest, context: FiguresContext
    ) -> pb.GetPaymentFiguresResponse:
        """Return what payments came to."""
        tenant_id, wanted = call_context.current_tenant(), wanted_figures(request)
        size = fields.page_size(request.page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        heard_time = await self._figures.heard_time(tenant_id)  # before them: what is heard meanwhile is more than that
        page, token = await self._figures.page(tenant_id, wanted, size=size, page_token=request.page_token)
        response = pb.GetPaymentFiguresResponse(
            rows=[figures_to_proto(row, wanted) for row in page], next_page_token=token
        )
        fill_optional_instant(response, "heard_time", heard_time)
        return response
