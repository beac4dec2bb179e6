"""The calls on setup intents without a payment: creating, which may confirm at once, and cancelling. On the payer.

What happens if the process dies is said in `call_log/execution`. A setup takes no money; one that nobody finishes is
left at Stripe as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.gateway.call_log.call import Call, Params
from services.gateway.call_log.operation import Operation
from services.gateway.errors import (
    MethodLimitReached,
    PaymentMethodNotFound,
    SetupIntentNotFound,
    StripeRefused,
    WrongIntentState,
)
from services.gateway.payment_methods.domain import METHODS_MAX, Consent, MethodFacts, PayerMethods, SetupIntent
from services.gateway.payment_methods.operations import customer_gone
from services.gateway.payment_methods.store import MethodStore
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.intent_objects import setup_facts
from services.gateway.stripe_api.objects import metadata, method_facts, part, text
from services.gateway.stripe_api.outcomes import Declined
from services.shared.codec import Json
from services.shared.states import IntentState

EXPANDED: Final = ["payment_method"]
"""So that an answer shows which card was kept, and no second call is needed."""
OVER: Final = frozenset({IntentState.SUCCEEDED, IntentState.CANCELED})
"""Nothing can be done with such a setup any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateSetupParams(Params):
    """Who keeps a method, by whose consent; and which, where it is known."""

    customer_id: str
    consent_actor_id: str
    payment_method_id: str = ""
    confirmation_token_id: str = ""
    return_url: str = ""
    body: Json | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSetupParams(Params):
    """Which setup intent is cancelled, and how it was last seen then."""

    setup_intent_id: str
    known: SetupIntent | None = None


class CreateSetup(Operation[CreateSetupParams, PayerMethods]):
    """Creates a setup intent; with a method it is confirmed at once, and the payer may have to authenticate."""

    name = "method.setup"
    params_type = CreateSetupParams

    def __init__(self, provider: Provider, payers: MethodStore) -> None:
        super().__init__(payers)
        self._provider = provider
        self._payers = payers

    async def prepare(self, payer: PayerMethods, call: Call[CreateSetupParams]) -> CreateSetupParams:
        """Check that there is room, and that the method is not another payer's; return exactly what Stripe is sent."""
        asked = call.params
        if asked.payment_method_id:
            await self._payers.check_belongs(payer.tenant_id, payer.payer_id, asked.payment_method_id)
        if payer.find(asked.payment_method_id) is None and payer.count >= METHODS_MAX:
            raise MethodLimitReached(max=METHODS_MAX)
        return replace(asked, body=_body(payer, call))

    async def send(self, payer: PayerMethods, call: Call[CreateSetupParams], *, is_repeat: bool) -> Json:
        """Create it; a decline is an answer like any other. Raises CustomerGone."""
        try:
            return await self._provider.intents.create_setup(call.params.body or {}, key=call.key, is_repeat=is_repeat)
        except Declined as declined:
            return declined.intent
        except StripeRefused as refusal:
            gone = customer_gone(refusal, customer_id=call.params.customer_id)
            if gone is None:
                raise
            raise gone from refusal

    async def look_again(self, payer: PayerMethods, call: Call[CreateSetupParams], refusal: StripeRefused) -> Json:
        """Find out whether it is the method that Stripe does not take: one it does not know, or another customer's."""
        method_id = call.params.payment_method_id
        if method_id:
            shown = await self._provider.payment_methods.retrieve(method_id)
            if shown is None or method_facts(shown).customer_id not in ("", call.params.customer_id):
                raise PaymentMethodNotFound(field="payment_method_id") from refusal
        raise refusal

    async def look_up(self, payer: PayerMethods, call: Call[CreateSetupParams]) -> Json | None:
        """Find the setup intent with this call's id in its metadata among the customer's."""
        found = await self._provider.intents.of_customer(call.params.customer_id, since=call.create_time, of_setup=True)
        made = next((one for one in found if metadata(one, "call_id") == str(call.call_id)), None)
        return None if made is None else await self._provider.intents.retrieve_attempt(text(made, "id"))

    def record(self, payer: PayerMethods, call: Call[CreateSetupParams], answer: Json) -> Mapping[str, str]:
        """Mirror it, and keep the method if it succeeded."""
        consent = Consent(consent_time=call.create_time, actor_id=call.params.consent_actor_id)
        take(payer, answer, consent=consent, now=call.create_time)
        return {"setup_intent_id": text(answer, "id")}


