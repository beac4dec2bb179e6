"""Customers of Stripe's, and what was made for one."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Final

from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.stripe_api import stripe_ids
from services.gateway.stripe_api.outcomes import MISSING, is_object
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json

CLOCKS_APART_MAX: Final = timedelta(days=1)
"""How far Stripe's clock may be from ours when we ask for what is newer than something of ours: what was made is not
found otherwise, and made once more. A machine whose clock was set to local time is up to 14 hours off.
"""


class CustomerCalls:
    """Creates, changes, reads and deletes customers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a customer."""
        got = await self._transport.post("/v1/customers", params, key=key, is_repeat=is_repeat, of_type="customer")
        return got.object

    async def update(self, customer_id: str, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Change a customer's details."""
        path = f"/v1/customers/{stripe_ids.in_path(customer_id, stripe_ids.CUSTOMER)}"
        return (await self._transport.post(path, params, key=key, is_repeat=is_repeat, of_type="customer")).object

    async def delete(self, customer_id: str, *, key: str) -> Json:
        """Delete a customer, with the methods kept with it."""
        path = f"/v1/customers/{stripe_ids.in_path(customer_id, stripe_ids.CUSTOMER)}"
        return (await self._transport.delete(path, key=key, of_type="customer")).object

    async def is_gone(self, customer_id: str) -> bool:
        """Whether a customer was deleted, or is not known at Stripe."""
        return await self.find(customer_id) is None

    async def find(self, customer_id: str) -> Json | None:
        """Read a customer; None where it was deleted, which Stripe says of it for some time, or is not known there."""
        path = f"/v1/customers/{stripe_ids.in_path(customer_id, stripe_ids.CUSTOMER)}"
        try:
            shown = await self._transport.get(path, partial(is_object, of_type="customer"), may_be_missing=True)
        except StripeRefused as refusal:
            if refusal.metadata["code"] == MISSING:
                return None
            raise StripeUnavailable from refusal
        return None if shown.get("deleted") is True else shown


async def made_for(transport: Transport, path: str, customer_id: str, *, since: datetime, of_type: str) -> list[Json]:
    """Read what of one type was made for a customer since then; nothing of one who is gone.

    A list is up to date at once; a search is not, and is never asked.
    """
    begin = int((since - CLOCKS_APART_MAX).timestamp())
    try:
        return await transport.all(
            path,
            of_type=of_type,
            may_be_missing=True,
            customer=customer_id,
            created={"gte": begin},
        )
    except StripeRefused as refusal:
        if (refusal.metadata["code"], refusal.metadata["param"]) == (MISSING, "customer"):
            return []
        raise StripeUnavailable from refusal
