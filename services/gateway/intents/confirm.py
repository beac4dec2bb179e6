"""Confirming the intent of an attempt: this is where money is taken, or held, or a method is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from services.errors import FieldInvalid
from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation, SubjectStore
from services.gateway.errors import PaymentMethodNotFound, StripeRefused, WrongIntentState
from services.gateway.intents.attempts import EXPANDED, EXPANDED_OF_SETUP, apply_settled, current_attempt, settle
from services.gateway.intents.domain import CONFIRMABLE, Intent, declined_again
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import declined_fingerprint, reference, text
from services.gateway.stripe_api.outcomes import Declined
from services.shared.codec import Json
from services.shared.states import AttemptKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmIntentParams(Params):
    """With what an intent is confirmed: one of a method and a confirmation token."""

    attempt: int
    payment_method_id: str | None = None
    confirmation_token_id: str | None = None
    return_url: str
    off_session: bool = False
    """The payer is not there: a method is charged that was kept for that."""
    keep_method: bool = False
    consent_actor_id: str = ""
    """Who agreed that the method is kept; empty where none is."""
    use_stripe_sdk: bool = False
    """What the bank asks for is shown by Stripe's library in the payer's browser, which is not sent away."""
    intent_id: str = ""
    body: Json | None = None


class Owners(Protocol):
    """Who keeps which method."""

    async def check_belongs(self, tenant_id: str, payer_id: str, method_id: str) -> None:
        """Raise PaymentMethodNotFound for a method that is known to be another payer's, or to be gone."""


class ConfirmIntent(Operation[ConfirmIntentParams, MirroredPayment]):
    """Confirms the current attempt's intent with a method: this is where money is taken."""

    name = "intent.confirm"
    params_type = ConfirmIntentParams

    def __init__(self, provider: Provider, payments: SubjectStore[MirroredPayment], owners: Owners) -> None:
        super().__init__(payments)
        self._provider = provider
        self._owners = owners

    async def prepare(self, payment: MirroredPayment, call: Call[ConfirmIntentParams]) -> ConfirmIntentParams:
        """Check that the intent waits for a method."""
        asked = call.params
        intent = current_attempt(payment, asked.attempt)
        # A hosted page is confirmed by its payer alone.
        if intent.kind is AttemptKind.CHECKOUT_SESSION or intent.state not in CONFIRMABLE:
            raise WrongIntentState(intent_state=intent.state)
        consent_actor_id = asked.consent_actor_id or (payment.payer_id if asked.keep_method else "")
        if intent.is_setup and asked.payment_method_id is not None:
            await self._claim(payment, intent, asked.payment_method_id)
        return replace(asked, intent_id=intent.intent_id, consent_actor_id=consent_actor_id, body=_body(intent, asked))

    async def _claim(self, payment: MirroredPayment, intent: Intent, method_id: str) -> None:
        """Need the method from now on: it is not removed while a setup is on its way that will keep it for a charge.

        The statement that starts the call writes that, unless it is being removed. Raises PaymentMethodNotFound.
        """
        await self._owners.check_belongs(payment.tenant_id, payment.payer_id, method_id)
        payment.intents[intent.attempt] = replace(intent, claims_method_id=method_id)
        payment.conclude()

    async def send(self, payment: MirroredPayment, call: Call[ConfirmIntentParams], *, is_repeat: bool) -> Json:
        """Confirm it; a decline is an answer like any other."""
        intent_id, body = call.params.intent_id, call.params.body or {}
        try:
            return await self._provider.intents.confirm(intent_id, body, key=call.key, is_repeat=is_repeat)
        except Declined as declined:
            payment.intents[call.params.attempt] = declined_again(payment.intents[call.params.attempt])
            return declined.intent

    async def look_again(
        self, payment: MirroredPayment, call: Call[ConfirmIntentParams], refusal: StripeRefused
    ) -> Json:
        """Read the intent. If it waits for a method, it is this one that Stripe does not take."""
        intent = await self._provider.intents.reread(call.params.intent_id, refusal)
        state = apply_settled(payment, call.params.attempt, intent)
        if state not in CONFIRMABLE:
            raise WrongIntentState(intent_state=state) from refusal
        if await self._is_of_another(reference(intent, "customer"), call.params.payment_method_id):
            raise PaymentMethodNotFound(field="payment_method_id") from refusal
        raise refusal

    async def look_up(self, payment: MirroredPayment, call: Call[ConfirmIntentParams]) -> Json | None:
        """Read the intent: whatever the confirm led to is to be found in it."""
        return await self._provider.intents.retrieve_attempt(call.params.intent_id)

    def record(self, payment: MirroredPayment, call: Call[ConfirmIntentParams], answer: Json) -> Mapping[str, str]:
        """Mirror what the confirm led to."""
        asked = call.params
        if asked.consent_actor_id:
            payment.intents[asked.attempt] = replace(
                payment.intents[asked.attempt],
                consent_actor_id=asked.consent_actor_id,
                consent_time=call.create_time,
            )
        apply_settled(payment, asked.attempt, answer)
        of_declined = declined_fingerprint(answer)
        found = {"intent_id": text(answer, "id")}
        return found | {"declined_fingerprint": of_declined} if of_declined else found

    async def _is_of_another(self, customer_id: str, payment_method_id: str | None) -> bool:
        """Whether Stripe keeps a method for another customer. It refuses such a one, whoever has it in our books."""
        if payment_method_id is None:
            return False
        method = await self._provider.payment_methods.retrieve(payment_method_id)
        return method is not None and reference(method, "customer") not in ("", customer_id)

    def discarded(self, payment: MirroredPayment, call: Call[ConfirmIntentParams]) -> None:
        """Nothing is claimed; and nothing is unknown any more."""
        attempt = call.params.attempt
        payment.intents[attempt] = replace(payment.intents[attempt], claims_method_id="")
        settle(payment, is_settled=True)

    def unknown(self, payment: MirroredPayment) -> None:
        """Keep that money may be on its way."""
        settle(payment, is_settled=False)


def _body(intent: Intent, asked: ConfirmIntentParams) -> Json:
    body: dict[str, object] = {"return_url": asked.return_url, "expand": EXPANDED}
    if asked.payment_method_id:
        body["payment_method"] = asked.payment_method_id
    if asked.confirmation_token_id:
        body["confirmation_token"] = asked.confirmation_token_id
    if asked.use_stripe_sdk:
        body["use_stripe_sdk"] = True
    if intent.is_setup:
        if asked.off_session:
            raise FieldInvalid(field="off_session", detail="must not be set where a method is kept: its payer is there")
        body["expand"] = EXPANDED_OF_SETUP  # a setup keeps its method anyway
    elif asked.off_session:
        body["off_session"] = True
    elif asked.keep_method:
        body["setup_future_usage"] = "off_session"
    return body
