"""The calls on intents: create, confirm, cancel. Each says what is sent, what is answered, and how it is looked up."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from services.errors import FieldInvalid
from services.gateway import domain
from services.gateway.domain import (
    AttemptOpen,
    Intent,
    IntentNotFound,
    IntentState,
    StripeRefused,
    StripeUnavailable,
)
from services.gateway.mirror.store import Call, MirroredPayment
from services.gateway.stripe_api.client import Declined, Provider, facts_of
from services.gateway.stripe_api.currencies import charge_to_stripe, to_stripe

Json = Mapping[str, Any]
_logger = logging.getLogger(__name__)

MISSING: Final = "resource_missing"
DESTINATION: Final = "transfer_data"
NOT_PAYABLE: Final = frozenset({"account_invalid", "insufficient_capabilities_for_transfer"})
"""Codes of refusals that are about the seller's account, whatever parameter they name."""
OPTIONAL: Final = frozenset({"description"})
"""Parameters of an intent without which it takes the same money."""
THE_INTENT: Final = frozenset({"", "id", "intent", "payment_intent"})
"""Parameters by which Stripe says that it is the intent which it does not know."""
EXPANDED: Final = ["latest_charge", "payment_method"]
"""So that an answer shows what was paid with, and no second call is needed."""


def apply_intent(held: MirroredPayment, attempt: int, intent: Json) -> None:
    """Put an intent as Stripe showed it into the mirror."""
    before = held.intents[attempt]
    held.intents[attempt] = domain.apply(before, facts_of(intent), currency_code=held.currency_code)
    observe(held)


def observe(held: MirroredPayment) -> None:
    """Draw the conclusion from everything seen."""
    held.observation = domain.observe(
        held.observation,
        list(held.intents.values()),
        list(held.refunds.values()),
        outcome_unknown=held.unsettled,
    )


class CreateIntent:
    """Creates the intent of one attempt, as a destination charge. Moves no money."""

    name = "intent.create"
    retry_until_known = False

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def prepare(self, held: MirroredPayment, call: Call) -> dict[str, Any]:
        """Check the attempt, and write down exactly what Stripe is asked for."""
        asked = call.params
        latest = held.latest
        if latest is not None and latest.state != domain.CANCELED:
            raise AttemptOpen(attempt=latest.attempt, intent_state=latest.state)
        next_attempt = latest.attempt + 1 if latest else 1
        if asked["attempt"] != next_attempt:
            raise FieldInvalid(field="attempt", detail=f"The next one is {next_attempt}.")
        if asked["currency_code"] != held.currency_code:
            raise FieldInvalid(field="amount.currency_code", detail=f"The payment is in {held.currency_code}.")
        body = {
            "amount": charge_to_stripe(asked["amount_minor"], held.currency_code),
            "currency": held.currency_code.lower(),
            "customer": asked["customer_id"],
            "transfer_data": {"destination": asked["account_id"]},
            "automatic_payment_methods": {"enabled": True},
            "metadata": {
                "payment_id": held.payment_id,
                "attempt": str(asked["attempt"]),
                "call_id": str(call.call_id),
            },
        }
        if asked["application_fee_minor"]:
            body["application_fee_amount"] = to_stripe(
                asked["application_fee_minor"], held.currency_code, field="application_fee"
            )
        if asked["description"]:
            body["description"] = asked["description"]
        if asked["capture_manually"]:
            body["capture_method"] = "manual"
        held.intents[asked["attempt"]] = Intent(
            attempt=asked["attempt"],
            amount_minor=asked["amount_minor"],
            application_fee_minor=asked["application_fee_minor"],
            create_time=call.create_time,
        )
        return {**asked, "body": body}

    async def send(self, held: MirroredPayment, call: Call, *, is_repeat: bool) -> Json:
        """Create it. Raises Amendable for what is refused and may be asked for otherwise."""
        try:
            return await self._provider.create_intent(call.params["body"], key=call.key, is_repeat=is_repeat)
        except domain.StripeRefused as refusal:
            amendable = _amendable(refusal, call.params)
            if amendable is None:
                raise
            raise amendable from refusal

    async def look_again(self, held: MirroredPayment, call: Call, refusal: StripeRefused) -> Json:
        """Close the attempt that never came to be, so that the next one may begin: there is nothing to read."""
        attempt = call.params["attempt"]
        held.intents[attempt] = replace(held.intents[attempt], state=domain.CANCELED)
        raise refusal

    async def look_up(self, held: MirroredPayment, call: Call) -> Json | None:
        """Find the intent that carries this call's id among the customer's."""
        try:
            found = await self._provider.list_intents(call.params["customer_id"], since=call.create_time)
        except domain.StripeRefused as refusal:
            if refusal.metadata.get("code") != MISSING:
                raise
            return None  # gone with its customer: nobody has the secret of an intent that was never answered
        for intent in found:
            if (intent.get("metadata") or {}).get("call_id") == str(call.call_id):
                return intent
        return None

    def record(self, held: MirroredPayment, call: Call, answer: Json) -> dict[str, Any]:
        """Mirror the new intent."""
        apply_intent(held, call.params["attempt"], answer)
        return {"intent_id": str(answer["id"])}

    def discarded(self, held: MirroredPayment, call: Call) -> None:
        """Take the attempt back."""
        del held.intents[call.params["attempt"]]
        observe(held)

    def unknown(self, held: MirroredPayment) -> None:
        """Say nothing: no money is at stake, and the caller is told to ask again."""


