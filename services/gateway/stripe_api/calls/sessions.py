"""Checkout Sessions of Stripe's: hosted pages."""

from __future__ import annotations

import logging
from datetime import datetime
from functools import partial
from typing import Final

from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.calls.customers import made_for
from services.gateway.stripe_api.outcomes import MISSING
from services.gateway.stripe_api.transport import Transport, as_it_is_now
from services.shared.codec import Json

SESSIONS: Final = "/v1/checkout/sessions"
SESSION_EXPANDED: Final = [
    "payment_intent.latest_charge",
    "payment_intent.payment_method",
    "setup_intent.payment_method",
]
"""So that one reading shows a hosted page and its intent as they stood in one moment."""

_logger = logging.getLogger(__name__)


class SessionCalls:
    """Creates, ends and reads hosted pages."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a hosted page."""
        return await self._change(SESSIONS, params, key=key, is_repeat=is_repeat)

    async def expire(self, session_id: str, *, key: str, is_repeat: bool = False) -> Json:
        """End a hosted page that is open; its intent is shown with it."""
        path, params = f"{_path(session_id)}/expire", {"expand": SESSION_EXPANDED}
        return await self._change(path, params, key=key, is_repeat=is_repeat)

    async def retrieve(self, session_id: str) -> Json:
        """Read a hosted page with its intent, as both stand in one moment."""
        is_session = partial(outcomes.is_object, of_type="checkout.session")
        return await self._transport.get(_path(session_id), is_session, expand=SESSION_EXPANDED)

    async def reread(self, session_id: str, refusal: StripeRefused) -> Json:
        """Read the hosted page of a call that Stripe refused; as `IntentCalls.reread` does."""
        if refusal.metadata["code"] == MISSING:
            _logger.error("Stripe does not know session %s; is it the right account?", session_id)
            raise StripeUnavailable from refusal
        return await self.retrieve(session_id)

    async def of_customer(self, customer_id: str, *, since: datetime) -> list[Json]:
        """Read a customer's hosted pages since then; none of one who is gone."""
        return await made_for(self._transport, SESSIONS, customer_id, since=since, of_type="checkout.session")

    async def _change(self, path: str, params: Json, *, key: str, is_repeat: bool) -> Json:
        got = await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type="checkout.session")
        if got.is_replayed:
            return await as_it_is_now(self.retrieve(str(got.object["id"])))
        return got.object


def _path(session_id: str) -> str:
    return f"{SESSIONS}/{stripe_ids.in_path(session_id, stripe_ids.CHECKOUT_SESSION)}"
