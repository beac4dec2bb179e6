"""The keys of personal data: made when they are needed, kept wrapped, known in memory for minutes, destroyed for good.

Each payer and each seller has one, and the next one if they come back after an erasure. What arrives before its payer
is known is encrypted under the tenant's key of the day, which is destroyed when the raw bodies of that day are gone.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from services.gateway.personal import cipher, statements
from services.gateway.personal.cipher import DataKey
from services.gateway.personal.metrics import UNCOUNTED, KeyMetrics
from services.runtime.database.connections import DirectConnections
from services.runtime.database.request_expiry import FORGET_BATCH, FORGET_EVERY_S, REQUESTS_KEPT
from services.runtime.process.key_ring import KeyRing, Unreadable
from services.runtime.work.loops import repeating

KNOWN_MAX: Final = 10_000
"""Keys in memory, ~0.5 KB each; the one that was used first goes first, and is read again."""
KNOWN_S: Final = 300.0
"""How long a key is used from memory that may be destroyed elsewhere: what it encrypts then nobody can read."""
TRIES_MAX: Final = 5
"""To find the key that another process is just making."""
HELD: Final = timedelta(days=1) + REQUESTS_KEPT
"""From the begin of its day on a day's key is kept for so long, as are the raw bodies under it."""

_logger = logging.getLogger(__name__)


def holder_of(payer_id: str) -> str:
    """Return whose key a payer's personal data is under."""
    return f"payer/{payer_id}"


def seller_holder_of(seller_id: str) -> str:
    """Return whose key a seller's personal data is under."""
    return f"seller/{seller_id}"


def day_of(time: datetime) -> str:
    """Return under whose key that stands whose payer is not known yet."""
    return f"day/{time.astimezone(UTC):%Y-%m-%d}"


class PersonalKeys:
    """Finds, makes and destroys keys. Raises `DependencyUnavailable` when the database is away."""

    def __init__(
        self,
        connections: DirectConnections,
        ring: KeyRing,
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        metrics: KeyMetrics = UNCOUNTED,
    ) -> None:
        self._connections = connections
        self._ring = ring
        self._now = now
        self._monotonic = monotonic
        self._metrics = metrics
        self._known: OrderedDict[tuple[str, str], tuple[DataKey, float]] = OrderedDict()

    def known(self, tenant_id: str, holder: str) -> DataKey | None:
        """Return a holder's key from memory, None where it is not there."""
        found = self._known.get((tenant_id, holder))
        return found[0] if found is not None and self._monotonic() < found[1] else None

    async def of_day(self, tenant_id: str) -> tuple[str, DataKey]:
        """Return the key of today, and its holder."""
        holder = day_of(self._now())
        return holder, self.known(tenant_id, holder) or await self.of(tenant_id, holder, point="webhook.key")

    async def of(self, tenant_id: str, holder: str, *, point: str = "personal.key") -> DataKey:
        """Return the key that a holder has now, making one where there is none."""
        new = self._ring.new_key()
        wrapped = self._ring.wrap(new, tenant_id, holder)
        for _ in range(TRIES_MAX):
            async with self._connections.statement(point) as connection:
                row = await connection.fetchrow(
                    statements.FIND_OR_MAKE, tenant_id, holder, wrapped, self._ring.first_id, self._now()
                )
            if row is not None:  # else another process is just making it
                if row["is_made"]:
                    self._metrics.made()
                return self._remember(tenant_id, holder, row["generation"], row["wrapped_key"])
        raise Unreadable

    async def read(self, tenant_id: str, holder: str, generation: int) -> DataKey:
        """Return the key of a generation; raise Unreadable where it is destroyed."""
        known = self.known(tenant_id, holder)
        if known is not None and known.generation == generation:
            return known
        async with self._connections.statement(None) as connection:
            wrapped = await connection.fetchval(statements.READ, tenant_id, holder, generation)
        if wrapped is None:
            raise Unreadable
        return DataKey(self._ring.unwrap(wrapped, tenant_id, holder), generation=generation)

    async def decrypt(self, tenant_id: str, holder: str, encrypted: bytes, *about: str) -> bytes:
        """Return what was encrypted under any key of a holder; raise Unreadable where that is destroyed."""
        key = await self.read(tenant_id, holder, cipher.generation_of(encrypted))
        return key.decrypt(encrypted, tenant_id, holder, *about)

    def forget(self, tenant_id: str, holder: str) -> None:
        """Have a key no longer in memory that was destroyed."""
        self._known.pop((tenant_id, holder), None)

    async def rewrap(self) -> None:
        """Wrap under the first key what others wrap, so that they may go from the settings."""
        while True:
            first_id = self._ring.first_id
            async with self._connections.statement(None) as connection:
                rows = await connection.fetch(statements.WRAPPED_BY_OTHERS, first_id, FORGET_BATCH)
            anew, lost = [], 0
            for row in rows:
                about = (row["tenant_id"], row["holder"])
                try:
                    key = self._ring.unwrap(row["wrapped_key"], *about)
                except Unreadable:
                    lost += 1
                    continue
                anew.append((*about, row["generation"], row["wrapped_key"], self._ring.wrap(key, *about)))
            if lost:
                _logger.error("no key in BATZEN_PERSONAL_KEY opens %d keys of personal data, or more", lost)
            if anew:
                async with self._connections.statement("sweep.rewrap") as connection:
                    await connection.execute(statements.REWRAP, *map(list, zip(*anew, strict=True)), first_id)
            if lost or len(rows) < FORGET_BATCH:
                return

    @asynccontextmanager
    async def tended(self, *, every_s: float = FORGET_EVERY_S) -> AsyncIterator[None]:
        """Wrap keys anew and destroy those of old days, at once, and again and again while inside."""
        async with (
            repeating(self.rewrap, name="personal_keys", every_s=every_s),
            repeating(self.destroy_days, name="personal_keys", every_s=every_s),
        ):
            yield

    async def destroy_days(self) -> None:
        """Destroy the keys of days of which no raw body is kept any more."""
        async with self._connections.statement("sweep.destroy_days") as connection:
            now = self._now()
            rows = await connection.fetch(statements.DESTROY_DAYS, day_of(now - HELD), now, now - REQUESTS_KEPT)
        for row in rows:
            self.forget(row["tenant_id"], row["holder"])
        self._metrics.destroyed(len(rows))

    def _remember(self, tenant_id: str, holder: str, generation: int, wrapped: bytes) -> DataKey:
        key = DataKey(self._ring.unwrap(wrapped, tenant_id, holder), generation=generation)
        self._known[tenant_id, holder] = (key, self._monotonic() + KNOWN_S)
        self._known.move_to_end((tenant_id, holder))
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return key
