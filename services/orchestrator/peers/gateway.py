"""The gateway: intents and refunds at Stripe, and what was observed of them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import grpc
from grpc import aio

from batzen.gateway.v1 import checkout_pb2, contacts_pb2, intents_pb2, payer_pb2, refunds_pb2, split_pb2
from batzen.gateway.v1.checkout_pb2_grpc import CheckoutServiceStub
from batzen.gateway.v1.contacts_pb2_grpc import ContactServiceStub
from batzen.gateway.v1.intents_pb2_grpc import IntentServiceStub
from batzen.gateway.v1.refunds_pb2_grpc import RefundServiceStub
from services.errors import DependencyUnavailable, PeerUnavailable, ServiceError
from services.orchestrator.domain import attempts, stripe_metadata
from services.orchestrator.domain.captures import Capture
from services.orchestrator.domain.checkout_lines import CheckoutLine
from services.orchestrator.domain.errors import AmountNotChargeable
from services.orchestrator.domain.payment import Observation, derived_id
from services.orchestrator.domain.plan import NextStep, Plan
from services.orchestrator.domain.refund import LineStanding
from services.orchestrator.peers.refusals import answered
from services.orchestrator.wire import splits
from services.orchestrator.wire.payments import observation
from services.shared.refusals import Refusal
from services.shared.split import LineAmount
from services.shared.states import AttemptKind
from services.wire import fill_optional_instant, money

PEER: Final = "gateway"
LIMITS_KEPT_S: Final = 600.0
"""How long the limits of a currency are not asked for again. The gateway has the last word on each charge anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountingAttempt:
    """Stripe's ids of the attempt that counts; empty as far as there are none yet."""

    intent_id: str = ""
    charge_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayAnswer:
    """What the gateway answered about a payment."""

    observation: Observation
    client_secret: str = ""
    checkout_url: str = ""
    """The hosted page, while it is open."""
    redirect_url: str | None = None
    """Where the payer has to go; empty when the browser's own library handles it, None when nothing is to be done."""
    declined_fingerprint: str = ""
    """Of a confirm that was declined: the card's, as Stripe has it; empty where it is not known."""
    counting: CountingAttempt = CountingAttempt()
    """Where the gateway was asked for all attempts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What is left to give back of an attempt that does not count."""

    attempt: int
    refundable_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundAnswer:
    """A refund that the gateway made, and the payment after it."""

    refund_id: str
    amount_minor: int
    observation: Observation


