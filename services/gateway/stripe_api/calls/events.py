"""Events of Stripe's as it lists them, the newest first: the platform's own, and those of a connected account."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any, Final

import stripe

from services.gateway.errors import StripeUnavailable
from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.transport import PAGE_SIZE, Transport
from services.shared.codec import Json

PATH: Final = "/v1/events"


class NotPermitted(Exception):
    """The key may not read the events of a seller's account."""


class EventCalls:
    """Reads events; an empty `account_id` means the platform's own.

    Raises StripeRefused for an account that is gone, and for an `after` that is not listed any more; NotPermitted for a
    seller's account in which the key may not read.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def page(self, *, account_id: str, since: datetime, until: datetime | None = None, after: str = "") -> Json:
        """Read a page of what was made since then, and by `until`; `after` is the last of the page before."""
        created = {"gte": int(since.timestamp())}
        if until is not None:
            created["lte"] = int(until.timestamp())
        params: dict[str, Any] = {"created": created}
        if after:
            params["starting_after"] = after
        if account_id:
            params["stripe_account"] = account_id
        is_page = partial(outcomes.is_list, of_type="event")
        try:
            return await self._transport.get(
                PATH, is_page, may_be_missing=True, may_be_denied=True, limit=PAGE_SIZE, **params
            )
        except StripeUnavailable as error:
            if account_id and isinstance(error.__cause__, stripe.PermissionError):
                raise NotPermitted from error
            raise
