"""OrchestratorService: the commands, each an RPC of its own, and the queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceServicer
from services.orchestrator.commands.command import Command, RequestT, ResponseT
from services.orchestrator.commands.registry import Registry
from services.orchestrator.queries import Queries
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.syncs import Syncs
from services.orchestrator.wire.responses import payment_plan


class OrchestratorServicer(OrchestratorServiceServicer):
    """OrchestratorService. RPCs that are only announced answer UNIMPLEMENTED."""

    def __init__(self, commands: Registry, runner: RequestRunner, queries: Queries, syncs: Syncs) -> None:
        """Serve each of `commands` as the RPC of its name: it is validated, then run."""
        self._queries = queries
        self._syncs = syncs
        for command in commands:
            setattr(self, command.name, _rpc(command, runner))

    async def GetPaymentPlan(
        self,
        request: pb.GetPaymentPlanRequest,
        context: aio.ServicerContext[pb.GetPaymentPlanRequest, Awaitable[pb.GetPaymentPlanResponse]],
    ) -> pb.GetPaymentPlanResponse:
        """Return what was asked for and how far it has come."""
        return pb.GetPaymentPlanResponse(plan=payment_plan(await self._queries.plan(request.payment_id)))

    async def GetPaymentSession(
        self,
        request: pb.GetPaymentSessionRequest,
        context: aio.ServicerContext[pb.GetPaymentSessionRequest, Awaitable[pb.GetPaymentSessionResponse]],
    ) -> pb.GetPaymentSessionResponse:
        """Return what the payer needs to go on."""
        return pb.GetPaymentSessionResponse(session=await self._queries.session(request.payment_id))

    async def PreviewRefund(
        self,
        request: pb.PreviewRefundRequest,
        context: aio.ServicerContext[pb.PreviewRefundRequest, Awaitable[pb.PreviewRefundResponse]],
    ) -> pb.PreviewRefundResponse:
        """Say what a refund would do."""
        return await self._queries.refund_preview(request)

    async def SyncPayment(
        self,
        request: pb.SyncPaymentRequest,
        context: aio.ServicerContext[pb.SyncPaymentRequest, Awaitable[pb.SyncPaymentResponse]],
    ) -> pb.SyncPaymentResponse:
        """Read a payment again at Stripe."""
        return await self._syncs.sync(await self._queries.plan_of_own(request.payment_id))


def _rpc(
    command: Command[RequestT, ResponseT], runner: RequestRunner
) -> Callable[[RequestT, aio.ServicerContext[RequestT, Awaitable[ResponseT]]], Awaitable[ResponseT]]:
    async def call(request: RequestT, _context: aio.ServicerContext[RequestT, Awaitable[ResponseT]]) -> ResponseT:
        command.validate(request)
        return await runner.run(command, request)

    return call
