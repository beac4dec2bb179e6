"""The other services as the command side sees them: domain values in, domain values out, refusals told from outages.

Protobuf on the calling side stops here, but for what is only passed on: a payment of status and a quote of pricing go
into answers as they came.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

import grpc
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status

from batzen.gateway.v1 import intents_pb2, observation_pb2, payer_pb2, refunds_pb2
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from batzen.pricing.v1 import pricing_pb2
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.status.v1 import status_pb2
from batzen.status.v1.status_pb2_grpc import StatusServiceStub
from batzen.type.v1 import money_pb2, payment_pb2
from services.errors import DependencyUnavailable, PeerUnavailable, ServiceError
from services.orchestrator.domain import (
    AmountNotChargeable,
    Amounts,
    Attention,
    Method,
    Observation,
    PaymentError,
    Snapshot,
    derived_id,
    values_of,
)
from services.orchestrator.store import Plan, Transition

DEFINITE: Final = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.UNIMPLEMENTED,
}
"""A call that ended so will end so again."""
MISROUTED: Final = frozenset({"TENANT_NOT_SERVED", "NOT_IMPLEMENTED", "REQUEST_MALFORMED", "INTENT_NOT_FOUND"})
"""Reasons of a peer that is the wrong one, of another release, or lost what it knew: a mistake of the deployment, or a
database that was put back. It says nothing of what was asked, nor of earlier tries. An intent is asked for only where
the gateway made one."""
PASSING: Final = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.CANCELLED,
}
"""What goes by itself. Anything else that is not definite is a mistake of a deployment, or of ours."""

REQUEST_EXPIRED: Final = "REQUEST_EXPIRED"
"""The gateway's refusal of what was too old to be sent to Stripe when it would have been; it never will be."""
LIMITS_KEPT_S: Final = 600.0
"""How long the limits of a currency are not asked for again. The gateway has the last word on each charge anyway."""

Answer = TypeVar("Answer")
_logger = logging.getLogger(__name__)


