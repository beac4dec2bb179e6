"""Intents of Stripe's, of both kinds: PaymentIntents take or hold money, SetupIntents keep a method."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Final

from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.calls.customers import made_for
from services.gateway.stripe_api.outcomes import MISSING, Declined, Kind
from services.gateway.stripe_api.transport import Transport, as_it_is_now
from services.shared.codec import Json

PAYMENT_INTENTS: Final = "/v1/payment_intents"
SETUP_INTENTS: Final = "/v1/setup_intents"
THE_INTENT: Final = frozenset({"", "id", "intent", "payment_intent", "setup_intent"})
"""Parameters by which Stripe says that it is the intent which it does not know."""

_logger = logging.getLogger(__name__)


class IntentCalls:
    """Creates, changes and reads intents. What changes one raises Declined too."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create an intent."""
        return await self._change(PAYMENT_INTENTS, params, key=key, is_repeat=is_repeat)

    async def create_setup(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a setup intent."""
        return await self._change(SETUP_INTENTS, params, key=key, is_repeat=is_repeat)

    async def confirm(self, intent_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Confirm an intent of either kind."""
        return await self._change(f"{_path(intent_id)}/confirm", params, key=key, is_repeat=is_repeat)

    async def capture(self, intent_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Capture what an intent holds."""
        return await self._change(f"{_path(intent_id)}/capture", params, key=key, is_repeat=is_repeat)

    async def cancel(self, intent_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Cancel an intent of either kind."""
        return await self._change(f"{_path(intent_id)}/cancel", params, key=key, is_repeat=is_repeat)

    async def retrieve(self, intent_id: str) -> Json:
        """Read an intent with its latest charge and its method."""
        is_intent = partial(outcomes.is_object, of_type="payment_intent")
        return await self._transport.get(_path(intent_id), is_intent, expand=["latest_charge", "payment_method"])

    async def retrieve_attempt(self, intent_id: str) -> Json:
        """Read the intent of an attempt, of either kind."""
        if not stripe_ids.is_setup(intent_id):
            return await self.retrieve(intent_id)
        is_intent = partial(outcomes.is_object, of_type="setup_intent")
        return await self._transport.get(_path(intent_id), is_intent, expand=["payment_method"])

    async def reread(self, intent_id: str, refusal: StripeRefused) -> Json:
        """Read the intent of a call that Stripe refused.

        An intent cannot be deleted, so Stripe that does not know it is another account, or none: nothing is concluded.
        """
        if is_missing(refusal):
            _logger.error("Stripe does not know intent %s; is it the right account?", intent_id)
            raise StripeUnavailable from refusal
        return await self.retrieve_attempt(intent_id)

    async def of_customer(self, customer_id: str, *, since: datetime, of_setup: bool = False) -> list[Json]:
        """Read a customer's intents of one kind since then; none of one who is gone."""
        path, of_type = (SETUP_INTENTS, "setup_intent") if of_setup else (PAYMENT_INTENTS, "payment_intent")
        return await made_for(self._transport, path, customer_id, since=since, of_type=of_type)

    async def _change(self, path: str, params: Json, *, key: str, is_repeat: bool) -> Json:
        of_type = "setup_intent" if path.startswith(SETUP_INTENTS) else "payment_intent"
        got = await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type=of_type)
        intent = got.object
        if got.is_replayed:
            intent = await as_it_is_now(self.retrieve_attempt(str(intent["id"])))
        if got.kind is Kind.DECLINE:
            raise Declined(intent)
        return intent


def _path(intent_id: str) -> str:
    if stripe_ids.is_setup(intent_id):
        return f"{SETUP_INTENTS}/{stripe_ids.in_path(intent_id, stripe_ids.SETUP_INTENT)}"
    return f"{PAYMENT_INTENTS}/{stripe_ids.in_path(intent_id, stripe_ids.INTENT)}"


def is_missing(refusal: StripeRefused) -> bool:
    """Whether Stripe refuses a call since it does not know its intent."""
    return refusal.metadata["code"] == MISSING and refusal.metadata["param"] in THE_INTENT