class Gateway:
    """What is asked of the gateway."""

    def __init__(
        self,
        *,
        intents: IntentServiceStub,
        checkout: CheckoutServiceStub,
        refunds: RefundServiceStub,
        contacts: ContactServiceStub,
    ) -> None:
        self._intents = intents
        self._contacts = contacts
        self._checkout = checkout
        self._refunds = refunds
        self._limits: dict[str, tuple[float, intents_pb2.GetLimitsResponse]] = {}
        """By currency, of which the gateway knows some 140, and the loop's time at which they were asked for."""

    async def not_chargeable(self, total_minor: int, currency_code: str) -> ServiceError | None:
        """Return why Stripe cannot charge a total; None if it can, or if the gateway cannot be asked right now."""
        try:
            limits = await self._limits_of(currency_code)
        except Refusal as refusal:  # Stripe does not charge in this currency at all
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
            known = self._limits[currency_code] = (now_s, await answered(call, PEER))
        return known[1]

    async def known_step_minor(self, currency_code: str) -> int:
        """Return what amounts have to be a multiple of. Raises `DependencyUnavailable`."""
        return (await self._limits_of(currency_code)).step_minor

    async def step_minor(self, currency_code: str) -> int:
        """Return what amounts have to be a multiple of; 1 if the gateway cannot be asked right now."""
        try:
            return await self.known_step_minor(currency_code)
        except DependencyUnavailable:
            return 1

    async def create_intent(self, plan: Plan, payer: payer_pb2.Payer | None) -> GatewayAnswer:
        """Create the intent of the plan's next attempt. `payer` is known only while the starting call runs."""
        request = _next_attempt(plan, payer)
        answer = await answered(self._intents.CreateIntent(request), PEER)
        return GatewayAnswer(observation=observation(answer.observation), client_secret=answer.client_secret)

    async def put_contact(self, payer: payer_pb2.Payer) -> None:
        """Have kept how a payer is reached whose attempt is there already."""
        await answered(self._contacts.PutContact(contacts_pb2.PutContactRequest(payer=payer)), PEER)

    async def create_session(
        self,
        plan: Plan,
        payer: payer_pb2.Payer | None,
        *,
        lines: Sequence[CheckoutLine],
        metadata: Mapping[str, str],
        expire_time: datetime | None,
    ) -> GatewayAnswer:
        """Create the hosted page of the plan's next attempt; `metadata` is the session's own."""
        request = checkout_pb2.CreateCheckoutSessionRequest(
            intent=_next_attempt(plan, payer),
            success_url=plan.return_url,
            cancel_url=plan.terms.cancel_url or plan.return_url,
            lines=[
                checkout_pb2.CheckoutLine(
                    name=line.name,
                    amount=money(line.amount_minor, plan.currency_code or ""),
                    description=line.description,
                )
                for line in lines
            ],
            metadata=metadata,
        )
        request.intent.payer.locale = request.intent.payer.locale or plan.terms.locale
        fill_optional_instant(request, "expire_time", expire_time)
        answer = await answered(self._checkout.CreateCheckoutSession(request), PEER)
        return GatewayAnswer(observation=observation(answer.observation), checkout_url=answer.session.url)

    async def confirm_intent(
        self,
        plan: Plan,
        *,
        request_id: str,
        payment_method_id: str,
        confirmation_token_id: str,
        return_url: str,
        send_before_time: datetime | None,
        keep_method: bool = False,
        consent_actor_id: str = "",
        off_session: bool = False,
        use_stripe_sdk: bool = False,
    ) -> GatewayAnswer:
        """Confirm the current attempt's intent with a method; Stripe is not asked after `send_before_time`."""
        keeps = keep_method or plan.attempt_kind is AttemptKind.SETUP_INTENT
        request = intents_pb2.ConfirmIntentRequest(
            request_id=request_id,
            payment_id=plan.payment_id,
            attempt=plan.attempt,
            return_url=return_url,
            keep_method=keeps,
            consent_actor_id=consent_actor_id if keeps else "",
            off_session=off_session,
            use_stripe_sdk=use_stripe_sdk,
        )
        if payment_method_id:
            request.payment_method_id = payment_method_id
        else:
            request.confirmation_token_id = confirmation_token_id
        if send_before_time is not None:
            request.send_before_time.FromDatetime(send_before_time)
        answer = await answered(self._intents.ConfirmIntent(request), PEER)
        return GatewayAnswer(
            observation=observation(answer.observation),
            redirect_url=_redirect_url(answer),
            declined_fingerprint=answer.declined_fingerprint,
        )

    async def cancel_intent(
        self, plan: Plan, *, request_id: str, reason: str, unless_kept: bool = False
    ) -> GatewayAnswer:
        """Cancel the current attempt's intent; `reason` names a CancelIntentRequest.Reason.

        With `unless_kept` it is refused where a method was kept to be charged later.
        """
        request = intents_pb2.CancelIntentRequest(
            request_id=request_id,
            payment_id=plan.payment_id,
            attempt=plan.attempt,
            reason=f"REASON_{reason}",
            unless_kept=unless_kept,
        )
        answer = await answered(self._intents.CancelIntent(request), PEER)
        return GatewayAnswer(observation=observation(answer.observation))

    async def capture_intent(self, plan: Plan, capture: Capture) -> GatewayAnswer:
        """Capture what is held, as it was decided."""
        currency = plan.currency_code or ""
        request = intents_pb2.CaptureIntentRequest(
            request_id=capture.request_id,
            payment_id=plan.payment_id,
            amount=money(capture.amount_minor, currency),
            application_fee=money(capture.fee_minor, currency),
            final_capture=capture.is_final,
        )
        answer = await answered(self._intents.CaptureIntent(request), PEER)
        return GatewayAnswer(observation=observation(answer.observation))

    async def sync_intent(self, payment_id: str) -> GatewayAnswer:
        """Have the gateway read the payment again at Stripe."""
        answer = await answered(self._intents.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id)), PEER)
        return GatewayAnswer(observation=observation(answer.observation), redirect_url=_redirect_url(answer))

    async def intent(self, payment_id: str) -> GatewayAnswer:
        """Return what the gateway knows, without a reading at Stripe."""
        answer = await answered(self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)), PEER)
        return GatewayAnswer(observation=observation(answer.observation))

    async def surplus(self, payment_id: str) -> tuple[Observation, list[Left]]:
        """Return what the gateway knows, and what attempts that do not count took and is not given back yet."""
        answer = await answered(self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)), PEER)
        left = [
            Left(attempt=one.attempt, refundable_minor=one.refundable_minor)
            for one in answer.intents
            if one.attempt != answer.observation.attempt and one.refundable_minor > 0
        ]
        return observation(answer.observation), left

    async def refundable(self, payment_id: str) -> tuple[Observation, int]:
        """Return what the gateway knows, and what of the attempt that counts can be given back."""
        answer = await answered(self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)), PEER)
        return observation(answer.observation), answer.observation.refundable_minor

    async def line_standings(self, payment_id: str) -> dict[str, LineStanding]:
        """Return what became of each line of the attempt that counts, by the line's id."""
        answer = await answered(self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)), PEER)
        return {
            line.line_id: LineStanding(
                captured_minor=line.captured_minor,
                standing_minor=line.standing_minor,
                refundable_minor=line.refundable_minor,
            )
            for one in answer.intents
            if one.attempt == answer.observation.attempt
            for line in one.lines
        }

    async def payment_of(self, stripe_id: str) -> str | None:
        """Return the payment that something of Stripe's belongs to; None if it belongs to none."""
        call = self._intents.GetIntent(intents_pb2.GetIntentRequest(stripe_id=stripe_id))
        try:
            return (await call).observation.payment_id
        except aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT):  # none of Stripe's at all
                return None
            raise PeerUnavailable(dependency=PEER) from error

    async def counting_attempt(self, payment_id: str) -> CountingAttempt:
        """Return Stripe's ids of the attempt that counts, as far as the gateway can be asked and knows them."""
        try:
            return _counting(await self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)))
        except aio.AioRpcError:
            return CountingAttempt()

    async def stripe_ids(self, payment_id: str, attempt: int) -> attempts.StripeIds:
        """Return Stripe's ids of an attempt, as far as the gateway knows it."""
        call = self._intents.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id))
        try:
            answer = await call
        except aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return attempts.StripeIds()
            raise PeerUnavailable(dependency=PEER) from error
        for one in answer.intents:
            if one.attempt == attempt:
                intent_id = "" if one.is_setup else one.intent_id
                return attempts.StripeIds(session_id=one.session_id, intent_id=intent_id)
        return attempts.StripeIds()

    async def secrets(self, payment_id: str) -> GatewayAnswer:
        """Fetch what only the payer may have: client secret and next action."""
        request = intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True)
        answer = await answered(self._intents.GetIntent(request), PEER)
        return GatewayAnswer(
            observation=observation(answer.observation),
            client_secret=answer.client_secret,
            checkout_url=answer.checkout_url,
            redirect_url=_redirect_url(answer),
            counting=_counting(answer),
        )

    async def create_refund(
        self,
        plan: Plan,
        *,
        request_id: str,
        amount_minor: int,
        expected_refundable_minor: int,
        reason: str,
        reverse_transfer: bool,
        refund_application_fee: bool,
        actor_id: str,
        attempt: int = 0,
        line_ids: Sequence[str] = (),
        line_amounts: Sequence[LineAmount] = (),
    ) -> RefundAnswer:
        """Give money back; `reason` names a CreateRefundRequest's, by its whole name.

        What falls to each line is allocated where it is reserved, unless `line_amounts` says it; of `line_ids`, if any.
        """
        currency = plan.currency_code or ""
        request = refunds_pb2.CreateRefundRequest(
            request_id=request_id,
            payment_id=plan.payment_id,
            amount=money(amount_minor, currency),
            expected_refundable=money(expected_refundable_minor, currency),
            reason=reason,
            reverse_transfer=reverse_transfer,
            refund_application_fee=refund_application_fee,
            actor_id=actor_id,
            attempt=attempt,
            line_ids=line_ids,
            line_amounts=[
                split_pb2.LineAmount(line_id=one.line_id, amount_minor=one.amount_minor) for one in line_amounts
            ],
        )
        answer = await answered(self._refunds.CreateRefund(request), PEER)
        return RefundAnswer(
            refund_id=answer.refund.refund_id,
            amount_minor=answer.refund.amount.amount_minor,
            observation=observation(answer.observation),
        )


