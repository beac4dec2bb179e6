"""Connected accounts of Stripe's: those of sellers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class AccountCalls:
    """Creates and reads sellers' accounts, and makes links to their onboarding."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(self, params: Json, *, key: str, is_repeat: bool = False) -> Json:
        """Create a seller's account."""
        got = await self._transport.post("/v1/accounts", params, key=key, is_repeat=is_repeat, of_type="account")
        return got.object

    async def create_link(self, params: Json, *, key: str) -> Json:
        """Make a link to an account's onboarding, which has no id."""
        got = await self._transport.post(
            "/v1/account_links", params, key=key, is_repeat=False, of_type="account_link", is_sound=_is_link
        )
        return got.object

    async def retrieve(self, account_id: str) -> Json:
        """Read a seller's account. Raises StripeRefused too: whoever asks may name one that is not ours."""
        path = f"/v1/accounts/{stripe_ids.in_path(account_id, stripe_ids.ACCOUNT)}"
        return await self._transport.get(path, partial(outcomes.is_object, of_type="account"), may_be_missing=True)


def _is_link(body: object) -> bool:
    return (
        isinstance(body, Mapping)
        and body.get("object") == "account_link"
        and isinstance(body.get("url"), str)
        and isinstance(body.get("expires_at"), int)
    )