class CancelSetup(Operation[CancelSetupParams, PayerMethods]):
    """Cancels a setup intent: it can never keep a method any more."""

    name = "method.cancel_setup"
    params_type = CancelSetupParams

    def __init__(self, provider: Provider, payers: MethodStore) -> None:
        super().__init__(payers)
        self._provider = provider
        self._payers = payers

    async def prepare(self, payer: PayerMethods, call: Call[CancelSetupParams]) -> CancelSetupParams:
        """Check that it is the payer's, and that nothing was kept with it; one that is cancelled is cancelled."""
        found = await self._payers.setup(payer.tenant_id, call.params.setup_intent_id)
        if found is None or found[0] != payer.payer_id:
            raise SetupIntentNotFound(field="setup_intent_id")
        if found[1].state is IntentState.SUCCEEDED:
            raise WrongIntentState(intent_state=found[1].state)
        return replace(call.params, known=found[1])

    async def send(self, payer: PayerMethods, call: Call[CancelSetupParams], *, is_repeat: bool) -> Json:
        """Cancel it, or find it cancelled."""
        setup_intent_id = call.params.setup_intent_id
        if _known(call).state is IntentState.CANCELED:
            return await self._provider.intents.retrieve_attempt(setup_intent_id)
        return await self._provider.intents.cancel(setup_intent_id, {}, key=call.key, is_repeat=is_repeat)

    async def look_again(self, payer: PayerMethods, call: Call[CancelSetupParams], refusal: StripeRefused) -> Json:
        """Read it: it may have been cancelled at Stripe, or have kept a method."""
        shown = await self._provider.intents.reread(call.params.setup_intent_id, refusal)
        state = take(payer, shown, consent=_known(call).consent, now=call.create_time).state
        if state is IntentState.CANCELED:
            return shown
        if state is IntentState.SUCCEEDED:
            raise WrongIntentState(intent_state=state) from refusal
        raise refusal

    async def look_up(self, payer: PayerMethods, call: Call[CancelSetupParams]) -> Json | None:
        """Read it: as long as it may keep a method the call had no effect."""
        shown = await self._provider.intents.retrieve_attempt(call.params.setup_intent_id)
        return shown if setup_facts(shown).state in OVER else None

    def record(self, payer: PayerMethods, call: Call[CancelSetupParams], answer: Json) -> Mapping[str, str]:
        """Mirror what it is now."""
        setup = take(payer, answer, consent=_known(call).consent, now=call.create_time)
        return {"setup_intent_id": setup.setup_intent_id, "state": setup.state}


def _known(call: Call[CancelSetupParams]) -> SetupIntent:
    known = call.params.known
    assert known is not None, "prepare reads it"  # noqa: S101
    return known


def take(payer: PayerMethods, shown: Json, *, consent: Consent, now: datetime) -> SetupIntent:
    """Mirror a setup intent as Stripe shows it, with its method where that is expanded, and return it."""
    facts, method = setup_facts(shown), part(shown, "payment_method")
    kept: MethodFacts | None = method_facts(method) if method else None
    setup = SetupIntent(
        setup_intent_id=facts.intent_id,
        state=facts.state,
        method=facts.method,
        error=facts.error,
        consent=consent,
    )
    payer.take_setup(setup, kept, now=now)
    return setup


def _body(payer: PayerMethods, call: Call[CreateSetupParams]) -> Json:
    """Return what Stripe is sent. Stripe compares bodies under one key, so the same call always gives the same body."""
    asked = call.params
    body: dict[str, object] = {
        "customer": asked.customer_id,
        "usage": "off_session",
        "automatic_payment_methods": {"enabled": True},
        "metadata": {"payer_id": payer.payer_id, "call_id": str(call.call_id)},
        "expand": EXPANDED,
    }
    if asked.payment_method_id:
        body |= {"payment_method": asked.payment_method_id, "confirm": True, "return_url": asked.return_url}
    if asked.confirmation_token_id:
        body |= {"confirmation_token": asked.confirmation_token_id, "confirm": True, "return_url": asked.return_url}
    return body
