"""The gRPC face of the command side: checks the shape of a request, names it, hands it on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from grpc import aio

from batzen.gateway.v1 import payer_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceServicer
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator import domain
from services.orchestrator.domain import PaymentNotFound
from services.orchestrator.peers import Peers, money
from services.orchestrator.request_runner import RequestRunner
from services.orchestrator.steps import Driver
from services.orchestrator.store import Plan, Store
from services.orchestrator.syncs import Syncs
from services.orchestrator.wire.requests import (
    REASON_CHARACTERS_MAX,
    check_id,
    check_money,
    check_payment_id,
    check_text,
    check_url,
    derived_payment_id,
    new_payment,
    own_payer,
    request_from,
    timestamp,
)
from services.orchestrator.wire.responses import for_payer
from services.runtime.rpc import call_context

Context = aio.ServicerContext[Any, Any]

_QUOTE_STEPS: Final = {domain.REDEEMED: "redeem quote", domain.RELEASED: "release quote"}


class OrchestratorServicer(OrchestratorServiceServicer):
    """OrchestratorService. RPCs that are only announced answer UNIMPLEMENTED."""

    def __init__(
        self,
        store: Store,
        driver: Driver,
        runner: RequestRunner,
        syncs: Syncs,
        peers: Peers,
        *,
        quote_ttl: timedelta,
    ) -> None:
        self._store = store
        self._driver = driver
        self._runner = runner
        self._syncs = syncs
        self._peers = peers
        self._quote_ttl = quote_ttl

    async def StartPayment(
        self, request: orchestrator_pb2.StartPaymentRequest, context: Context
    ) -> orchestrator_pb2.StartPaymentResponse:
        """Start a payment."""
        asked = request_from(request, "", command=b"")
        payment_id = derived_payment_id(asked.key)
        payment = new_payment(request, payment_id, quote_ttl=self._quote_ttl)
        payer = payer_pb2.Payer(
            payer_id=request.payer.payer_id,
            email=request.payer.email,
            name=request.payer.name,
            locale=request.payer.locale,
        )
        answer = await self._runner.start(replace(asked, payment_id=payment_id), payment, payer)
        assert isinstance(answer, orchestrator_pb2.StartPaymentResponse)  # noqa: S101 the command's own answer
        return answer

    async def SubmitPayment(
        self, request: orchestrator_pb2.SubmitPaymentRequest, context: Context
    ) -> orchestrator_pb2.SubmitPaymentResponse:
        """Submit the payer's method."""
        check_payment_id(request.payment_id)
        method = request.WhichOneof("method")
        if method is None or not getattr(request, method):
            raise FieldMissing(field="payment_method_id")
        check_id(getattr(request, method), field=method)
        if request.return_url:
            check_url(request.return_url, field="return_url")
        answer = await self._runner.on_payment(
            request_from(request, request.payment_id, command=request.SerializeToString()), payer_id=own_payer()
        )
        assert isinstance(answer, orchestrator_pb2.SubmitPaymentResponse)  # noqa: S101 the command's own answer
        return answer

    async def CancelPayment(
        self, request: orchestrator_pb2.CancelPaymentRequest, context: Context
    ) -> orchestrator_pb2.CancelPaymentResponse:
        """Call a payment off."""
        check_payment_id(request.payment_id)
        check_text(request.reason, field="reason", characters_max=REASON_CHARACTERS_MAX)
        answer = await self._runner.on_payment(
            request_from(request, request.payment_id, command=request.SerializeToString()), payer_id=own_payer()
        )
        assert isinstance(answer, orchestrator_pb2.CancelPaymentResponse)  # noqa: S101 the command's own answer
        return answer

    async def RefundPayment(
        self, request: orchestrator_pb2.RefundPaymentRequest, context: Context
    ) -> orchestrator_pb2.RefundPaymentResponse:
        """Give money back."""
        check_payment_id(request.payment_id)
        if not request.HasField("expected_refundable"):
            raise FieldMissing(field="expected_refundable")
        check_money(request.expected_refundable, field="expected_refundable", least_minor=0)
        if request.HasField("amount"):
            check_money(request.amount, field="amount", least_minor=1)
        elif request.expected_refundable.amount_minor == 0:
            raise FieldInvalid(field="expected_refundable", detail="There is nothing to give back.")
        if request.reason not in orchestrator_pb2.RefundPaymentRequest.Reason.values():
            raise FieldInvalid(field="reason")
        check_id(request.actor_id, field="actor_id")
        answer = await self._runner.on_payment(
            request_from(request, request.payment_id, command=request.SerializeToString()), payer_id=None
        )
        assert isinstance(answer, orchestrator_pb2.RefundPaymentResponse)  # noqa: S101 the command's own answer
        return answer

    async def PreviewRefund(
        self, request: orchestrator_pb2.PreviewRefundRequest, context: Context
    ) -> orchestrator_pb2.PreviewRefundResponse:
        """Say what a refund would do."""
        plan = await self._plan(request.payment_id)
        payment = await self._peers.payment(plan.payment_id)
        currency = plan.currency_code or ""
        amounts = domain.Amounts(**{name: getattr(payment.snapshot.amounts, name) for name in domain.Amounts.__slots__})
        if amounts.captured_minor == 0:
            raise domain.PaymentState(state=plan.latest_snapshot.collection)
        refundable_minor = domain.refundable_minor(amounts)
        amount_minor = refundable_minor
        if request.HasField("amount"):
            check_money(request.amount, field="amount", least_minor=1)
            if request.amount.currency_code != currency:
                raise FieldInvalid(field="amount.currency_code", detail=f"The payment is in {currency}.")
            amount_minor = request.amount.amount_minor
        if amount_minor > refundable_minor:
            raise domain.RefundExceedsRefundable(refundable_minor=refundable_minor)
        fee_minor = (plan.platform_fee_minor or 0) * amount_minor // (plan.total_minor or 1)
        part = orchestrator_pb2.SellerPart(
            seller_id=plan.seller_ids[0], gross=money(amount_minor, currency), platform_fee=money(fee_minor, currency)
        )
        return orchestrator_pb2.PreviewRefundResponse(
            amount=money(amount_minor, currency), refundable=money(refundable_minor, currency), seller_parts=[part]
        )

    async def SyncPayment(
        self, request: orchestrator_pb2.SyncPaymentRequest, context: Context
    ) -> orchestrator_pb2.SyncPaymentResponse:
        """Read a payment again at Stripe."""
        plan = await self._plan(request.payment_id)
        if own_payer() is not None:
            await self._driver.hear_from_payer(plan)
        return await self._syncs.sync(plan)

    async def GetPaymentPlan(
        self, request: orchestrator_pb2.GetPaymentPlanRequest, context: Context
    ) -> orchestrator_pb2.GetPaymentPlanResponse:
        """Return what was asked for and how far it has come."""
        plan = await self._plan(request.payment_id)
        currency = plan.currency_code or ""
        message = orchestrator_pb2.PaymentPlan(
            payment_id=plan.payment_id,
            timing=orchestrator_pb2.TIMING_IMMEDIATE,
            collection=orchestrator_pb2.COLLECTION_ELEMENTS,
            quote_id=plan.quote_id or "",
            seller_parts=[
                orchestrator_pb2.SellerPart(
                    seller_id=plan.seller_ids[0],
                    gross=money(plan.total_minor or 0, currency),
                    platform_fee=money(plan.platform_fee_minor or 0, currency),
                )
            ],
            attempt=plan.attempt,
            mirror_version=plan.mirror_version,
            revision=plan.revision,
            pending_steps=[
                *(["start"] if plan.stage == "STARTING" else []),
                *(f"record {transition.fact}" for transition in plan.pending),
                *([_QUOTE_STEPS[plan.quote_unheard]] if plan.quote_unheard else []),
            ],
            create_time=timestamp(plan.create_time),
        )
        if plan.expire_time is not None:
            message.expire_time.CopyFrom(timestamp(plan.expire_time))
        return orchestrator_pb2.GetPaymentPlanResponse(plan=message)

    async def GetPaymentSession(
        self, request: orchestrator_pb2.GetPaymentSessionRequest, context: Context
    ) -> orchestrator_pb2.GetPaymentSessionResponse:
        """Return what the payer needs to go on."""
        plan = await self._plan(request.payment_id)
        session = orchestrator_pb2.PaymentSession(payment=await self._peers.payment(plan.payment_id))
        if plan.quote_id:
            quote = await self._peers.quote(plan.quote_id)
            session.quote.CopyFrom(quote if own_payer() is None else for_payer(quote))
        if own_payer() is not None:
            await self._driver.hear_from_payer(plan)
        if plan.stage == "COLLECTING":
            seen = await self._peers.secrets(plan.payment_id)
            session.client_secret = seen.client_secret
            if seen.redirect_url is not None:
                session.next_action.redirect_url = seen.redirect_url
        return orchestrator_pb2.GetPaymentSessionResponse(session=session)

    async def _plan(self, payment_id: str) -> Plan:
        check_payment_id(payment_id)
        plan = await self._store.read(call_context.current_tenant(), payment_id, payer_id=own_payer())
        if plan is None:
            raise PaymentNotFound
        return plan
