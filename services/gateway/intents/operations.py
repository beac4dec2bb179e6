"""The calls on intents: create, confirm, cancel. Each says what is sent, what is answered, and how it is looked up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.errors import FieldInvalid
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import (
    Amendable,
    AttemptOpen,
    IntentNotFound,
    StripeRefused,
    WrongIntentState,
)
from services.gateway.intents.domain import CANCELABLE, CONFIRMABLE, Intent
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.client import MISSING, Provider
from services.gateway.stripe_api.currencies import charge_to_stripe, to_stripe
from services.gateway.stripe_api.intent_objects import intent_facts
from services.gateway.stripe_api.objects import metadata, text
from services.gateway.stripe_api.outcomes import Declined
from services.shared.codec import Json
from services.shared.states import IntentState

DESTINATION: Final = "transfer_data"
NOT_PAYABLE: Final = frozenset({"account_invalid", "insufficient_capabilities_for_transfer"})
"""Codes of refusals that are about the seller's account, whatever parameter they name."""
OPTIONAL: Final = frozenset({"description"})
"""Parameters of an intent without which it takes the same money."""
EXPANDED: Final = ["latest_charge", "payment_method"]
"""So that an answer shows what was paid with, and no second call is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateIntentParams(Params):
    """What a new intent is to be; `body` is what Stripe is sent."""

    attempt: int
    amount_minor: int
    currency_code: str
    application_fee_minor: int
    customer_id: str
    account_id: str
    description: str
    capture_manually: bool
    body: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmIntentParams(Params):
    """With what an intent is confirmed: one of a method and a confirmation token."""

    attempt: int
    payment_method_id: str | None = None
    confirmation_token_id: str | None = None
    return_url: str
    intent_id: str = ""
    body: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelIntentParams(Params):
    """Why an intent is cancelled, in Stripe's word; empty for no reason."""

    attempt: int
    reason: str
    intent_id: str = ""
    body: Json | None = None


class AmendableIntent(Amendable):
    """Stripe refused a part of this that can be amended; send the same call again, which Stripe will see as another."""

    def __init__(self, refusal: StripeRefused, *, customer_id: str, is_of_account: bool) -> None:
        super().__init__(refusal)
        self.customer_id = customer_id
        """Of the call that was refused."""
        self.is_of_account = is_of_account
        """It is the seller's account that is refused."""


