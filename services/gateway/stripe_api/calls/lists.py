"""Lists of all that Stripe has of one type, page by page, the newest first; and one object that may be missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from services.gateway.errors import StripeRefused, StripeUnavailable
from services.gateway.stripe_api import outcomes, stripe_ids
from services.gateway.stripe_api.transport import PAGE_SIZE, Transport
from services.shared.codec import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One type of object of Stripe's."""

    path: str
    of_type: str
    prefixes: tuple[str, ...]
    """Of its ids."""
    expand: tuple[str, ...] = ()
    """References that are shown as objects."""


class ListCalls:
    """Reads any list."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def page(
        self,
        listed: Listed,
        *,
        since: int | None = None,
        until: int | None = None,
        after: str = "",
        filters: Mapping[str, str] = MappingProxyType({}),
    ) -> Json:
        """Read a page of what was made in [since, until), in seconds; `after` is the last of the page before."""
        created = {name: time for name, time in (("gte", since), ("lt", until)) if time is not None}
        params: dict[str, Any] = {**filters}
        if created:
            params["created"] = created
        if after:
            params["starting_after"] = after
        if listed.expand:
            params["expand"] = [f"data.{one}" for one in listed.expand]
        is_page = partial(outcomes.is_list, of_type=listed.of_type)
        return await self._transport.get(listed.path, is_page, limit=PAGE_SIZE, **params)

    async def find(self, listed: Listed, stripe_id: str) -> Json | None:
        """Read one object; None if Stripe says that there is none such. Raises StripeUnavailable for all else."""
        path = f"{listed.path}/{stripe_ids.in_path(stripe_id, listed.prefixes)}"
        is_one = partial(outcomes.is_object, of_type=listed.of_type)
        expand: dict[str, Any] = {"expand": list(listed.expand)} if listed.expand else {}
        try:
            return await self._transport.get(path, is_one, may_be_missing=True, **expand)
        except StripeRefused as refused:
            if refused.metadata["code"] == outcomes.MISSING:
                return None
            raise StripeUnavailable from refused
