"""Looks at Stripe's events again and again: what is new of them, and what became of those that waited. For `listen`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from batzen.gateway.v1 import ops_pb2 as pb

OVERLAP: Final = timedelta(seconds=30)
"""Each look begins so long before the newest event: one that came in earlier may be written later."""
INSTANT: Final = timedelta(microseconds=1)
"""The gateway's clock has no finer ones."""
PAGE_MAX: Final = 200
PAGES_MAX: Final = 50
"""Of one list: 10,000 events."""
SEEN_MAX: Final = 20_000
"""More than come within the overlap."""
DECIDED_MAX: Final = 50
"""Events that waited, and are read alone in one look; the others are in the next."""

List = Callable[[pb.ListWebhookEventsRequest], Awaitable[pb.ListWebhookEventsResponse]]
"""Asks for a page of events."""


class Looks:
    """What was shown, and as what: so that each event comes once, and once more when it does not wait any longer."""

    def __init__(self, ask: List, *, begin: datetime, payment_id: str, types: Sequence[str]) -> None:
        self._ask = ask
        self._begin = begin
        self._wanted = pb.ListWebhookEventsRequest(payment_id=payment_id, types=types, page_size=PAGE_MAX)
        self._states: OrderedDict[str, int] = OrderedDict()
        self._waiting: OrderedDict[str, datetime] = OrderedDict()
        """When those that were shown as waiting came in."""

    async def look(self) -> list[pb.WebhookEvent]:
        """Return, the oldest first, those not returned as they stand now. Where it raises, nothing is lost."""
        found, _ = await self._listed(self._begin)
        found += await self._decided()
        news = list(self._news(found))
        if found:
            self._begin = max(self._begin, max(map(_received, found)) - OVERLAP)
        return news

    async def _decided(self) -> list[pb.WebhookEvent]:
        """Return those that waited before the time that is looked at, and do not any more."""
        older = {event_id: time for event_id, time in self._waiting.items() if time < self._begin}
        if not older:
            return []
        waiting, is_all = await self._listed(
            min(older.values()), until=self._begin, states=[pb.WebhookEvent.STATE_WAITING]
        )
        known_since = min(older.values()) if is_all else _received(waiting[-1])
        still = {one.event_id for one in waiting}
        gone = [event_id for event_id, time in older.items() if event_id not in still and time >= known_since]
        decided: list[pb.WebhookEvent] = []
        for event_id in gone[:DECIDED_MAX]:
            at_once, _ = await self._listed(older[event_id], until=older[event_id] + INSTANT)
            decided += [one for one in at_once if one.event_id == event_id]
        for event_id in {*gone[:DECIDED_MAX]} - {one.event_id for one in decided}:
            del self._waiting[event_id]  # kept no longer
        return decided

    async def _listed(
        self, since: datetime, *, until: datetime | None = None, states: Sequence[pb.WebhookEvent.State] = ()
    ) -> tuple[list[pb.WebhookEvent], bool]:
        """Return events, the newest first, and whether they are all."""
        request = pb.ListWebhookEventsRequest(states=states)
        request.MergeFrom(self._wanted)
        request.start_time.FromDatetime(since)
        if until is not None:
            request.end_time.FromDatetime(until)
        found: list[pb.WebhookEvent] = []
        for _ in range(PAGES_MAX):
            page = await self._ask(request)
            found += page.events
            request.page_token = page.next_page_token
            if not request.page_token:
                return found, True
        return found, False

    def _news(self, found: Sequence[pb.WebhookEvent]) -> Iterator[pb.WebhookEvent]:
        for one in sorted(found, key=_received):
            if self._states.get(one.event_id) == one.state:
                continue
            self._states[one.event_id] = one.state
            self._states.move_to_end(one.event_id)
            self._waiting.pop(one.event_id, None)
            if one.state == pb.WebhookEvent.STATE_WAITING:
                self._waiting[one.event_id] = _received(one)
            for kept in (self._states, self._waiting):
                while len(kept) > SEEN_MAX:
                    kept.popitem(last=False)
            yield one


def _received(one: pb.WebhookEvent) -> datetime:
    return one.receive_time.ToDatetime(UTC)
