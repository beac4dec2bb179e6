"""What pages report of their use, passed on to who counts it: names of pages alone, in batches, and lost if need be.

A payment never waits for this, and nothing of it is kept: what cannot be passed on is counted and forgotten.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import aiohttp

from services.bff.metrics import BEACONS_LOST
from services.runtime.observability.metrics import Meter
from services.runtime.work.loops import repeating

WAITING_MAX: Final = 2_000
"""Reports that wait; ~200 B each."""
BATCH_MAX: Final = 500
EVERY_S: Final = 5.0
TIMEOUT: Final = aiohttp.ClientTimeout(total=3)
_logger = logging.getLogger(__name__)


class Analytics:
    """Gathers reports, and passes them on."""

    def __init__(self, url: str | None, *, meter: Meter, client: aiohttp.ClientSession) -> None:
        """Without a `url` nothing is passed on."""
        self._url = url
        self._client = client
        self._lost = meter.counter(BEACONS_LOST)
        self._waiting: deque[dict[str, str]] = deque()

    def add(self, *, tenant_id: str, name: str, page: str, time: datetime) -> None:
        """Take a report."""
        if self._url is None:
            return
        if len(self._waiting) >= WAITING_MAX:
            self._lost.add()
            return
        self._waiting.append({"tenant": tenant_id, "name": name, "page": page, "time": time.isoformat()})

    async def pass_on(self) -> None:
        """Pass on what waits, once; what is refused is lost."""
        batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
        if not batch or self._url is None:
            return
        try:
            async with self._client.post(self._url, json=batch, allow_redirects=False) as answer:
                answer.raise_for_status()
        except (aiohttp.ClientError, TimeoutError) as error:
            self._lost.add(amount=len(batch))
            _logger.warning("%d reports of pages were not passed on: %r", len(batch), error)


@asynccontextmanager
async def passing_on(url: str | None, *, meter: Meter) -> AsyncIterator[Analytics]:
    """Yield what takes reports, which are passed on while inside."""
    async with aiohttp.ClientSession(timeout=TIMEOUT) as client:
        analytics = Analytics(url, meter=meter, client=client)
        async with repeating(analytics.pass_on, name="reports of pages", every_s=EVERY_S):
            yield analytics
