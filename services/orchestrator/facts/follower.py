"""Follows each tenant's payments at status, and keeps what their revisions say.

A tenant's feed is a row of due work: whoever has its lease keeps the stream open for a while, then gives the row back,
and it is due again. What a stream brings is kept in the transaction that moves the cursor. So a process that dies
anywhere leaves a cursor after which nothing was kept; and what comes twice is known by its payment's revision.

Before its first stream, and where a cursor leads nowhere any more, all payments are listed: of each the revisions that
were not heard are read from its history. The feed goes on where it was as the list began.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from services.errors import PeerUnavailable
from services.orchestrator.facts.feed_rows import FeedLost, FeedRows, Gap, Place
from services.orchestrator.facts.metrics import UNCOUNTED, FactMetrics
from services.orchestrator.facts.rules import Revision, is_heard, last_heard
from services.orchestrator.peers.feed import CursorLost, Feed, News
from services.runtime import crash_points
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered

TURN_S: Final = 30.0
"""How long one row keeps its slot at most."""
CROWDED_REST: Final = timedelta(seconds=2)
"""Where there are more tenants than slots a turn ends once it has caught up, and the next comes after this."""
RESUMED_AFTER: Final = timedelta(milliseconds=200)
"""After a stream broke that had begun, as each does when its server is replaced."""
HISTORIES_AT_ONCE: Final = 8
"""Payments of a list whose histories are read at once."""
KEPT_AT_ONCE: Final = 200
"""Revisions of a list in one transaction, as in a message of a feed: each is written for up to 50 receivers, and no
statement may take 5 s."""
RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(milliseconds=200), delay_max=timedelta(seconds=5))
"""After a stream could not be begun."""
NOW: Final = timedelta(0)

_logger = logging.getLogger(__name__)


class Follower:
    """Follows what is due."""

    def __init__(
        self,
        rows: FeedRows,
        feed: Feed,
        *,
        now: Callable[[], datetime],
        metrics: FactMetrics = UNCOUNTED,
    ) -> None:
        self._rows = rows
        self.feed = feed
        self._now = now
        self._metrics = metrics
        self._is_ending = False
        self._waiting: set[asyncio.Timeout] = set()
        self.is_crowded = False
        """Whether there are more tenants than slots."""
        self.kind = WorkKind(
            name="feeds",
            work_class=WorkClass.FEEDS,
            table="feeds",
            key={"name": "text"},
            retry=RETRY,
            handler=self.follow,
        )
        """Feeds as work."""

    async def follow(self, work: Work) -> None:
        """Follow a tenant for a turn."""
        await self._take_turn(work, until_caught_up=self.is_crowded)

    async def catch_up(self, work: Work) -> None:
        """Hear of a tenant what there is to hear, and no more."""
        await self._take_turn(work, until_caught_up=True)

    def end(self) -> None:
        """Have each turn come to its end: the process stops."""
        self._is_ending = True
        for limit in self._waiting:
            limit.reschedule(asyncio.get_running_loop().time())

    async def _take_turn(self, work: Work, *, until_caught_up: bool) -> None:
        until = asyncio.get_running_loop().time() + TURN_S
        try:
            place = await self._rows.place(work.tenant_id, fence=work.fence)
            while place.is_listing:
                if self._is_over(until):
                    raise RetryLater(NOW)
                with call_context.acting_for(work.tenant_id):
                    place = await self._list(work, place)
            await self._stream(work, place, until=until, until_caught_up=until_caught_up)
        except FeedLost:
            _logger.info("%s is followed by another process", work.name)
            return
        except CursorLost:
            _logger.warning("%s begins anew: what comes after its cursor is forgotten, or never was", work.name)
            await self._rows.begin_anew(work.tenant_id, fence=work.fence)
        raise RetryLater(CROWDED_REST if self.is_crowded else NOW)

    def _is_over(self, until: float) -> bool:
        return self._is_ending or asyncio.get_running_loop().time() >= until

    async def _stream(self, work: Work, place: Place, *, until: float, until_caught_up: bool) -> None:
        begin_time, is_first = self._now(), True
        async with self.feed.following(place.cursor, until_caught_up=until_caught_up) as news:
            while True:
                try:
                    came = await self._next(news, until)
                except PeerUnavailable:
                    if is_first:
                        raise
                    raise RetryLater(jittered(RESUMED_AFTER)) from None
                if came is None:
                    break
                is_silent = not came.revisions and not is_first  # the first message says where the feed begins
                heard_time = self._now() if is_silent else came.revisions[-1].record_time if came.revisions else None
                is_first = False
                if came.revisions or is_silent:
                    # What follows is no part of this turn, which may last long and hear of many payments.
                    with call_context.acting_for(work.tenant_id):
                        await self._advance(work, came, heard_time=heard_time)
        if until_caught_up and not self._is_over(until):
            await self._rows.advance(work.tenant_id, None, (), fence=work.fence, heard_time=begin_time)

    async def _next(self, news: AsyncIterator[News], until: float) -> News | None:
        """Return what comes next; None where the stream, the turn or the process comes to its end before."""
        limit = asyncio.timeout_at(until)
        self._waiting.add(limit)
        try:
            async with limit:
                return None if self._is_ending else await anext(news, None)
        except TimeoutError:
            return None
        finally:
            self._waiting.discard(limit)

    async def _advance(self, work: Work, came: News, *, heard_time: datetime | None) -> None:
        place = Place(cursor=came.cursor) if came.cursor else None
        revisions: Sequence[Revision] = came.revisions
        try:
            await self._rows.advance(work.tenant_id, place, revisions, fence=work.fence, heard_time=heard_time)
        except Gap as gap:
            _logger.warning("%s missed revisions of %d payments, which are read now", work.name, len(gap.heard))
            missing = [await self._history(payment_id, revision) for payment_id, revision in gap.heard.items()]
            revisions = [*(one for history in missing for one in history), *revisions]
            await self._rows.advance(
                work.tenant_id, place, revisions, fence=work.fence, heard_time=heard_time, is_complete=True
            )
        for one in came.revisions:
            if not one.is_imported:
                self._metrics.heard(lag_s=(self._now() - one.record_time).total_seconds())

    def _recorded(self, revisions: Sequence[Revision]) -> datetime | None:
        """Return when the last of some revisions was recorded; that of an imported one says nothing of the feed."""
        if not revisions:
            return None
        return self._now() if revisions[-1].is_imported else revisions[-1].record_time

    async def _history(self, payment_id: str, revision: int) -> list[Revision]:
        now = await crash_points.call("feeds.payment", self.feed.payment(payment_id))
        return await crash_points.call("feeds.history", self.feed.since(now, revision))

    async def _list(self, work: Work, place: Place) -> Place:
        """Hear of one page of all payments what was not heard; return how far that is."""
        page = await crash_points.call("feeds.list", self.feed.page(place.list_token))
        cursor = place.list_cursor or page.cursor
        heard = await self._rows.heard(work.tenant_id, [one.payment_id for one in page.payments])
        unheard = [one for one in page.payments if not is_heard(heard, one)]
        revisions: list[Revision] = []
        for at in range(0, len(unheard), HISTORIES_AT_ONCE):
            histories = [self.feed.since(one, last_heard(heard, one)) for one in unheard[at : at + HISTORIES_AT_ONCE]]
            for history in await asyncio.gather(*histories):
                revisions += history
        is_last = not page.next_token
        now = Place(
            cursor=cursor if is_last else place.cursor,
            list_token=page.next_token,
            list_cursor="" if is_last else cursor,
        )
        for at in range(0, len(revisions), KEPT_AT_ONCE):
            some = revisions[at : at + KEPT_AT_ONCE]
            await self._rows.advance(work.tenant_id, None, some, fence=work.fence, is_complete=True)
        await self._rows.advance(work.tenant_id, now, (), fence=work.fence)
        return now