class Refused(ServiceError):
    """Refused by the service behind this one."""

    def __init__(
        self,
        *,
        status: str,
        reason: str,
        message: str,
        field: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        """Carry a peer's refusal on, word for word."""
        Exception.__init__(self, message)
        self.status = status  # type: ignore[misc]  # each refusal brings its own
        self.reason = reason  # type: ignore[misc]
        self.field = field
        self.metadata = metadata or {}


class RevisionMoved(DependencyUnavailable):
    """The payment is not at the revision we expected; the same call may be sent with the current one."""

    def __init__(self, current_revision: int) -> None:
        super().__init__(dependency="status")
        self.current_revision = current_revision


def refusal_to_json(error: ServiceError) -> dict[str, Any]:
    """Return a refusal as it is kept, to be raised again by `Refused(**kept)`."""
    return {
        "status": error.status,
        "reason": error.reason,
        "message": str(error),
        "field": error.field,
        "metadata": error.metadata,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAnswer:
    """What the gateway answered about a payment."""

    observation: Observation
    client_secret: str = ""
    redirect_url: str | None = None
    """Where the payer has to go; empty when the browser's own library handles it, None when nothing is to be done."""


class Peers:
    """Pricing, status and gateway. Every method raises `Refused` for good, `DependencyUnavailable` for now."""

    def __init__(
        self,
        *,
        pricing: PricingServiceStub,
        status: StatusServiceStub,
        intents: IntentServiceStub,
        refunds: RefundServiceStub,
    ) -> None:
        self._pricing = pricing
        self._status = status
        self._intents = intents
        self._refunds = refunds
        self._limits: dict[str, tuple[float, intents_pb2.GetLimitsResponse]] = {}
        """By currency, of which the gateway knows some 140, and the loop's time at which they were asked for."""

    async def create_quote(self, quote_request: bytes) -> pricing_pb2.Quote:
        """Price the lines; the same bytes give the same quote."""
        call = self._pricing.CreateQuote(pricing_pb2.CreateQuoteRequest.FromString(quote_request))
        try:
            return (await _answered(call, "pricing")).quote
        except Refused as refusal:
            if refusal.field is not None and refusal.field.startswith("locales"):
                refusal.field = f"display_{refusal.field}"  # as the caller knows it
            raise

    async def not_chargeable(self, total_minor: int, currency_code: str) -> ServiceError | None:
        """Return why Stripe cannot charge a total; None if it can, or if the gateway cannot be asked right now."""
        try:
            limits = await self._limits_of(currency_code)
        except Refused as refusal:  # Stripe does not charge in this currency at all
            refusal.field = "lines[0].unit_amount.currency_code"
            return refusal
        except DependencyUnavailable:
            return None
        least, most, step_minor = limits.minimum.amount_minor, limits.maximum.amount_minor, limits.step_minor
        if least <= total_minor <= most and total_minor % step_minor == 0:
            return None
        return AmountNotChargeable(
            field="lines",
            total_minor=total_minor,
            currency_code=currency_code,
            minimum_minor=least,
            maximum_minor=most,
            step_minor=step_minor,
        )

    async def _limits_of(self, currency_code: str) -> intents_pb2.GetLimitsResponse:
        now_s = asyncio.get_running_loop().time()
        known = self._limits.get(currency_code)
        if known is None or known[0] < now_s - LIMITS_KEPT_S:
            call = self._intents.GetLimits(intents_pb2.GetLimitsRequest(currency_code=currency_code))
            known = self._limits[currency_code] = (now_s, await _answered(call, "gateway"))
        return known[1]

    async def quote(self, quote_id: str) -> pricing_pb2.Quote:
        """Return a quote."""
        return (
            await _answered(self._pricing.GetQuote(pricing_pb2.GetQuoteRequest(quote_id=quote_id)), "pricing")
        ).quote

    async def redeem_quote(self, *, payment_id: str, quote_id: str) -> bool:
        """Say that a quote was paid; return whether that takes a coupon over its limit. A repeat returns the same."""
        request = pricing_pb2.RedeemQuoteRequest(
            request_id=str(derived_id(payment_id, "step:redeem:1")), quote_id=quote_id
        )
        return (await _answered(self._pricing.RedeemQuote(request), "pricing")).over_limit

    async def release_quote(self, *, payment_id: str, quote_id: str) -> None:
        """Say that a quote will not be paid."""
        request = pricing_pb2.ReleaseQuoteRequest(
            request_id=str(derived_id(payment_id, "step:release:1")), quote_id=quote_id
        )
        await _answered(self._pricing.ReleaseQuote(request), "pricing")

    async def open_payment(self, plan: Plan) -> status_pb2.Payment:
        """Open the payment in status; a repeat returns it as it stands."""
        request = status_pb2.OpenPaymentRequest(
            request_id=str(derived_id(plan.payment_id, "step:open:1")),
            payment_id=plan.payment_id,
            payer_id=plan.payer_id,
            seller_ids=plan.seller_ids,
            booking_ids=plan.booking_ids,
            client_reference=plan.client_reference,
            quote_id=plan.quote_id or "",
            total=money(plan.total_minor or 0, plan.currency_code or ""),
            labels=plan.labels,
        )
        return (await _answered(self._status.OpenPayment(request), "status")).payment

    async def record(self, plan: Plan, transition: Transition) -> status_pb2.RecordTransitionResponse:
        """Write the payment's next revision. Raises `RevisionMoved` when it is not the next."""
        request = status_pb2.RecordTransitionRequest(
            request_id=str(transition.request_id),
            payment_id=plan.payment_id,
            expected_revision=plan.revision,
            snapshot=snapshot_message(transition.snapshot),
        )
        return await _answered(self._status.RecordTransition(request), "status")

    async def is_open(self, payment_id: str) -> bool:
        """Whether status has this payment."""
        try:
            await self.payment(payment_id)
        except Refused as refusal:
            if refusal.status == "NOT_FOUND":
                return False
            raise
        return True

    async def payment(self, payment_id: str) -> status_pb2.Payment:
        """Return a payment as it stands now."""
        return (
            await _answered(self._status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id)), "status")
        ).payment

    async def create_intent(self, plan: Plan, payer: payer_pb2.Payer | None) -> GatewayAnswer:
        """Create the intent of the plan's next attempt. `payer` is known only while the starting call runs."""
        attempt = plan.attempt + 1
        request = intents_pb2.CreateIntentRequest(
            request_id=str(derived_id(plan.payment_id, f"step:intent:{attempt}")),
            payment_id=plan.payment_id,
            attempt=attempt,
            payer=payer or payer_pb2.Payer(payer_id=plan.payer_id),
            amount=money(plan.total_minor or 0, plan.currency_code or ""),
            seller_id=plan.seller_ids[0],
            application_fee=money(plan.platform_fee_minor or 0, plan.currency_code or ""),
            description=plan.session_name,
        )
        if plan.expire_time is not None:
            request.send_before_time.FromDatetime(plan.expire_time)
        answer = await _answered(self._intents.CreateIntent(request), "gateway")
        return GatewayAnswer(observation=observation(answer.observation), client_secret=answer.client_secret)

    async def confirm_intent(
        self,
        plan: Plan,
        *,
        request_id: str,
        payment_method_id: str,
        confirmation_token_id: str,
        return_url: str,
        send_before_time: datetime | None,
    ) -> GatewayAnswer:
        """Confirm the current attempt's intent with a method; Stripe is not asked after `send_before_time`."""
        request = intents_pb2.ConfirmIntentRequest(
            request_id=request_id, payment_id=plan.payment_id, attempt=plan.attempt, return_url=return_url
        )
        if payment_method_id:
            request.payment_method_id = payment_method_id
        else:
            request.confirmation_token_id = confirmation_token_id
        if send_before_time is not None:
            request.send_before_time.FromDatetime(send_before_time)
        answer = await _answered(self._intents.ConfirmIntent(request), "gateway")
        return GatewayAnswer(observation=observation(answer.observation), redirect_url=_redirect(answer))

    async def cancel_intent(self, plan: Plan, *, request_id: str, reason: str) -> GatewayAnswer:
        """Cancel the current attempt's intent; `reason` names a CancelIntentRequest.Reason."""
        request = intents_pb2.CancelIntentRequest(
            request_id=request_id,
            payment_id=plan.payment_id,
            attempt=plan.attempt,
            reason=f"REASON_{reason}",
        )
        answer = await _answered(self._intents.CancelIntent(request), "gateway")
        return GatewayAnswer(observation=observation(answer.observation))

    async def sync_intent(self, payment_id: str) -> GatewayAnswer:
        """Have the gateway read the payment again at Stripe."""
        answer = await _answered(
            self._intents.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id)), "gateway"
        )
        return GatewayAnswer(observation=observation(answer.observation), redirect_url=_redirect(answer))

    async def seen(self, payment_id: str) -> GatewayAnswer:
        """Return what the gateway knows, without a reading at Stripe."""
        answer = await _answered(
            self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)), "gateway"
        )
        return GatewayAnswer(observation=observation(answer.observation))

    async def secrets(self, payment_id: str) -> GatewayAnswer:
        """Fetch what only the payer may have: client secret and next action."""
        answer = await _answered(
            self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True)), "gateway"
        )
        return GatewayAnswer(
            observation=observation(answer.observation),
            client_secret=answer.client_secret,
            redirect_url=_redirect(answer),
        )

    async def create_refund(self, request: refunds_pb2.CreateRefundRequest) -> refunds_pb2.CreateRefundResponse:
        """Give money back."""
        return await _answered(self._refunds.CreateRefund(request), "gateway")


