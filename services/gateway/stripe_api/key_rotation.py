"""Stripe's key is replaced while we serve: a new one is used from when it was seen to open the same account.

Until then, and if it does not, everything goes on by the key that is used. That is the safe side: by another account's
key calls would be made twice (`platform_account.py`), while a key that was replaced and has not expired at Stripe is as
good as the new one. A key of another account, or one that Stripe does not take, is said as an error, again and again,
until the file is mended.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.platform_account import PlatformAccount
from services.runtime.observability.metrics import Gauge
from services.runtime.process.followed import Followed
from services.runtime.process.lifecycle import StartRefused
from services.runtime.work.loops import repeating

LOOK_EVERY_S: Final = 5.0
"""Between two looks at the file. The old key has to be good for as long, and for the calls under way."""
ASK_AGAIN_EVERY: Final = 12
"""After how many looks a key that was refused is asked about again: it may be Stripe that does not know it yet."""

_logger = logging.getLogger(__name__)


class KeyRotation:
    """Follows the key, and has the provider use it."""

    def __init__(
        self,
        key: Followed[str],
        provider: Provider,
        account: PlatformAccount,
        *,
        in_use: str,
        is_refused: Gauge,
    ) -> None:
        self._key = key
        self._provider = provider
        self._account = account
        self._in_use = in_use
        self._refused: str | None = None
        self._looks = 0
        self._is_refused = is_refused
        self._is_refused.set(0)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Follow while inside."""
        async with repeating(self.look, name="Looking for a new Stripe key", every_s=LOOK_EVERY_S, rests_first=True):
            yield

    async def look(self) -> None:
        """Use the file's key if it is another and may be used. Raises `ServiceError` if that is not known."""
        key = self._key.current()
        if key == self._in_use:
            self._refused = None
            self._is_refused.set(0)
            return
        self._looks += 1
        if key == self._refused and self._looks % ASK_AGAIN_EVERY:
            return
        try:
            await self._account.verify_key(self._provider, key)
        except StartRefused as refusal:
            self._refused, self._looks = key, 0
            self._is_refused.set(1)
            _logger.error("The new Stripe key is not used, the old one still is: %s", refusal)
            return
        self._provider.use(key)
        self._in_use, self._refused = key, None
        self._is_refused.set(0)
        _logger.info("The new Stripe key is used")