def _next_attempt(plan: Plan, payer: payer_pb2.Payer | None) -> intents_pb2.CreateIntentRequest:
    """Return what the plan's next attempt collects, under an id that is derived from its number.

    It is asked for anew, under another id, once a booking has come, which makes it say something else, and with each
    charge of a plan, since what Stripe refused before may be mended; and of another timing, so that an answer is one to
    what was asked. The gateway makes one attempt of a number,
    whatever ids it is asked for by.
    """
    attempt, wanted = plan.attempt + 1, attempts.next_attempt(plan)
    fact = f"step:intent:{attempt}:{plan.course.charge_tries}:{','.join(plan.booking_ids)}"
    if plan.terms.timing_time is not None:
        fact = f"{fact}:{plan.terms.timing}"
    request = intents_pb2.CreateIntentRequest(
        request_id=str(derived_id(plan.payment_id, fact)),
        payment_id=plan.payment_id,
        attempt=attempt,
        payer=payer or payer_pb2.Payer(payer_id=plan.payer_id),
        amount=money(plan.total_minor or 0, plan.currency_code or ""),
        seller_id=plan.destination,
        application_fee=money(plan.application_fee_minor(plan.total_minor or 0), plan.currency_code or ""),
        seller_parts=splits.seller_parts(plan.split),
        settlement_terms=splits.settlement_terms(plan),
        description=plan.session_name,
        capture_manually=wanted.capture_manually,
        setup_only=wanted.setup_only,
        keep_method=plan.terms.keep_method and not plan.course.kept_method_id,
        metadata=stripe_metadata.of_intent(plan),
    )
    if plan.next_step is not NextStep.CHARGE and plan.next_time is not None:
        request.send_before_time.FromDatetime(plan.next_time)
    return request


def _counting(answer: intents_pb2.GetIntentResponse) -> CountingAttempt:
    for one in answer.intents:
        if one.attempt == answer.observation.attempt:
            return CountingAttempt(intent_id=one.intent_id, charge_id=one.charge_id)
    return CountingAttempt()


def _redirect_url(
    answer: intents_pb2.ConfirmIntentResponse | intents_pb2.SyncIntentResponse | intents_pb2.GetIntentResponse,
) -> str | None:
    return answer.next_action.redirect_url if answer.HasField("next_action") else None
