"""What is read of a payment: its plan, what its payer needs to go on, and what a refund would do."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1 import status_pb2
from services.errors import FieldInvalid, FieldMissing
from services.orchestrator import refund_policies
from services.orchestrator.domain import refund, timings
from services.orchestrator.domain.errors import PaymentNotFound, PaymentState, RefundExceedsRefundable
from services.orchestrator.domain.plan import Plan, Stage
from services.orchestrator.held_payments import HeldPayments
from services.orchestrator.peers import Peers
from services.orchestrator.peers.gateway import CountingAttempt
from services.orchestrator.sessions import PaymentSessions
from services.orchestrator.storage.booking_claims import BookingClaimStore
from services.orchestrator.storage.store import Store
from services.orchestrator.wire.refunds import bearer, check_lines, of_lines
from services.orchestrator.wire.requests import check_named, is_same_cart, own_payer, started_as
from services.orchestrator.wire.responses import for_payer, refund_preview
from services.orchestrator.wire.terms import describe
from services.runtime.rpc import call_context
from services.shared import fields
from services.wire import amounts

FOUND_MAX: Final = 100
"""Payments that are found by one thing that callers know them by."""


class Queries:
    """Reads what callers ask for."""

    def __init__(
        self,
        store: Store,
        payments: HeldPayments,
        sessions: PaymentSessions,
        peers: Peers,
        claims: BookingClaimStore,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._now = now
        self._sessions = sessions
        self._store = store
        self._claims = claims
        self._payments = payments
        self._peers = peers

    async def plan(self, payment_id: str) -> Plan:
        """Return the plan of a payment, which must be the payer's who asks."""
        fields.payment_id(payment_id)
        plan = await self._store.read(call_context.current_tenant(), payment_id, payer_id=own_payer())
        if plan is None:
            raise PaymentNotFound
        return plan

    async def plan_of_own(self, payment_id: str) -> Plan:
        """Return the plan of a payment, and wait anew for its payer, if it is the payer who asks."""
        plan = await self.plan(payment_id)
        if own_payer() is not None:
            await self._payments.payer_seen(plan)
        return plan

    async def session(self, request: pb.GetPaymentSessionRequest) -> pb.PaymentSession:
        """Return what the payer needs to go on, and Stripe's ids of what it is about."""
        session, counting = await self._session(await self._named(request))
        session.intent_id, session.charge_id = counting.intent_id, counting.charge_id
        return session

    async def _named(self, request: pb.GetPaymentSessionRequest) -> str:
        """Return the payment that is asked for, by its own id or by one of Stripe's; whose it is, is looked at then."""
        if not request.stripe_id:
            return request.payment_id
        if request.payment_id:
            raise FieldInvalid(field="stripe_id", detail="must not be set beside `payment_id`: it stands instead of it")
        check_named(request.stripe_id, field="stripe_id")
        payment_id = await self._peers.gateway.payment_of(request.stripe_id)
        if payment_id is None:
            raise PaymentNotFound
        return payment_id

    async def _session(self, payment_id: str) -> tuple[pb.PaymentSession, CountingAttempt]:
        plan = await self.plan_of_own(payment_id)
        session = pb.PaymentSession(payment=await self._peers.status.payment(plan.payment_id))
        describe(session, plan)
        if plan.quote_id:
            quote = await self._peers.pricing.quote(plan.quote_id)
            session.quote.CopyFrom(quote if own_payer() is None else for_payer(quote))
        if plan.stage is Stage.COLLECTING and timings.is_proven(plan):
            return session, await self._sessions.fill(session)
        return session, await self._peers.gateway.counting_attempt(plan.payment_id)

    async def open_payment(self, request: pb.StartPaymentRequest, payment_id: str) -> pb.PaymentSession | None:
        """Return a payment that a start would make once more: the same payer pays the same lines. None for another."""
        claimant = await self._claims.claimant(call_context.current_tenant(), payment_id)
        if claimant is None or claimant.has_ended or claimant.payer_id != request.payer.payer_id:
            return None
        if not is_same_cart(request, claimant.quote_request):
            return None
        session, _ = await self._session(payment_id)
        return session

    async def find(self, request: pb.FindPaymentsRequest) -> list[status_pb2.Payment]:
        """Return the payments that callers know by something else than their ids, the newest first."""
        by = request.WhichOneof("by")
        if by is None:
            raise FieldMissing(field="by")
        named: str = getattr(request, by)
        check_named(named, field=by)
        if by in ("booking_id", "client_reference"):
            return await self._peers.status.found(_filter(by, named), at_most=FOUND_MAX)
        payment_id = await self._peers.gateway.payment_of(named) if by == "stripe_id" else started_as(named)
        if payment_id is None:
            return []
        return [await self._peers.status.payment(payment_id)] if await self._peers.status.is_open(payment_id) else []

    async def refund_preview(self, request: pb.PreviewRefundRequest) -> pb.PreviewRefundResponse:
        """Say what a refund would do."""
        plan = await self.plan(request.payment_id)
        payment = await self._peers.status.payment(plan.payment_id)
        currency = plan.currency_code or ""
        now = amounts(payment.snapshot)
        if now.captured_minor == 0:
            raise PaymentState(state=plan.latest_snapshot.state)
        if request.HasField("amount"):
            fields.money(request.amount, field="amount", least_minor=1)
            if request.amount.currency_code != currency:
                raise FieldInvalid(field="amount.currency_code", detail=f"must be {currency}, as the payment is")
        check_lines(request)
        asked = of_lines(request, plan.split)
        lines = await self._peers.gateway.line_standings(plan.payment_id)
        left_minor = min(now.refundable_minor, refund.refundable_minor(lines, asked.line_ids))
        if asked.line_ids == tuple(lines):  # what was taken beyond the total is of no line, and goes back last
            left_minor = now.refundable_minor
        amount_minor = request.amount.amount_minor or asked.amount_minor or left_minor
        if amount_minor > left_minor:
            raise RefundExceedsRefundable(field="amount", refundable_minor=left_minor)
        of_each = {one.line_id: one.amount_minor for one in asked.amounts}
        for place, (line_id, minor) in enumerate(of_each.items()):
            if minor > lines[line_id].refundable_minor:
                left_minor = lines[line_id].refundable_minor
                raise RefundExceedsRefundable(field=f"line_amounts[{place}]", refundable_minor=left_minor)
        of_each = of_each or refund.allocated(amount_minor, plan.split, lines, asked.line_ids)
        taken = refund.taken(of_each, plan.split, lines, bearer(request))
        said = refund_policies.allowed_of(plan, {one: lines[one] for one in asked.line_ids}, self._now())
        return refund_preview(amount_minor, now.refundable_minor, taken, said, currency)


def _filter(by: str, named: str) -> status_pb2.PaymentFilter:
    if by == "booking_id":
        return status_pb2.PaymentFilter(booking_id=named)
    return status_pb2.PaymentFilter(client_reference=named)
