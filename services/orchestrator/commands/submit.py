"""SubmitPayment: confirms the intent with the payer's method."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import ClassVar, Final

from batzen.orchestrator.v1.orchestrator_pb2 import SubmitPaymentRequest, SubmitPaymentResponse
from batzen.type.v1 import payment_pb2
from services.errors import FieldInvalid, FieldMissing, ServiceError
from services.orchestrator.commands.command import Command, Withdrawn
from services.orchestrator.decline_limits import DeclineLimits
from services.orchestrator.domain import timings, transitions
from services.orchestrator.domain.errors import (
    BookingNotPayable,
    HostedCheckoutRequired,
    MethodRefused,
    PaymentNotFound,
    PaymentState,
    PriceChanged,
    SubmitExpired,
    SubmitRefused,
    TimingChanged,
    TooManyDeclines,
)
from services.orchestrator.domain.payment import SUBMITTABLE, WITHOUT_ATTEMPT, Observation, derived_id
from services.orchestrator.domain.plan import FirstStep, Plan, Request, RequestKey
from services.orchestrator.domain.policies import SUBMIT_AGE_MAX
from services.orchestrator.peers import Peers
from services.orchestrator.peers.refusals import REQUEST_EXPIRED, STRIPE_REFUSED, is_of_the_method
from services.orchestrator.sessions import stands
from services.orchestrator.storage.store import Acceptance, Store
from services.orchestrator.transition_outbox import TransitionOutbox
from services.orchestrator.unit_of_work import UnitOfWork
from services.orchestrator.wire.terms import check_timing, timing
from services.runtime import crash_points
from services.shared import fields
from services.shared.refusals import Refusal
from services.shared.states import AttemptKind

CONFIRMABLE: Final = frozenset(AttemptKind) - {AttemptKind.CHECKOUT_SESSION}
"""A hosted page is confirmed by its payer alone."""


class SubmitPayment(Command[SubmitPaymentRequest, SubmitPaymentResponse]):
    """Submits the payer's method."""

    request_type = SubmitPaymentRequest
    response_type = SubmitPaymentResponse
    age_max: ClassVar[timedelta | None] = SUBMIT_AGE_MAX
    yields_to_urgent: ClassVar[bool] = True
    """A submit of which nothing was heard may have been followed by a cancel, which then is what its payer wants."""

    def __init__(
        self,
        store: Store,
        outbox: TransitionOutbox,
        peers: Peers,
        declines: DeclineLimits,
        *,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._peers = peers
        self._declines = declines
        self._now = now

    def validate(self, message: SubmitPaymentRequest) -> None:
        """Refuse what names no payment, or nothing to pay with."""
        fields.payment_id(message.payment_id)
        field = message.WhichOneof("method") or "payment_method_id"
        fields.identifier(message.payment_method_id or message.confirmation_token_id, field=field)
        if message.return_url:
            fields.url(message.return_url, field="return_url")
        if message.consent_actor_id:
            fields.identifier(message.consent_actor_id, field="consent_actor_id")
        if message.use_stripe_sdk and not message.confirmation_token_id:
            raise FieldInvalid(field="use_stripe_sdk", detail="must be unset without a token that the library made")
        if message.HasField("expected_total"):
            fields.money(message.expected_total, field="expected_total", least_minor=0)
        check_timing(message.expected_timing, field="expected_timing")

    def payment_id(self, message: SubmitPaymentRequest, key: RequestKey) -> str:
        """Return the payment that is named."""
        return message.payment_id

    async def accept(
        self, store: Store, request: Request, message: SubmitPaymentRequest, *, payer_id: str | None, now: datetime
    ) -> Acceptance:
        """Write a submit down; of a payer who tries out cards, or does not say which timing they chose, it is not.

        Raises as `DeclineLimits.check_form` does, and `FieldMissing`.

        A repeat is not refused: it is to get its answer. Where something was declined between the look and the
        statement, no step is taken: who then holds the payment looks again.
        """
        first_step = self.first_step(request, message)
        if payer_id is not None:
            first_step = await self._looked_at(store, request, message, first_step, payer_id=payer_id)
        return await store.accept(
            request, payer_id=payer_id, point=f"{self.point}.accept", now=now, first_step=first_step
        )

    async def _looked_at(
        self,
        store: Store,
        request: Request,
        message: SubmitPaymentRequest,
        first_step: FirstStep | None,
        *,
        payer_id: str,
    ) -> FirstStep | None:
        if await store.request(request.key) is not None:
            return None  # a repeat; or it was withdrawn since, and is looked at by whoever holds the payment
        plan = await store.read(request.key.tenant_id, request.payment_id, payer_id=payer_id)
        if plan is None:
            return None
        if timings.open_to(plan) and not message.expected_timing:
            raise FieldMissing(field="expected_timing")
        await self._declines.check_form(plan)
        return first_step and replace(first_step, decline_count=plan.latest_snapshot.decline_count)

    def first_step(self, request: Request, message: SubmitPaymentRequest) -> FirstStep | None:
        """Return that a method was submitted; None where the platform is asked first whether it may be."""
        return None if self._peers.bookings.is_asked else self._submitted(request, message)

    def _submitted(self, request: Request, message: SubmitPaymentRequest) -> FirstStep:
        fact = f"step:submit:{request.derived_id}"
        expected = message.expected_total if message.HasField("expected_total") else None
        return FirstStep(
            fact=fact,
            request_id=derived_id(request.payment_id, fact),
            collections=SUBMITTABLE,
            without=WITHOUT_ATTEMPT,
            kinds=CONFIRMABLE,
            total_minor=None if expected is None else expected.amount_minor,
            currency_code=None if expected is None else expected.currency_code,
            timing=timing(message.expected_timing) if message.expected_timing else None,
            changes=transitions.submitted_changes(),
            course_changes={"submitted_by": request.derived_id},
        )

    async def perform(self, work: UnitOfWork, request: Request, message: SubmitPaymentRequest) -> SubmitPaymentResponse:
        """Confirm the intent; the payer's money moves here, at most once for a request."""
        plan = work.plan
        declines_before = plan.latest_snapshot.decline_count
        if not request.calling:
            _refuse_unless_confirmable(plan)
            if request.send_before_time is not None and request.send_before_time <= self._now():
                raise SubmitExpired
            _refuse_of_another_price(plan, request, message)
            _refuse_of_another_timing(plan, request, message)
            await self._withdraw_if_tried_out(plan, request)
            await self._withdraw_unless_payable(plan)
            plan.course = replace(plan.course, submitted_by=request.derived_id)
            work.enqueue(transitions.submitted(plan.latest_snapshot), self._submitted(request, message).fact)
            await work.save("submit.begin", request=request)
        confirming = self._peers.gateway.confirm_intent(
            plan,
            request_id=request.derived_id,
            payment_method_id=message.payment_method_id,
            confirmation_token_id=message.confirmation_token_id,
            return_url=message.return_url or plan.return_url,
            send_before_time=request.send_before_time,
            keep_method=message.keep_method,
            consent_actor_id=message.consent_actor_id,
            use_stripe_sdk=message.use_stripe_sdk,
        )
        try:
            async with self._outbox.flushing(work):  # watchers see it while the bank decides
                answer = await crash_points.call("submit.gateway", confirming)
        except Refusal as refusal:
            error = await self._refused(work, request, message, refusal)
            await work.save("submit.refused")
            await self._outbox.try_flush_outbox(work)
            raise error from refusal
        work.settle(answer.observation, self._settled(request))
        await self._outbox.try_flush_outbox(work)
        if work.plan.latest_snapshot.decline_count > declines_before:
            await self._declines.note(work.plan, fingerprint=answer.declined_fingerprint)
        response = SubmitPaymentResponse(payment=await self._outbox.payment(work))
        if answer.redirect_url is not None:
            if plan.course.submitted_by != request.derived_id:  # carried on after another, whose bank it leads to
                raise PaymentState(state=plan.latest_snapshot.state)
            response.next_action.redirect_url = answer.redirect_url
        return response

    async def _withdraw_if_tried_out(self, plan: Plan, request: Request) -> None:
        """Look again, now that no other submit of the payment runs: many were let in that came at once.

        Whoever carries the request on has no call to see who asked. A payer submits for themselves, so their requests
        are those of the payment's payer.
        """
        if request.key.caller != plan.payer_id:
            return
        try:
            await self._declines.check_form(plan)
        except (HostedCheckoutRequired, TooManyDeclines) as refusal:
            raise Withdrawn(refusal) from refusal

    async def _withdraw_unless_payable(self, plan: Plan) -> None:
        """Ask the platform, which may let the same submit go ahead later: nothing of the payment says when."""
        try:
            await self._peers.bookings.check_payable(plan)
        except BookingNotPayable as refusal:
            raise Withdrawn(refusal) from refusal

    async def _refused(
        self, work: UnitOfWork, request: Request, message: SubmitPaymentRequest, refusal: Refusal
    ) -> ServiceError:
        """Take a submit back that never reached a bank, and return what its caller hears.

        Where something else was heard of the payment since, that is what holds: the payment is looked into.
        """
        latest = work.plan.latest_snapshot
        if refusal.reason == REQUEST_EXPIRED:
            # A gateway whose database lost its last commits may have sent it all the same.
            work.apply(await self._sync(work))
            latest = work.plan.latest_snapshot
            if latest.is_unheard:
                work.enqueue(transitions.submit_expired(latest), f"step:submit_expired:{request.derived_id}")
            is_free = work.plan.latest_snapshot.collection in SUBMITTABLE
            return SubmitExpired() if is_free else PaymentState(state=latest.state)
        if is_of_the_method(refusal) and (latest.is_unheard or latest.collection in SUBMITTABLE):
            code = refusal.metadata.get("code", refusal.reason.lower())
            if latest.is_unheard:  # or that was recorded already, by a process that died over the answer
                work.enqueue(transitions.method_refused(latest, code), f"step:submit_refused:{request.derived_id}")
            return MethodRefused(code=code, field=refusal.field or message.WhichOneof("method"))
        work.settle(await self._sync(work), self._settled(request))
        if refusal.reason == STRIPE_REFUSED:
            return SubmitRefused(**refusal.metadata)
        if refusal.status == "INVALID_ARGUMENT" and refusal.field == "return_url":
            return FieldInvalid(field="return_url", detail=str(refusal))
        return PaymentState(state=work.plan.latest_snapshot.state)

    async def _sync(self, work: UnitOfWork) -> Observation:
        sync = self._peers.gateway.sync_intent(work.plan.payment_id)
        return (await crash_points.call("submit.sync", sync)).observation

    def _settled(self, request: Request) -> str:
        return f"step:submit_settled:{request.derived_id}"

    def redact(self, answer: SubmitPaymentResponse) -> None:
        """Take out what only the payer may have."""
        answer.ClearField("next_action")

    async def refresh(self, request: Request, message: SubmitPaymentRequest, answer: SubmitPaymentResponse) -> None:
        """Say anew where the payer has to go.

        Raises `PaymentState` where something else was submitted since: the bank that is asked now would confirm that.
        """
        if answer.payment.state != payment_pb2.PAYMENT_STATE_REQUIRES_ACTION:
            return
        secrets = await self._peers.gateway.secrets(request.payment_id)
        plan = await self._store.read(request.key.tenant_id, request.payment_id, payer_id=None)
        if plan is None:
            raise PaymentNotFound
        if plan.course.submitted_by != request.derived_id or not stands(answer.payment, plan):
            raise PaymentState(state=plan.latest_snapshot.state)
        if secrets.redirect_url is not None:
            answer.next_action.redirect_url = secrets.redirect_url


def _refuse_unless_confirmable(plan: Plan) -> None:
    latest = plan.latest_snapshot
    if latest.collection not in SUBMITTABLE or latest.needs_attempt or not timings.is_proven(plan):
        raise PaymentState(state=latest.state)
    if plan.attempt_kind not in CONFIRMABLE:
        raise PaymentState(state=latest.state, collection=plan.collection)


def _refuse_of_another_price(plan: Plan, request: Request, message: SubmitPaymentRequest) -> None:
    """Refuse what its payer agreed to at another price: the one they were shown, or the one from before it waited.

    The payment is held, and is priced anew only while it is: what is compared here is what is charged.
    """
    if message.HasField("expected_total"):
        expected = message.expected_total
        total_minor, currency_code = plan.total_minor or 0, plan.currency_code or ""
        if (expected.amount_minor, expected.currency_code) != (total_minor, currency_code):
            raise PriceChanged(total_minor=total_minor, currency_code=currency_code)
        return
    _refuse_from_before(plan, request, plan.course.priced_time)


def _refuse_of_another_timing(plan: Plan, request: Request, message: SubmitPaymentRequest) -> None:
    """Refuse what its payer agreed to for another time, as of another price: a choice is made while it is held, too."""
    if not message.expected_timing:
        _refuse_from_before(plan, request, plan.terms.timing_time)
    elif timing(message.expected_timing) is not plan.terms.timing:
        raise TimingChanged(timing=plan.terms.timing)


def _refuse_from_before(plan: Plan, request: Request, changed_time: datetime | None) -> None:
    """Refuse what came before something of the payment changed that it does not name."""
    if changed_time is None or request.send_before_time is None:
        return
    if request.send_before_time - SUBMIT_AGE_MAX <= changed_time:
        raise PaymentState(state=plan.latest_snapshot.state)