def money(amount_minor: int, currency_code: str) -> money_pb2.Money:
    """Return the message of an amount."""
    return money_pb2.Money(amount_minor=amount_minor, currency_code=currency_code)


def observation(message: observation_pb2.PaymentObservation) -> Observation:
    """Read what the gateway has seen."""
    return Observation(
        mirror_version=message.mirror_version,
        attempt=message.attempt,
        intent_state=observation_pb2.IntentState.Name(message.intent_state).removeprefix("INTENT_STATE_"),
        outcome_unknown=message.outcome_unknown,
        amounts=Amounts(**_fields(message.amounts, Amounts)),
        last_error=PaymentError(**_fields(message.last_error, PaymentError))
        if message.HasField("last_error")
        else None,
        method=Method(**_fields(message.method, Method)) if message.HasField("method") else None,
        attention=Attention(**_fields(message.attention, Attention)) if message.HasField("attention") else None,
        decline_count=message.decline_count,
    )


def snapshot_message(snapshot: Snapshot) -> payment_pb2.PaymentSnapshot:
    """Return the message of a snapshot."""
    message = payment_pb2.PaymentSnapshot(
        collection=f"PAYMENT_STATE_{snapshot.collection}",
        amounts=payment_pb2.PaymentSnapshot.Amounts(**values_of(snapshot.amounts)),
        cause=f"CAUSE_{snapshot.cause}",
        reason=snapshot.reason,
        attempt=snapshot.attempt,
        decline_count=snapshot.decline_count,
    )
    if snapshot.last_error is not None:
        message.last_error.CopyFrom(payment_pb2.PaymentError(**values_of(snapshot.last_error)))
    if snapshot.attention is not None:
        message.attention.CopyFrom(payment_pb2.PaymentSnapshot.Attention(**values_of(snapshot.attention)))
    if snapshot.method is not None:
        message.method.CopyFrom(payment_pb2.PaymentSnapshot.Method(**values_of(snapshot.method)))
    return message


