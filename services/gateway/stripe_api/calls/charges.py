"""Charges of Stripe's."""

from __future__ import annotations

from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class ChargeCalls:
    """Reads charges."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def retrieve(self, charge_id: str) -> Json:
        """Read a charge with what it came to on the platform's balance."""
        path = f"/v1/charges/{stripe_ids.in_path(charge_id, stripe_ids.CHARGE)}"
        is_charge = partial(outcomes.is_object, of_type="charge")
        return await self._transport.get(path, is_charge, expand=["balance_transaction"])
