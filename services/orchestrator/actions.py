"""What each request of a caller does to a payment that is held, up to the answer; asked again it comes to the same.

What cannot be asked of others again is decided and saved before they are asked, and the request is marked as calling:
from then on it is only carried on. Everything that is asked has an id that is derived from the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Final

from google.protobuf.message import Message

from batzen.gateway.v1 import payer_pb2, refunds_pb2
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from services.errors import FieldInvalid, PeerUnavailable, ServiceError
from services.orchestrator import domain
from services.orchestrator.peers import REQUEST_EXPIRED, Peers, Refused, money, observation, snapshot_message
from services.orchestrator.steps import Driver, UnitOfWork
from services.orchestrator.store import Request
from services.runtime import crash_points

METHOD_FIELDS: Final = frozenset({"payment_method_id", "confirmation_token_id"})
METHOD_PARAMS: Final = frozenset({"payment_method", "confirmation_token", "payment_method_data", "source"})
METHOD_CODES: Final = (
    "payment_method_",
    "confirmation_token_",
    "card_",
    "expired_card",
    "incorrect_",
    "invalid_expiry",
)
"""By these fields of ours, and parameters and beginnings of codes of Stripe's, it is the method that is refused. Any
other refusal is no fault of the payer's, and another method would not help."""

_REFUND_REFUSALS: Final = {
    "REFUNDABLE_CHANGED": domain.RefundableChanged,
    "REFUND_EXCEEDS_REFUNDABLE": domain.RefundExceedsRefundable,
}


