"""Events of Stripe's as it lists them, the newest first: the platform's own, and those of a connected account."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.transport import PAGE_SIZE, Transport
from services.shared.codec import Json

PATH: Final = "/v1/events"


class EventCalls:
    """Reads events; an empty `account_id` means the platform's own.

    Raises StripeRefused for an account that is gone, and for an `after` that is not listed any more.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def page(self, *, account_id: str, since: datetime, after: str = "") -> Json:
        """Read a page of what was made since then; `after` is the last of the page before."""
        params: dict[str, Any] = {"created": {"gte": int(since.timestamp())}}
        if after:
            params["starting_after"] = after
        if account_id:
            params["stripe_account"] = account_id
        is_page = partial(outcomes.is_list, of_type="event")
        return await self._transport.get(PATH, is_page, may_be_missing=True, limit=PAGE_SIZE, **params)