class ConfirmIntent:
    """Confirms the current attempt's intent with a method: this is where money is taken."""

    name = "intent.confirm"
    retry_until_known = False

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def prepare(self, held: MirroredPayment, call: Call) -> dict[str, Any]:
        """Check that the intent waits for a method."""
        intent = _current(held, call.params["attempt"])
        if intent.state not in domain.CONFIRMABLE:
            raise IntentState(intent_state=intent.state)
        body = {"return_url": call.params["return_url"], "expand": EXPANDED}
        for name, parameter in (
            ("payment_method_id", "payment_method"),
            ("confirmation_token_id", "confirmation_token"),
        ):
            if call.params.get(name):
                body[parameter] = call.params[name]
        return {**call.params, "intent_id": intent.intent_id, "body": body}

    async def send(self, held: MirroredPayment, call: Call, *, is_repeat: bool) -> Json:
        """Confirm it; a decline is an answer like any other."""
        intent_id, body = call.params["intent_id"], call.params["body"]
        try:
            return await self._provider.confirm_intent(intent_id, body, key=call.key, is_repeat=is_repeat)
        except Declined as declined:
            return declined.intent

    async def look_again(self, held: MirroredPayment, call: Call, refusal: StripeRefused) -> Json:
        """Read the intent. If it waits for a method, it is this one that Stripe does not take."""
        intent = await read_refused(self._provider, held, call, refusal)
        state = apply_current(held, call, intent)
        if state not in domain.CONFIRMABLE:
            raise IntentState(intent_state=state) from refusal
        raise refusal

    async def look_up(self, held: MirroredPayment, call: Call) -> Json | None:
        """Read the intent: whatever the confirm led to is to be seen in it."""
        return await self._provider.retrieve_intent(call.params["intent_id"])

    def record(self, held: MirroredPayment, call: Call, answer: Json) -> dict[str, Any]:
        """Mirror what the confirm led to."""
        held.unsettled = False
        apply_intent(held, call.params["attempt"], answer)
        return {"intent_id": str(answer["id"])}

    def discarded(self, held: MirroredPayment, call: Call) -> None:
        """Nothing was reserved; and nothing is unknown any more."""
        held.unsettled = False
        observe(held)

    def unknown(self, held: MirroredPayment) -> None:
        """Say that money may be on its way."""
        held.unsettled = True
        observe(held)


