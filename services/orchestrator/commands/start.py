"""StartPayment: prices, opens, and creates what the payer pays with."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import ClassVar

from batzen.gateway.v1 import payer_pb2
from batzen.orchestrator.v1.orchestrator_pb2 import StartPaymentRequest, StartPaymentResponse
from batzen.pricing.v1 import pricing_pb2
from services.orchestrator.commands.command import Command
from services.orchestrator.domain.errors import BookingHasPayment, StartsPaused
from services.orchestrator.domain.plan import NewPayment, Plan, Request, RequestKey, Stage
from services.orchestrator.due_steps.registry import DueSteps
from services.orchestrator.peers import Peers
from services.orchestrator.sessions import PaymentSessions, is_payers_turn, redact
from services.orchestrator.steps import Steps
from services.orchestrator.storage.store import Acceptance, Store
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.requests import check_start, derived_payment_id, new_payment
from services.orchestrator.wire.terms import untimely
from services.runtime import crash_points
from services.runtime.work.loops import detached


class StartPayment(Command[StartPaymentRequest, StartPaymentResponse]):
    """Starts a payment; a repeat answers with the payment that the first one started."""

    request_type = StartPaymentRequest
    response_type = StartPaymentResponse
    starts_payment: ClassVar[bool] = True

    def __init__(
        self,
        steps: Steps,
        due_steps: DueSteps,
        outbox: TransitionOutbox,
        sessions: PaymentSessions,
        peers: Peers,
        *,
        abandoned_after: timedelta,
    ) -> None:
        self._steps = steps
        self._due_steps = due_steps
        self._claims = steps.claims
        self._outbox = outbox
        self._sessions = sessions
        self._peers = peers
        self._abandoned_after = abandoned_after
        self._quoting: dict[str, asyncio.Task[pricing_pb2.Quote]] = {}
        """The quotes of payments whose rows were just written, until their start takes them."""
        self._paused: set[str] = set()
        """Tenants whose last new payment was refused, since they take none."""

    def validate(self, message: StartPaymentRequest) -> None:
        """Refuse what cannot be started, whatever the state."""
        check_start(message)

    def payment_id(self, message: StartPaymentRequest, key: RequestKey) -> str:
        """Return the id of the payment that it makes, the same for each repeat."""
        return derived_payment_id(key)

    def stored(self, message: StartPaymentRequest) -> bytes:
        """Nothing: the plan has all but the payer's personal data, which is stored nowhere."""
        return b""

    async def accept(
        self, store: Store, request: Request, message: StartPaymentRequest, *, payer_id: str | None, now: datetime
    ) -> Acceptance:
        """Write the request and the plan down, and have the lines priced beside that.

        Neither needs the other. A repeat gets the quote that the first got, since both ask for it under an id that is
        derived from the payment; where the row is refused, nobody looks at the answer. If the row is never written, by
        the first or by a repeat, the quote stands until its time is over, and what it holds is given back then. So
        that no coupon waits for that, a start with coupons is priced once its row is written; so is one of a tenant
        that took no new payments when it was last asked, whose row is probably not written.

        What it plans for a time that is past or too far away is refused before either.
        """
        payment = new_payment(message, request.payment_id, abandoned_after=self._abandoned_after)
        problem = untimely(payment.terms, now)
        # A repeat is answered as the first was, however late it comes.
        if problem is not None and not await store.is_known(request.key.tenant_id, request.payment_id):
            raise problem
        await self._claim(store, request, payment)
        if message.coupon_codes or request.key.tenant_id in self._paused:
            plan = await self._written(store, request, payment, now=now)
        else:
            quoting = detached(self._steps.quote(payment.quote_request), name="quoting")
            try:
                plan = await self._written(store, request, payment, now=now)
            except BaseException:
                quoting.cancel()
                raise
            if plan is None:
                quoting.cancel()
            else:
                self._quoting[payment.payment_id] = quoting
        return Acceptance(found=True, is_new=plan is not None, plan=plan)

    async def _claim(self, store: Store, request: Request, payment: NewPayment) -> None:
        """Claim the bookings before the payment is written; a repeat has its answer whoever has them by now."""
        if not payment.booking_ids:
            return
        try:
            await self._claims.claim(request.key.tenant_id, payment.payment_id, payment.booking_ids)
        except BookingHasPayment:
            if not await store.is_known(request.key.tenant_id, payment.payment_id):
                raise

    async def _written(self, store: Store, request: Request, payment: NewPayment, *, now: datetime) -> Plan | None:
        tenant_id = request.key.tenant_id
        try:
            plan = await store.start(request, payment, now=now)
        except StartsPaused:
            self._paused.add(tenant_id)
            raise
        if plan is not None:
            self._paused.discard(tenant_id)
        return plan

    async def perform(self, work: UnitOfWork, request: Request, message: StartPaymentRequest) -> StartPaymentResponse:
        """Start the payment, or go on from where a start before got to."""
        plan = work.plan
        quoting = self._quoting.pop(plan.payment_id, None)
        if plan.stage is Stage.STARTING:
            await self._steps.start(work, _payer(message), quoting=quoting)
        elif plan.stage is Stage.COLLECTING:
            await self._put_contact(message)
        await self._due_steps.take(work)  # a start that took too long ends here, before anybody could pay
        await self._outbox.flush_outbox(work)
        return StartPaymentResponse(session=await self._sessions.of(work))

    def redact(self, answer: StartPaymentResponse) -> None:
        """Take out what only the payer may have."""
        redact(answer.session)

    async def refresh(self, request: Request, message: StartPaymentRequest, answer: StartPaymentResponse) -> None:
        """Fetch it anew, where the payer may still need it."""
        if is_payers_turn(answer.session.payment):
            await self._put_contact(message)
        await self._sessions.refresh(answer.session)

    async def _put_contact(self, message: StartPaymentRequest) -> None:
        """Say again how the payer is reached: who went on with a start that was cut off did not know it.

        Nobody can pay before a start is answered, so it is known before there is anything to be told of.
        """
        payer = _payer(message)
        if payer is not None and (payer.email or payer.name or payer.locale):
            await crash_points.call("start.contact", self._peers.gateway.put_contact(payer))


def _payer(message: StartPaymentRequest) -> payer_pb2.Payer | None:
    """Return the payer's personal data; None where the request is carried on without its caller."""
    if not message.HasField("payer"):
        return None
    payer = message.payer
    return payer_pb2.Payer(payer_id=payer.payer_id, email=payer.email, name=payer.name, locale=payer.locale)
