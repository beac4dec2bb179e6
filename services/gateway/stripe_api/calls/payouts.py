"""Payouts of Stripe's: the platform's own, and those of a connected account, which is named beside the call."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import Transport
from services.shared.codec import Json


class PayoutCalls:
    """Reads payouts; an empty `account_id` means the platform's own.

    Raises StripeRefused for an account that is gone.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def retrieve(self, payout_id: str, *, account_id: str) -> Json:
        """Read a payout."""
        path = f"/v1/payouts/{stripe_ids.in_path(payout_id, stripe_ids.PAYOUT)}"
        is_payout = partial(outcomes.is_object, of_type="payout")
        return await self._transport.get(path, is_payout, may_be_missing=True, **_on_behalf_of(account_id))

    async def since(self, time: datetime, *, account_id: str) -> list[Json]:
        """Read all that were made since then."""
        return await self._transport.all(
            "/v1/payouts",
            of_type="payout",
            may_be_missing=True,
            created={"gte": int(time.timestamp())},
            **_on_behalf_of(account_id),
        )


def _on_behalf_of(account_id: str) -> dict[str, Any]:
    return {"stripe_account": account_id, "may_be_denied": True} if account_id else {}
