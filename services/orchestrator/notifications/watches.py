"""Watches of notifications: each reads on after the number that it has, when there is more.

What a watch sends is read from the table, by numbers that become visible in their order, so it misses and repeats
nothing. That there is more is a hint alone: at once where this process told the recipient, by a look at all recipients
that are watched where another did.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from services.errors import FieldInvalid
from services.orchestrator.notifications.domain import Recipient
from services.orchestrator.notifications.metrics import UNCOUNTED, NotificationMetrics
from services.orchestrator.notifications.store import Notification, NotificationStore
from services.runtime.work.loops import repeating

LOOK_EVERY_S: Final = 1.0
"""How late a watch hears of what another process told; one statement for all that are watched here."""
SIGN_OF_LIFE_S: Final = 15.0
"""Below the 60 s after which proxies cut a quiet stream."""
PAGE: Final = 200

Watched = tuple[str, Recipient]
"""A tenant's recipient."""


class NotificationWatches:
    """The watches of this process."""

    def __init__(
        self,
        store: NotificationStore,
        *,
        sign_of_life_s: float = SIGN_OF_LIFE_S,
        metrics: NotificationMetrics = UNCOUNTED,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._sign_of_life_s = sign_of_life_s
        self._watches: dict[Watched, dict[_Watch, None]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody watches."""
        return not self._watches

    def told(self, tenant_id: str, recipients: Collection[Recipient]) -> None:
        """Have watches of these recipients look for more."""
        for recipient in recipients:
            for watch in self._watches.get((tenant_id, recipient), ()):
                watch.has_more.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look for what other processes told while inside."""
        async with repeating(self.look, name="notification_watches", every_s=LOOK_EVERY_S):
            yield

    async def look(self) -> None:
        """Have those look for more who were told more than they have."""
        if not self._watches:
            return
        for watched, last_number in (await self._store.last_numbers(tuple(self._watches))).items():
            for watch in self._watches.get(watched, ()):
                if watch.number < last_number:
                    watch.has_more.set()

    async def watch(
        self, tenant_id: str, recipient: Recipient, *, after: int | None
    ) -> AsyncIterator[tuple[Sequence[Notification], int]]:
        """Yield what is new after a number, and the number to go on after; nothing new is a sign of life.

        The first says where the watch begins. Raises `FieldInvalid` for a number that is still to come.
        """
        watched = (tenant_id, recipient)
        last_number = (await self._store.last_numbers([watched])).get(watched, 0)
        if after is not None and after > last_number:
            raise FieldInvalid(
                field="after_notification_id", detail="must be the number of a notification that there is"
            )
        watch = _Watch(last_number if after is None else after)
        self._watches.setdefault(watched, {})[watch] = None
        self._metrics.watched(1)
        try:
            yield (), watch.number
            while True:
                watch.has_more.clear()
                found = await self._store.after(tenant_id, recipient, watch.number, limit=PAGE)
                if found:
                    watch.number = found[-1].number
                    yield found, watch.number
                    continue
                if not await watch.waited(self._sign_of_life_s):
                    yield (), watch.number
        finally:
            self._metrics.watched(-1)
            of_recipient = self._watches[watched]
            del of_recipient[watch]
            if not of_recipient:
                del self._watches[watched]


class _Watch:
    """How far one has come."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.has_more = asyncio.Event()

    async def waited(self, at_most_s: float) -> bool:
        """Wait until there is more; False if there is not for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(at_most_s):
                await self.has_more.wait()
        return self.has_more.is_set()