class CreateIntent(Operation[CreateIntentParams, MirroredPayment]):
    """Creates the intent of one attempt, as a destination charge. Moves no money."""

    name = "intent.create"
    params_type = CreateIntentParams

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[CreateIntentParams]) -> CreateIntentParams:
        """Check the attempt, and return exactly what Stripe is sent."""
        asked, latest = call.params, payment.latest
        if latest is not None and not latest.is_over:
            raise AttemptOpen(attempt=latest.attempt, intent_state=latest.state)
        next_attempt = latest.attempt + 1 if latest else 1
        if asked.attempt != next_attempt:
            raise FieldInvalid(field="attempt", detail=f"The next one is {next_attempt}.")
        if asked.currency_code != payment.currency_code:
            raise FieldInvalid(field="amount.currency_code", detail=f"The payment is in {payment.currency_code}.")
        payment.intents[asked.attempt] = Intent(
            attempt=asked.attempt,
            amount_minor=asked.amount_minor,
            application_fee_minor=asked.application_fee_minor,
            create_time=call.create_time,
            capture_manually=asked.capture_manually,
        )
        return replace(asked, body=_intent_body(payment, call))

    async def send(self, payment: MirroredPayment, call: Call[CreateIntentParams], *, is_repeat: bool) -> Json:
        """Create it. Raises AmendableIntent for a refusal that another body may avoid."""
        try:
            return await self._provider.create_intent(call.params.body or {}, key=call.key, is_repeat=is_repeat)
        except StripeRefused as refusal:
            amendable = _amendable(refusal, call.params)
            if amendable is None:
                raise
            raise amendable from refusal

    async def look_again(
        self, payment: MirroredPayment, call: Call[CreateIntentParams], refusal: StripeRefused
    ) -> Json:
        """Close the attempt that never came to be, so that the next one may begin: there is nothing to read."""
        attempt = call.params.attempt
        payment.intents[attempt] = replace(payment.intents[attempt], state=IntentState.CANCELED)
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CreateIntentParams]) -> Json | None:
        """Find the intent with this call's id in its metadata among the customer's."""
        # One whose customer is gone is gone, too: nobody has the secret of an intent that was never answered.
        found = await self._provider.list_intents(call.params.customer_id, since=call.create_time)
        return next((intent for intent in found if metadata(intent, "call_id") == str(call.call_id)), None)

    def record(self, payment: MirroredPayment, call: Call[CreateIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror the new intent."""
        payment.apply_intent(call.params.attempt, intent_facts(answer))
        return {"intent_id": text(answer, "id")}

    def discarded(self, payment: MirroredPayment, call: Call[CreateIntentParams]) -> None:
        """Take the attempt back."""
        del payment.intents[call.params.attempt]
        payment.conclude()


class ConfirmIntent(Operation[ConfirmIntentParams, MirroredPayment]):
    """Confirms the current attempt's intent with a method: this is where money is taken."""

    name = "intent.confirm"
    params_type = ConfirmIntentParams

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[ConfirmIntentParams]) -> ConfirmIntentParams:
        """Check that the intent waits for a method."""
        asked = call.params
        intent = _current(payment, asked.attempt)
        if intent.state not in CONFIRMABLE:
            raise WrongIntentState(intent_state=intent.state)
        body: dict[str, object] = {"return_url": asked.return_url, "expand": EXPANDED}
        if asked.payment_method_id:
            body["payment_method"] = asked.payment_method_id
        if asked.confirmation_token_id:
            body["confirmation_token"] = asked.confirmation_token_id
        return replace(asked, intent_id=intent.intent_id, body=body)

    async def send(self, payment: MirroredPayment, call: Call[ConfirmIntentParams], *, is_repeat: bool) -> Json:
        """Confirm it; a decline is an answer like any other."""
        intent_id, body = call.params.intent_id, call.params.body or {}
        try:
            return await self._provider.confirm_intent(intent_id, body, key=call.key, is_repeat=is_repeat)
        except Declined as declined:
            return declined.intent

    async def look_again(
        self, payment: MirroredPayment, call: Call[ConfirmIntentParams], refusal: StripeRefused
    ) -> Json:
        """Read the intent. If it waits for a method, it is this one that Stripe does not take."""
        intent = await self._provider.reread_intent(call.params.intent_id, refusal)
        state = _apply_settled(payment, call.params.attempt, intent)
        if state not in CONFIRMABLE:
            raise WrongIntentState(intent_state=state) from refusal
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[ConfirmIntentParams]) -> Json | None:
        """Read the intent: whatever the confirm led to is to be found in it."""
        return await self._provider.retrieve_intent(call.params.intent_id)

    def record(self, payment: MirroredPayment, call: Call[ConfirmIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror what the confirm led to."""
        _apply_settled(payment, call.params.attempt, answer)
        return {"intent_id": text(answer, "id")}

    def discarded(self, payment: MirroredPayment, call: Call[ConfirmIntentParams]) -> None:
        """Nothing was reserved; and nothing is unknown any more."""
        _settle(payment, is_settled=True)

    def unknown(self, payment: MirroredPayment) -> None:
        """Keep that money may be on its way."""
        _settle(payment, is_settled=False)


class CancelIntent(Operation[CancelIntentParams, MirroredPayment]):
    """Cancels the current attempt's intent. Once it is cancelled it can never take money."""

    name = "intent.cancel"
    params_type = CancelIntentParams

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment]) -> None:
        super().__init__(payments)
        self._provider = provider

    async def prepare(self, payment: MirroredPayment, call: Call[CancelIntentParams]) -> CancelIntentParams:
        """Check that no money was or may be taken; one that is cancelled already is cancelled."""
        intent = _current(payment, call.params.attempt)
        if intent.state not in CANCELABLE and intent.state != IntentState.CANCELED:
            raise WrongIntentState(intent_state=intent.state)
        body = {"cancellation_reason": call.params.reason} if call.params.reason else {}
        return replace(call.params, intent_id=intent.intent_id, body=body)

    async def send(self, payment: MirroredPayment, call: Call[CancelIntentParams], *, is_repeat: bool) -> Json:
        """Cancel it, or find it cancelled."""
        intent_id, body = call.params.intent_id, call.params.body or {}
        if payment.intents[call.params.attempt].state == IntentState.CANCELED:
            return await self._provider.retrieve_intent(intent_id)
        return await self._provider.cancel_intent(intent_id, body, key=call.key, is_repeat=is_repeat)

    async def look_again(
        self, payment: MirroredPayment, call: Call[CancelIntentParams], refusal: StripeRefused
    ) -> Json:
        """Read the intent: it may have been cancelled at Stripe, or have taken money."""
        intent = await self._provider.reread_intent(call.params.intent_id, refusal)
        state = _apply_settled(payment, call.params.attempt, intent)
        if state == IntentState.CANCELED:
            return intent
        if state not in CANCELABLE:
            raise WrongIntentState(intent_state=state) from refusal
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[CancelIntentParams]) -> Json | None:
        """Read the intent."""
        return await self._provider.retrieve_intent(call.params.intent_id)

    def record(self, payment: MirroredPayment, call: Call[CancelIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror what it is now."""
        state = _apply_settled(payment, call.params.attempt, answer)
        return {"intent_id": text(answer, "id"), "state": state}

    def discarded(self, payment: MirroredPayment, call: Call[CancelIntentParams]) -> None:
        """Nothing was reserved; and nothing is unknown any more."""
        _settle(payment, is_settled=True)

    def unknown(self, payment: MirroredPayment) -> None:
        """Keep that it may be cancelled or not."""
        _settle(payment, is_settled=False)


def _intent_body(payment: MirroredPayment, call: Call[CreateIntentParams]) -> Json:
    """Return what Stripe is sent. Stripe compares bodies under one key, so the same call always gives the same body."""
    asked = call.params
    body: dict[str, object] = {
        "amount": charge_to_stripe(asked.amount_minor, payment.currency_code),
        "currency": payment.currency_code.lower(),
        "customer": asked.customer_id,
        "transfer_data": {"destination": asked.account_id},
        "automatic_payment_methods": {"enabled": True},
        "metadata": {
            "payment_id": payment.payment_id,
            "attempt": str(asked.attempt),
            "call_id": str(call.call_id),
        },
    }
    if asked.application_fee_minor:
        body["application_fee_amount"] = to_stripe(
            asked.application_fee_minor, payment.currency_code, field="application_fee"
        )
    if asked.description:
        body["description"] = asked.description
    if asked.capture_manually:
        body["capture_method"] = "manual"
    return body


def _amendable(refusal: StripeRefused, asked: CreateIntentParams) -> AmendableIntent | None:
    """Return what can be amended of a refused call: a customer that is gone, an account, a detail; None if nothing."""
    code, param = refusal.metadata.get("code", ""), refusal.metadata.get("param", "")
    is_of_account = param.startswith(DESTINATION) or code in NOT_PAYABLE
    is_of_customer = param == "customer" and code == MISSING
    if is_of_account or is_of_customer or (param in OPTIONAL and param in (asked.body or {})):
        return AmendableIntent(refusal, customer_id=asked.customer_id, is_of_account=is_of_account)
    return None


def _apply_settled(payment: MirroredPayment, attempt: int, intent: Json) -> IntentState:
    """Mirror an intent after a call on it, and return its state: nothing is unknown any more."""
    payment.unsettled = False
    payment.apply_intent(attempt, intent_facts(intent))
    return payment.intents[attempt].state


def _settle(payment: MirroredPayment, *, is_settled: bool) -> None:
    payment.unsettled = not is_settled
    payment.conclude()


def _current(payment: MirroredPayment, attempt: int) -> Intent:
    intent = payment.intents.get(attempt)
    if intent is None or not intent.intent_id:
        raise IntentNotFound
    if payment.latest is not intent:
        raise WrongIntentState(intent_state=intent.state, attempt=attempt)
    return intent