class Actions:
    """What the requests do. Raises what callers hear, and `DependencyUnavailable` for what is to be tried again."""

    def __init__(self, driver: Driver, peers: Peers, *, now: Callable[[], datetime]) -> None:
        self._driver = driver
        self._peers = peers
        self._now = now
        self._methods: dict[str, Callable[[UnitOfWork, Request, bytes], Awaitable[Message]]] = {
            "StartPayment": self._start,
            "SubmitPayment": self._submit,
            "CancelPayment": self._cancel,
            "RefundPayment": self._refund,
        }

    async def perform(self, work: UnitOfWork, request: Request, payer: bytes) -> Message:
        """Do what a request asks for, and return the answer. `payer` is known only while its caller's call runs."""
        return await self._methods[request.key.method](work, request, payer)

    async def _start(self, work: UnitOfWork, request: Request, payer: bytes) -> Message:
        plan = work.plan
        if plan.stage == "STARTING":
            await self._driver.start(work, payer_pb2.Payer.FromString(payer) if payer else None)
        await self._driver.end_if_due(work)  # a start that took too long ends here, before anybody could pay
        await self._driver.flush_outbox(work)
        if plan.stage != "COLLECTING":
            work.client_secret = ""
        elif not work.client_secret:
            work.client_secret = (await self._peers.secrets(plan.payment_id)).client_secret
        session = orchestrator_pb2.PaymentSession(
            payment=work.payment or await self._peers.payment(plan.payment_id),
            quote=work.quote or await self._peers.quote(plan.quote_id or ""),
            client_secret=work.client_secret,
        )
        return orchestrator_pb2.StartPaymentResponse(session=session)

    async def _submit(self, work: UnitOfWork, request: Request, payer: bytes) -> Message:
        plan = work.plan
        command = orchestrator_pb2.SubmitPaymentRequest.FromString(request.command)
        if not request.calling:
            if plan.latest_snapshot.collection not in domain.SUBMITTABLE:
                raise domain.PaymentState(state=plan.latest_snapshot.collection)
            if request.send_before_time is not None and request.send_before_time <= self._now():
                raise domain.SubmitExpired
            work.enqueue(domain.submitted(plan.latest_snapshot), f"step:submit:{_derived(request)}")
            await self._driver.save(work, "submit.begin", request=request)
        try:
            async with self._flushing(work):  # watchers see it while the bank decides
                seen = await crash_points.call(
                    "submit.gateway",
                    self._peers.confirm_intent(
                        plan,
                        request_id=_derived(request),
                        payment_method_id=command.payment_method_id,
                        confirmation_token_id=command.confirmation_token_id,
                        return_url=command.return_url or plan.return_url,
                        send_before_time=request.send_before_time,
                    ),
                )
        except Refused as refusal:
            raise await self._submit_refused(work, request, refusal) from refusal
        self._settle(work, seen.observation, request)
        await self._driver.save(work, "submit.outcome")
        await self._driver.try_flush_outbox(work)
        answer = orchestrator_pb2.SubmitPaymentResponse(payment=await self._payment(work))
        if seen.redirect_url is not None:
            answer.next_action.redirect_url = seen.redirect_url
        return answer

    async def _submit_refused(self, work: UnitOfWork, request: Request, refusal: Refused) -> ServiceError:
        """Take a submit back that never reached a bank, and return what its caller hears.

        Where something else was heard of the payment since, that is what holds: the payment is looked into.
        """
        latest = work.plan.latest_snapshot
        error: ServiceError
        if refusal.reason == REQUEST_EXPIRED:
            # A gateway whose database lost its last commits may have sent it all the same.
            work.apply(
                (await crash_points.call("submit.sync", self._peers.sync_intent(work.plan.payment_id))).observation
            )
            latest = work.plan.latest_snapshot
            if latest.is_unheard:
                work.enqueue(domain.submit_expired(latest), f"step:submit_expired:{_derived(request)}")
            is_free = work.plan.latest_snapshot.collection in domain.SUBMITTABLE
            error = domain.SubmitExpired() if is_free else domain.PaymentState(state=latest.collection)
        elif _is_of_the_method(refusal) and (latest.is_unheard or latest.collection in domain.SUBMITTABLE):
            code = refusal.metadata.get("code", refusal.reason.lower())
            if latest.is_unheard:  # or that was recorded already, by a process that died over the answer
                work.enqueue(domain.method_refused(latest, code), f"step:submit_refused:{_derived(request)}")
            command = orchestrator_pb2.SubmitPaymentRequest.FromString(request.command)
            error = domain.MethodRefused(code=code, field=refusal.field or command.WhichOneof("method"))
        else:
            seen = await crash_points.call("submit.sync", self._peers.sync_intent(work.plan.payment_id))
            self._settle(work, seen.observation, request)
            if refusal.reason == "STRIPE_REFUSED":
                error = domain.SubmitRefused(**refusal.metadata)
            elif refusal.status == "INVALID_ARGUMENT" and refusal.field == "return_url":
                error = FieldInvalid(field="return_url")
            else:
                error = domain.PaymentState(state=work.plan.latest_snapshot.collection)
        await self._driver.save(work, "submit.refused")
        await self._driver.try_flush_outbox(work)
        return error

    @asynccontextmanager
    async def _flushing(self, work: UnitOfWork) -> AsyncIterator[None]:
        """Flush the outbox beside what is done inside, and leave when both are done."""
        task = asyncio.create_task(self._driver.try_flush_outbox(work))
        try:
            yield
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            await asyncio.wait({task})
            failure = None if task.cancelled() else task.exception()
        if failure is not None:
            raise failure

    def _settle(self, work: UnitOfWork, seen: domain.Observation, request: Request) -> None:
        """Apply what a submit led to, also when it led to where the payment stood before."""
        work.apply(seen)
        if work.plan.latest_snapshot.is_unheard:
            snapshot = domain.observed(work.plan.latest_snapshot, seen, cancel_outcome=work.plan.cancel_outcome)
            work.enqueue(snapshot, f"step:submit_settled:{_derived(request)}")

    async def _cancel(self, work: UnitOfWork, request: Request, payer: bytes) -> Message:
        collection = work.plan.latest_snapshot.collection
        if collection != domain.CANCELED:
            if not request.calling and not work.plan.latest_snapshot.is_cancelable:
                raise domain.PaymentState(state=collection)
            await self._driver.cancel(work, cancel_outcome=domain.CANCELED, reason="REQUESTED", request=request)
            await self._driver.save(work, "cancel.outcome")
            await self._driver.try_flush_outbox(work)
            if work.plan.latest_snapshot.reason == domain.OUTCOME_UNKNOWN:
                raise PeerUnavailable(dependency="gateway")  # the request stays open until Stripe says it
            if work.plan.latest_snapshot.collection != domain.CANCELED:
                raise domain.PaymentState(state=work.plan.latest_snapshot.collection)
        return orchestrator_pb2.CancelPaymentResponse(payment=await self._payment(work))

    async def _refund(self, work: UnitOfWork, request: Request, payer: bytes) -> Message:
        plan = work.plan
        command = orchestrator_pb2.RefundPaymentRequest.FromString(request.command)
        if plan.latest_snapshot.amounts.captured_minor == 0:
            raise domain.PaymentState(state=plan.latest_snapshot.collection)
        for name in ("amount", "expected_refundable"):
            if command.HasField(name) and getattr(command, name).currency_code != plan.currency_code:
                raise FieldInvalid(field=f"{name}.currency_code", detail=f"The payment is in {plan.currency_code}.")
        asked = refunds_pb2.CreateRefundRequest(
            request_id=_derived(request),
            payment_id=plan.payment_id,
            amount=command.amount if command.HasField("amount") else command.expected_refundable,
            expected_refundable=command.expected_refundable,
            reason=orchestrator_pb2.RefundPaymentRequest.Reason.Name(command.reason),
            reverse_transfer=not command.keep_seller_part,
            refund_application_fee=not (command.keep_platform_fee or command.keep_seller_part),
            actor_id=command.actor_id,
        )
        try:
            given = await crash_points.call("refund.gateway", self._peers.create_refund(asked))
        except Refused as refusal:
            # What the gateway read before it refused is true here too, before anybody looks at the balance again.
            work.apply((await crash_points.call("refund.seen", self._peers.seen(plan.payment_id))).observation)
            await self._driver.save(work, "refund.refused")
            await self._driver.try_flush_outbox(work)
            known = _REFUND_REFUSALS.get(refusal.reason)
            if known is not None:
                raise known(**refusal.metadata) from refusal
            raise domain.RefundRefused(code=refusal.metadata.get("code", refusal.reason)) from refusal
        work.apply(observation(given.observation))
        await self._driver.save(work, "refund.outcome")
        await self._driver.try_flush_outbox(work)
        return orchestrator_pb2.RefundPaymentResponse(
            refund_id=given.refund.refund_id, amount=given.refund.amount, payment=await self._payment(work)
        )

    async def _payment(self, work: UnitOfWork) -> status_pb2.Payment:
        """Return the payment as status has it; while status is away, as one whose outcome is not recorded yet."""
        if not work.has_pending:
            return work.payment or await self._peers.payment(work.plan.payment_id)
        plan = work.plan
        snapshot = replace(
            plan.latest_snapshot, collection=domain.PROCESSING, reason="OUTCOME_NOT_RECORDED_YET", last_error=None
        )
        return status_pb2.Payment(
            payment_id=plan.payment_id,
            revision=plan.revision,
            state=payment_pb2.PAYMENT_STATE_PROCESSING,
            phase=status_pb2.PHASE_PROCESSING,
            snapshot=snapshot_message(snapshot),
            total=money(plan.total_minor or 0, plan.currency_code or ""),
            payer_id=plan.payer_id,
            seller_ids=plan.seller_ids,
            booking_ids=plan.booking_ids,
            client_reference=plan.client_reference,
            quote_id=plan.quote_id or "",
            labels=plan.labels,
        )


def _is_of_the_method(refusal: Refused) -> bool:
    """Whether another method may be taken where this one was refused."""
    if refusal.reason != "STRIPE_REFUSED":
        return refusal.status == "INVALID_ARGUMENT" and refusal.field in METHOD_FIELDS
    param = refusal.metadata.get("param", "").partition("[")[0]
    return param in METHOD_PARAMS or refusal.metadata.get("code", "").startswith(METHOD_CODES)


def _derived(request: Request) -> str:
    """Return the request id under which others are asked: derived from the caller's, unique as that one is."""
    key = request.key
    return str(domain.derived_id(request.payment_id, f"{key.method}:{key.caller}:{key.request_id}"))
