"""Connected accounts of Stripe's: those of sellers."""

from __future__ import annotations

from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class AccountCalls:
    """Creates and reads sellers' accounts."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a seller's account."""
        got = await self._transport.post("/v1/accounts", params, key=key, is_repeat=is_repeat, of_type="account")
        return got.object

    async def retrieve(self, account_id: str) -> Json:
        """Read a seller's account. Raises StripeRefused too: whoever asks may name one that is not ours."""
        path = f"/v1/accounts/{stripe_ids.in_path(account_id, stripe_ids.ACCOUNT)}"
        return await self._transport.get(path, partial(outcomes.is_object, of_type="account"), may_be_missing=True)
