"""OrchestratorService: the commands, each an RPC of its own, and the queries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from grpc import aio

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceServicer
from services.orchestrator.commands.command import Command, RequestT, ResponseT
from services.orchestrator.commands.registry import Registry
from services.orchestrator.decline_limits import asked_from
from services.orchestrator.domain.errors import BookingHasPayment
from services.orchestrator.queries import Queries
from services.orchestrator.receipts import Receipts
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.syncs import Syncs
from services.orchestrator.wire.requests import own_payer
from services.orchestrator.wire.responses import payment_plan


class OrchestratorServicer(OrchestratorServiceServicer):
    """OrchestratorService. RPCs that are only announced answer UNIMPLEMENTED."""

    def __init__(
        self, commands: Registry, runner: RequestRunner, queries: Queries, syncs: Syncs, receipts: Receipts
    ) -> None:
        """Serve each of `commands` as the RPC of its name: it is validated, then run."""
        self._queries = queries
        self._syncs = syncs
        self._receipts = receipts
        self._rpcs = {
            command.name: rpc_of(command, runner)
            for command in commands
            if hasattr(OrchestratorServiceServicer, command.name)
        }
        ours = {"StartPayment": self._start_payment, "SubmitPayment": self._submit_payment}
        for name, rpc in self._rpcs.items():
            setattr(self, name, ours.get(name, rpc))

    async def _start_payment(
        self,
        request: pb.StartPaymentRequest,
        context: aio.ServicerContext[pb.StartPaymentRequest, Awaitable[pb.StartPaymentResponse]],
    ) -> pb.StartPaymentResponse:
        """Start a payment, or return the open one of the same booking where the caller takes that as well."""
        try:
            started: pb.StartPaymentResponse = await self._rpcs["StartPayment"](request, context)
        except BookingHasPayment as refusal:
            if request.on_open_payment != pb.ON_OPEN_PAYMENT_RETURN_EXISTING:
                raise
            session = await self._queries.open_payment(request, str(refusal.metadata["payment_id"]))
            if session is None:
                raise
            return pb.StartPaymentResponse(session=session)
        return started

    async def _submit_payment(
        self,
        request: pb.SubmitPaymentRequest,
        context: aio.ServicerContext[pb.SubmitPaymentRequest, Awaitable[pb.SubmitPaymentResponse]],
    ) -> pb.SubmitPaymentResponse:
        """Submit a method; where its payer is, is counted where it is declined."""
        with asked_from(context.invocation_metadata()):
            submitted: pb.SubmitPaymentResponse = await self._rpcs["SubmitPayment"](request, context)
        return submitted

    async def FindPayments(
        self,
        request: pb.FindPaymentsRequest,
        context: aio.ServicerContext[pb.FindPaymentsRequest, Awaitable[pb.FindPaymentsResponse]],
    ) -> pb.FindPaymentsResponse:
        """Return payments by what callers know them by."""
        return pb.FindPaymentsResponse(payments=await self._queries.find(request))

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
        return pb.GetPaymentSessionResponse(session=await self._queries.session(request))

    async def GetReceipt(
        self,
        request: pb.GetReceiptRequest,
        context: aio.ServicerContext[pb.GetReceiptRequest, Awaitable[pb.GetReceiptResponse]],
    ) -> pb.GetReceiptResponse:
        """Return what a receipt is written of."""
        return pb.GetReceiptResponse(receipt=await self._receipts.now(await self._queries.plan(request.payment_id)))

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


def rpc_of(
    command: Command[RequestT, ResponseT], runner: RequestRunner
) -> Callable[[RequestT, aio.ServicerContext[RequestT, Awaitable[ResponseT]]], Awaitable[ResponseT]]:
    """Return the RPC by which callers ask for a command: it is validated, then run."""

    async def call(request: RequestT, _context: aio.ServicerContext[RequestT, Awaitable[ResponseT]]) -> ResponseT:
        command.validate(request)
        answer = await runner.run(command, request)
        return answer if own_payer() is None else command.for_payer(answer)

    return call
