"""Refunds of Stripe's."""

from __future__ import annotations

from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport, as_it_is_now
from services.shared.codec import Json


class RefundCalls:
    """Creates and reads refunds."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a refund."""
        got = await self._transport.post("/v1/refunds", params, key=key, is_repeat=is_repeat, of_type="refund")
        if got.is_replayed:
            return await as_it_is_now(self.retrieve(str(got.object["id"])))
        return got.object

    async def retrieve(self, refund_id: str) -> Json:
        """Read a refund."""
        path = f"/v1/refunds/{stripe_ids.in_path(refund_id, stripe_ids.REFUND)}"
        return await self._transport.get(path, partial(outcomes.is_object, of_type="refund"))

    async def of_intent(self, intent_id: str) -> list[Json]:
        """Read the refunds of an intent, the newest first."""
        return await self._transport.all("/v1/refunds", of_type="refund", payment_intent=intent_id)