class CancelIntent:
    """Cancels the current attempt's intent. Once it is cancelled it can never take money."""

    name = "intent.cancel"
    retry_until_known = False

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def prepare(self, held: MirroredPayment, call: Call) -> dict[str, Any]:
        """Check that no money was or may be taken; one that is cancelled already is cancelled."""
        intent = _current(held, call.params["attempt"])
        if intent.state not in domain.CANCELABLE and intent.state != domain.CANCELED:
            raise IntentState(intent_state=intent.state)
        body = {"cancellation_reason": call.params["reason"]} if call.params["reason"] else {}
        return {**call.params, "intent_id": intent.intent_id, "body": body}

    async def send(self, held: MirroredPayment, call: Call, *, is_repeat: bool) -> Json:
        """Cancel it, or find it cancelled."""
        intent_id, body = call.params["intent_id"], call.params["body"]
        if held.intents[call.params["attempt"]].state == domain.CANCELED:
            return await self._provider.retrieve_intent(intent_id)
        return await self._provider.cancel_intent(intent_id, body, key=call.key, is_repeat=is_repeat)

    async def look_again(self, held: MirroredPayment, call: Call, refusal: StripeRefused) -> Json:
        """Read the intent: somebody else may have cancelled it, or it may have taken money."""
        intent = await read_refused(self._provider, held, call, refusal)
        state = apply_current(held, call, intent)
        if state == domain.CANCELED:
            return intent
        if state not in domain.CANCELABLE:
            raise IntentState(intent_state=state) from refusal
        raise refusal

    async def look_up(self, held: MirroredPayment, call: Call) -> Json | None:
        """Read the intent."""
        return await self._provider.retrieve_intent(call.params["intent_id"])

    def record(self, held: MirroredPayment, call: Call, answer: Json) -> dict[str, Any]:
        """Mirror what it is now."""
        held.unsettled = False
        apply_intent(held, call.params["attempt"], answer)
        return {"intent_id": str(answer["id"]), "state": held.intents[call.params["attempt"]].state}

    def discarded(self, held: MirroredPayment, call: Call) -> None:
        """Nothing was reserved; and nothing is unknown any more."""
        held.unsettled = False
        observe(held)

    def unknown(self, held: MirroredPayment) -> None:
        """Say that it may be cancelled or not."""
        held.unsettled = True
        observe(held)


def _amendable(refusal: domain.StripeRefused, params: Json) -> domain.Amendable | None:
    """Tell what may be asked for otherwise: a customer that is gone, an account, a detail that may be left out."""
    code, param = refusal.metadata.get("code", ""), refusal.metadata.get("param", "")
    is_of_account = param.startswith(DESTINATION) or code in NOT_PAYABLE
    is_of_customer = param == "customer" and code == MISSING
    if is_of_account or is_of_customer or (param in OPTIONAL and param in params["body"]):
        return domain.Amendable(refusal, params, is_of_account=is_of_account)
    return None


async def read_refused(provider: Provider, held: MirroredPayment, call: Call, refusal: StripeRefused) -> Json:
    """Read the intent of a call that Stripe refused.

    An intent cannot be deleted, so Stripe that does not know it is another account, or none: nothing is concluded.
    """
    if refusal.metadata["code"] == MISSING and refusal.metadata["param"] in THE_INTENT:
        _logger.error("Stripe does not know the intent of %s; is it the right account?", held.payment_id)
        raise StripeUnavailable from refusal
    return await provider.retrieve_intent(call.params["intent_id"])


def apply_current(held: MirroredPayment, call: Call, intent: Json) -> str:
    """Put the intent of a call that was refused into the mirror, and return its state; nothing is unknown any more."""
    held.unsettled = False
    apply_intent(held, call.params["attempt"], intent)
    return held.intents[call.params["attempt"]].state


def _current(held: MirroredPayment, attempt: int) -> Intent:
    intent = held.intents.get(attempt)
    if intent is None or not intent.intent_id:
        raise IntentNotFound
    if held.latest is not intent:
        raise IntentState(intent_state=intent.state, attempt=attempt)
    return intent
