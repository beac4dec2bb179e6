"""Ending an attempt, so that it can never take money: what it holds is released, its hosted page is expired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import CheckoutSessionNotFound, StripeRefused, WrongIntentState
from services.gateway.intents.attempts import apply_page, apply_settled, current_attempt, settle
from services.gateway.intents.domain import CANCELABLE, Intent, SessionState
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.client import Provider
from services.shared.codec import Json
from services.shared.states import IntentState

NOT_OF_SETUPS: Final = frozenset({"fraudulent"})
"""Reasons that Stripe takes for an intent that takes money, and not for a setup."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelIntentParams(Params):
    """Why an intent is cancelled, in Stripe's word; empty for no reason."""

    attempt: int
    reason: str = ""
    unless_kept: bool = False
    """A method that a setup has kept is not let go of."""
    is_expiry: bool = False
    """It is the hosted page that is to end, and what became of a payer who is done with it stays."""
    session_id: str = ""
    """Of the page that is expired, or read where it is not open."""
    intent_id: str = ""
    captured_minor: int = 0
    """What it had taken before."""
    body: Json | None = None


class CancelIntent(Operation[CancelIntentParams, MirroredPayment]):
    """Cancels the current attempt's intent. Once it is cancelled it can never take money."""

    name = "intent.cancel"
    params_type = CancelIntentParams

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[CancelIntentParams]) -> CancelIntentParams:
        """Check that no money may be taken; one that is cancelled already is cancelled."""
        if call.params.is_expiry:
            return replace(call.params, session_id=_page(payment, call.params.attempt).session_id)
        intent = current_attempt(payment, call.params.attempt)
        if intent.session_state is SessionState.OPEN and intent.state in CANCELABLE:
            return replace(call.params, session_id=intent.session_id)
        if intent.is_setup and intent.state == IntentState.SUCCEEDED and not call.params.unless_kept:
            _release(payment, intent.attempt)
            return replace(call.params, intent_id=intent.intent_id)
        if intent.state not in CANCELABLE and intent.state != IntentState.CANCELED:
            raise WrongIntentState(intent_state=intent.state)
        return replace(
            call.params,
            intent_id=intent.intent_id,
            captured_minor=intent.captured_minor,
            body=_body(intent, call.params),
        )

    async def send(self, payment: MirroredPayment, call: Call[CancelIntentParams], *, is_repeat: bool) -> Json:
        """Cancel it, or find it cancelled. Of what a setup kept Stripe is told nothing: the payer keeps it."""
        intent_id, body = call.params.intent_id, call.params.body or {}
        known = payment.intents[call.params.attempt]
        if call.params.session_id:
            return await self._end_page(known, call, is_repeat=is_repeat)
        if known.is_released or not intent_id:
            return {}
        if known.state == IntentState.CANCELED:
            return await self._provider.intents.retrieve_attempt(intent_id)
        return await self._provider.intents.cancel(intent_id, body, key=call.key, is_repeat=is_repeat)

    async def look_again(
        self, payment: MirroredPayment, call: Call[CancelIntentParams], refusal: StripeRefused
    ) -> Json:
        """Read what is there: it may have been cancelled at Stripe, or have taken money."""
        if call.params.session_id:
            return await self._look_at_page(payment, call, refusal)
        intent = await self._provider.intents.reread(call.params.intent_id, refusal)
        state = apply_settled(payment, call.params.attempt, intent)
        if self._is_done(payment, call):
            return intent
        if payment.intents[call.params.attempt].is_page_spent:  # Stripe need not cancel what nobody can pay any more
            _release(payment, call.params.attempt)
            return intent
        if state not in CANCELABLE:
            raise WrongIntentState(intent_state=state) from refusal
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CancelIntentParams]) -> Json | None:
        """Read what is there."""
        if call.params.session_id:
            return await self._provider.sessions.retrieve(call.params.session_id)
        if payment.intents[call.params.attempt].is_released or not call.params.intent_id:
            return {}
        return await self._provider.intents.retrieve_attempt(call.params.intent_id)

    def record(self, payment: MirroredPayment, call: Call[CancelIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror what it is now."""
        asked = call.params
        if asked.session_id:
            apply_page(payment, asked.attempt, answer)
            payment.unsettled = False
            payment.conclude()
        elif answer:
            apply_settled(payment, asked.attempt, answer)
        else:
            settle(payment, is_settled=True)
        state = IntentState.CANCELED if self._is_done(payment, call) else payment.intents[asked.attempt].state
        return {"intent_id": asked.intent_id, "state": state}

    def discarded(self, payment: MirroredPayment, call: Call[CancelIntentParams]) -> None:
        """Nothing was reserved; and nothing is unknown any more."""
        settle(payment, is_settled=True)

    def unknown(self, payment: MirroredPayment) -> None:
        """Keep that it may be cancelled or not."""
        settle(payment, is_settled=False)

    async def _end_page(self, page: Intent, call: Call[CancelIntentParams], *, is_repeat: bool) -> Json:
        """Expire a page, or find how it ended."""
        if page.session_state is not SessionState.OPEN:
            return await self._provider.sessions.retrieve(page.session_id)
        return await self._provider.sessions.expire(call.params.session_id, key=call.key, is_repeat=is_repeat)

    async def _look_at_page(
        self, payment: MirroredPayment, call: Call[CancelIntentParams], refusal: StripeRefused
    ) -> Json:
        """Read a page that Stripe does not expire: its payer was done with it first, or it ended by itself."""
        asked = call.params
        session = await self._provider.sessions.reread(asked.session_id, refusal)
        payment.unsettled = False
        page = apply_page(payment, asked.attempt, session)
        if page.session_state is SessionState.OPEN:
            raise refusal
        if asked.is_expiry:
            return session
        if page.is_page_spent:
            _release(payment, asked.attempt)
        elif page.state != IntentState.CANCELED:  # refused, so that what was found is delivered
            raise WrongIntentState(intent_state=page.state) from refusal
        return session

    @staticmethod
    def _is_done(payment: MirroredPayment, call: Call[CancelIntentParams]) -> bool:
        """Whether it takes no more than it took before: what was left of a hold is released after a part was taken."""
        intent = payment.intents[call.params.attempt]
        is_rest_released = 0 < intent.captured_minor == call.params.captured_minor and not intent.capturable_minor
        return intent.state == IntentState.CANCELED or is_rest_released


def _page(payment: MirroredPayment, attempt: int) -> Intent:
    page = payment.intents.get(attempt)
    if page is None or not page.session_id:
        raise CheckoutSessionNotFound
    return page


def _release(payment: MirroredPayment, attempt: int) -> None:
    """Cancel in our books alone what takes no money any more."""
    payment.intents[attempt] = replace(payment.intents[attempt], state=IntentState.CANCELED, is_released=True)
    payment.conclude()


def _body(intent: Intent, asked: CancelIntentParams) -> Json:
    if not asked.reason or (intent.is_setup and asked.reason in NOT_OF_SETUPS):
        return {}
    return {"cancellation_reason": asked.reason}
