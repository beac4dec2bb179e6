"""Disputes of Stripe's."""

from __future__ import annotations

from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class DisputeCalls:
    """Reads disputes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def of_charge(self, charge_id: str) -> list[Json]:
        """Read the disputes and inquiries of a charge, the newest first."""
        return await self._transport.all("/v1/disputes", of_type="dispute", charge=charge_id)