def snapshot(message: payment_pb2.PaymentSnapshot) -> Snapshot:
    """Read a snapshot, the other way round of `snapshot_message`."""
    return Snapshot(
        collection=payment_pb2.PaymentState.Name(message.collection).removeprefix("PAYMENT_STATE_"),
        amounts=Amounts(**_fields(message.amounts, Amounts)),
        last_error=PaymentError(**_fields(message.last_error, PaymentError))
        if message.HasField("last_error")
        else None,
        attentions=(Attention(**_fields(message.attention, Attention)),) if message.HasField("attention") else (),
        cause=payment_pb2.PaymentSnapshot.Cause.Name(message.cause).removeprefix("CAUSE_"),
        reason=message.reason,
        method=Method(**_fields(message.method, Method)) if message.HasField("method") else None,
        attempt=message.attempt,
        decline_count=message.decline_count,
    )


def _fields(message: Any, kind: type[Any]) -> dict[str, Any]:
    return {name: getattr(message, name) for name in kind.__slots__}


def _redirect(answer: Any) -> str | None:
    return answer.next_action.redirect_url if answer.HasField("next_action") else None


async def _answered(call: Awaitable[Answer], peer: str) -> Answer:
    try:
        return await call
    except aio.AioRpcError as error:
        refusal = _refusal(error)
        # Without a reason it is not from a service of ours.
        if error.code() in DEFINITE and refusal.reason and refusal.reason not in MISROUTED:
            raise refusal from error
        if refusal.reason == "REVISION_CONFLICT":
            raise RevisionMoved(int(refusal.metadata["current_revision"])) from error
        # What should never come from a peer is not concluded from either: the work is tried again, and seen in the log.
        level = logging.WARNING if error.code() in PASSING else logging.ERROR
        _logger.log(level, "%s answered %s: %s", peer, error.code().name, error.details())
        raise PeerUnavailable(dependency=peer) from error


def _refusal(error: aio.AioRpcError) -> Refused:
    reason, metadata, field = "", {}, None
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # an aio error has what a call has
    for detail in status.details if status is not None else ():
        info, request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(request) and request.field_violations:
            field = request.field_violations[0].field
    return Refused(
        status=error.code().name, reason=reason, message=error.details() or "", field=field, metadata=metadata
    )
