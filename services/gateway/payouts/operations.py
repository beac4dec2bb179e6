"""Payouts as Stripe reports them: kept from its events, and once read for the time before the first of those.

An event says whose payout it shows by the account that it comes from, and touches that seller's rows alone; without an
account it shows one of the platform's own. Of one that failed its owner is told; what the platform's do to its
balance is booked by their balance transactions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from services.gateway.errors import PageTokenInvalid, StripeRefused
from services.gateway.notices.noticed import of_payout
from services.gateway.payouts.domain import Payout
from services.gateway.payouts.metrics import PayoutMetrics
from services.gateway.payouts.store import PayoutStore
from services.gateway.sellers.operations import GONE, Sellers
from services.gateway.stripe_api.account_objects import payout
from services.gateway.stripe_api.client import Provider
from services.runtime import crash_points
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import WorkClass
from services.shared import fields
from services.shared.codec import Json
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200
SHOWN_FAILED: Final = timedelta(days=3)
"""How long a payout that failed is counted as such: over a weekend."""
HISTORY: Final = timedelta(days=400)
"""How far back payouts are read that were made before Stripe reported any: a year, and a month to close it. Of a daily
schedule these are four pages of Stripe's."""


class Payouts:
    """Mirrors payouts, and lists them."""

    def __init__(
        self,
        connections: DirectConnections,
        sellers: Sellers,
        provider: Provider,
        *,
        clock: Clock,
        wake: Callable[[WorkClass], None],
    ) -> None:
        """`wake` is called when a notice became due."""
        self._store = PayoutStore(connections, clock=clock)
        self._sellers = sellers
        self._provider = provider
        self._now: Callable[[], datetime] = clock.now
        self._wake = wake

    async def observe(
        self, tenant_id: str, shown: Json, *, account: str | None, shown_time: datetime, is_readable: bool
    ) -> bool:
        """Keep what an event shows of a payout; False if it is of no seller of ours.

        One that is rendered in another version of Stripe's is read instead. It may come twice, late, or after a newer
        one: `domain.later` says what counts.
        """
        seller_id = "" if account is None else await self._sellers.seller_of(tenant_id, account)
        if seller_id is None:
            return False
        if not is_readable:
            shown_time = self._now()
            reading = self._provider.payouts.retrieve(str(shown["id"]), account_id=account or "")
            shown = await crash_points.call("payout.read.stripe", reading)
        seen = payout(shown, seller_id=seller_id, stripe_account_id=account or "", shown_time=shown_time)
        notices = list(of_payout(seen))
        await self._store.record(tenant_id, [seen], notices)
        if notices:
            self._wake(WorkClass.DELIVERIES)
        return True

    async def page(
        self, tenant_id: str, seller_id: str, *, page_size: int, page_token: str
    ) -> tuple[list[Payout], str]:
        """Return payouts of a seller, or of the platform, the newest first, and the token of the next page."""
        size = fields.page_size(page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, after = f"payouts {tenant_id} {seller_id}", None
        if page_token:
            after = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid)
        account_id = (await self._sellers.get(tenant_id, seller_id)).stripe_account_id if seller_id else ""
        if not await self._store.was_read(tenant_id, seller_id, account_id):
            await self._read(tenant_id, seller_id, account_id)
        found = await self._store.page(tenant_id, seller_id, after=after, limit=size + 1)
        page = found[:size]
        token = token_for(_position(page[-1]), walk=walk) if len(found) > size else ""
        return page, token

    async def look(self, tenant_id: str, metrics: PayoutMetrics) -> None:
        """Look up which payouts did not arrive lately, and show it."""
        of_platform, of_sellers = await self._store.failed(tenant_id, since=self._now() - SHOWN_FAILED)
        metrics.fail(of_platform=of_platform, of_sellers=of_sellers)

    async def _read(self, tenant_id: str, seller_id: str, account_id: str) -> None:
        """Read what there was before Stripe reported any. If the process dies in between, the next call reads again."""
        now = self._now()
        try:
            reading = self._provider.payouts.since(now - HISTORY, account_id=account_id)
            found = await crash_points.call("payout.history.stripe", reading)
        except StripeRefused as refusal:
            if refusal.metadata.get("code") not in GONE:
                raise
            return  # nothing is to be read of it any more; what is known stays
        seen = [payout(one, seller_id=seller_id, stripe_account_id=account_id, shown_time=now) for one in found]
        await self._store.record(tenant_id, seen)
        await self._store.note_reading(tenant_id, seller_id, account_id)


def _position(one: Payout) -> str:
    return json.dumps([one.create_time.isoformat(), one.payout_id])


def _parsed(position: str) -> tuple[datetime, str]:
    """Read a place in the list; raises ValueError for what is none."""
    match json.loads(position):
        case [str() as time, str() as name] if name.isprintable() and datetime.fromisoformat(time).tzinfo is not None:
            return datetime.fromisoformat(time), name
    raise ValueError("not a place")
