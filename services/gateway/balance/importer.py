"""Reads the platform's balance transactions from Stripe, in their order, and has each kept and booked once.

Reading goes on from the newest that is kept, in bounded steps, whenever something says that money moved, and from time
to time without that. What Stripe makes visible late, behind that place, is looked for now and then; what is later still
the daily reconciliation finds. If the process dies anywhere, the next one reads the same page again, and nothing is
kept twice.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Final

from services.errors import Aborted, ResourceExhausted, Unavailable
from services.gateway.balance.domain import BalanceTransaction
from services.gateway.balance.metrics import BalanceMetrics
from services.gateway.balance.store import LATE_FOR, BalanceStore, Mark, Position
from services.gateway.stripe_api.balance_objects import balance_transaction
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import parts
from services.runtime import crash_points
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered
from services.runtime.work.loops import repeating
from services.shared.codec import Json

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=30), delay_max=timedelta(minutes=15))
"""It is never given up: what cannot be read today is read tomorrow."""
EVERY: Final = timedelta(minutes=1)
"""Between two readings that nothing asks for."""
HINTED_EVERY_S: Final = 1.0
"""However often money moves, so often one process asks for a reading."""
PAGES_MAX: Final = 50
"""Of one step: 5,000 balance transactions, before others have their turn."""
SWEEP_EVERY: Final = timedelta(minutes=10)
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)

_logger = logging.getLogger(__name__)


class BalanceImport:
    """The work of reading."""

    def __init__(self, store: BalanceStore, provider: Provider, *, now: Callable[[], datetime]) -> None:
        self._store = store
        self._provider = provider
        self._now = now
        self._is_hinted = False

    @property
    def work(self) -> WorkKind:
        """The balances that are read: one of each tenant."""
        return WorkKind(
            name="balance_reads",
            work_class=WorkClass.READS,
            table="balance_reads",
            key={"name": "text"},
            retry=RETRY,
            handler=self.read,
        )

    async def read(self, work: Work) -> None:
        """Read what is new, and then rest."""
        try:
            is_whole = await self.read_on(work.tenant_id)
            if is_whole:
                await self._sweep(work.tenant_id)
        except AWAY as error:
            raise RetryLater(jittered(RETRY.first_delay)) from error
        raise RetryLater(jittered(EVERY) if is_whole else timedelta())

    def hint(self) -> None:
        """Remember that money moved: what says so need not wait for the reading."""
        self._is_hinted = True

    async def begin(self, tenant_id: str) -> None:
        """Have it read by itself from now on, by whoever does due work."""
        await self._store.begin(tenant_id, within=EVERY)

    @asynccontextmanager
    async def reading(self, tenant_id: str) -> AsyncIterator[None]:
        """Have it read by itself from now on; soon after a hint while inside.

        A hint that is lost with its process costs `EVERY`.
        """

        async def step() -> None:
            if self._is_hinted:
                self._is_hinted = False
                await self._store.demand(tenant_id)

        await self.begin(tenant_id)
        async with repeating(step, name="balance-hints", every_s=HINTED_EVERY_S, is_vital=False):
            yield

    async def look(self, tenant_id: str, metrics: BalanceMetrics) -> None:
        """Show for how long it was not read to its end."""
        since = await self._store.read_time(tenant_id)
        metrics.stand(age=self._now() - since if since is not None else timedelta())

    async def read_on(self, tenant_id: str) -> bool:
        """Keep what follows the newest that is kept; False when there is more than one step reads."""
        position = await self._store.position(tenant_id)
        newest_id = position.newest_id
        if not newest_id:
            return await self._read_first(tenant_id, position)
        for _ in range(PAGES_MAX):
            page = await crash_points.call("balance.stripe", self._provider.balance.newer(newest_id))
            shown = read_page(page)
            if not shown:
                return True
            newest_id = shown[0].balance_transaction_id
            await self._store.keep(tenant_id, shown, mark=Mark(newest_id=newest_id))
            if not page["has_more"]:
                return True
        return False

    async def keep_between(self, tenant_id: str, since: datetime, until: datetime) -> int:
        """Keep what was made between two times and is not here; return how many those were."""
        kept, after = 0, ""
        for _ in range(PAGES_MAX):
            page = await self._older(since, until, after=after)
            shown = read_page(page)
            missing = await self._store.missing(tenant_id, [one.balance_transaction_id for one in shown])
            late = [one for one in shown if one.balance_transaction_id in missing]
            if late:
                kept += await self._store.keep(tenant_id, late)
            if not shown or not page["has_more"]:
                return kept
            after = shown[-1].balance_transaction_id
        _logger.warning("more than %d pages were not looked through", PAGES_MAX)
        return kept

    async def keep(self, tenant_id: str, shown: Sequence[BalanceTransaction]) -> None:
        """Keep and book those that are not here yet, wherever they were seen."""
        await self._store.keep(tenant_id, shown)

    async def _read_first(self, tenant_id: str, position: Position) -> bool:
        """Keep all there is since the account is ours, the oldest last: only then the newest is known for one."""
        first_id, after = position.first_id, position.after_id
        for _ in range(PAGES_MAX):
            page = await self._older(position.since, None, after=after)
            shown = read_page(page)
            if not shown and not first_id:
                return True  # nothing moved yet
            first_id = first_id or shown[0].balance_transaction_id
            is_last = not shown or not page["has_more"]
            after = shown[-1].balance_transaction_id if shown else after
            mark = Mark(newest_id=first_id if is_last else "", first_id=first_id, after_id=after)
            await self._store.keep(tenant_id, shown, mark=mark)
            if is_last:
                return True
        return False

    async def _sweep(self, tenant_id: str) -> None:
        """Keep what Stripe made visible late."""
        now, swept = self._now(), (await self._store.position(tenant_id)).swept_time
        if swept is not None and now - swept < SWEEP_EVERY:
            return
        await self.keep_between(tenant_id, (swept or now) - LATE_FOR, now)
        await self._store.swept(tenant_id, now)

    async def _older(self, since: datetime, until: datetime | None, *, after: str) -> Json:
        until_s = None if until is None else int(until.timestamp()) + 1
        reading = self._provider.balance.older(since=int(since.timestamp()), until=until_s, after=after)
        return await crash_points.call("balance.stripe", reading)


def read_page(page: Json) -> list[BalanceTransaction]:
    """Read a page, the newest first."""
    return [balance_transaction(one) for one in parts(page, "data")]
