"""Balance transactions of Stripe's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Final

from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.objects import parts
from services.gateway.stripe_api.transport import PAGE_SIZE, Transport
from services.shared.codec import Json

PATH: Final = "/v1/balance_transactions"


class BalanceCalls:
    """Reads the platform's balance transactions, page by page; a page has its newest first."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._is_page = partial(outcomes.is_list, of_type="balance_transaction")

    async def newer(self, balance_transaction_id: str) -> Json:
        """Read the page of those that follow one."""
        return await self._page(ending_before=balance_transaction_id)

    async def older(self, *, since: int, until: int | None = None, after: str = "") -> Json:
        """Read a page of those made in [since, until), in seconds; `after` is the last of the page before."""
        created = {"gte": since} | ({"lt": until} if until is not None else {})
        return await self._page(created=created, **({"starting_after": after} if after else {}))

    async def of(self, source_id: str) -> Sequence[Json]:
        """Read those of one object: of a charge one for each of its captures, of which Stripe takes fewer than fit."""
        return parts(await self._page(source=source_id), "data")

    async def _page(self, **params: str | dict[str, int]) -> Json:
        return await self._transport.get(
            PATH,
            self._is_page,
            may_be_missing=False,
            may_be_denied=False,
            limit=PAGE_SIZE,
            expand=["data.source"],
            **params,
        )
