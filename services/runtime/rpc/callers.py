"""What each caller may ask at once and how often: counted here, in memory, by process.

Who asks for more is refused, after a moment: so a caller that asks again at once, as floods do, has as many calls
waiting as its connections carry, instead of as many answered as it can send.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.errors import TooManyCalls
from services.runtime.rpc import call_context
from services.runtime.rpc.access import Access
from services.runtime.rpc.buckets import Bucket
from services.runtime.rpc.identity import Caller
from services.runtime.rpc.limits import DEADLINE_TOLERANCE_S, CallerLimits, Limits

KNOWN_MAX: Final = 10_000
"""Callers counted at once, ~0.5 KB each. Who did not call for longest is forgotten first, and begins anew."""
REFUSAL_PAUSE_S: Final = 0.25
"""How long a refusal is held back. Shorter than what it tells its caller to wait."""
HELD_BACK_MAX: Final = 1_024
"""Refusals held back at once, over all callers; those beyond are given at once."""

Key = tuple[str, str, bool]


@dataclass(slots=True)
class _Use:
    """What one caller has under way."""

    bucket: Bucket
    in_flight: int = 0


class Callers:
    """Counts the unary calls of each caller."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        self._limits = limits
        self._clock = clock
        self._known: OrderedDict[Key, _Use] = OrderedDict()
        self._held_back = 0

    @property
    def known_count(self) -> int:
        """How many callers are remembered."""
        return len(self._known)

    async def enter(self, caller: Caller, access: Access) -> Key:
        """Let a call begin, which has to `leave`; raise `TooManyCalls` if its caller has too many already."""
        key = (caller.tenant_id, caller.subject, access.own_only)
        limits = self._limits.people if access.own_only else self._limits.services
        use = self._known.get(key)
        if use is None:
            use = self._begun(key, limits)
        else:
            self._known.move_to_end(key)
        if use.in_flight >= limits.in_flight_max or use.bucket.take(now=self._clock()) > 0:
            await self._hold_back()
            raise TooManyCalls
        use.in_flight += 1
        return key

    def leave(self, key: Key) -> None:
        """Say that a call has ended."""
        self._known[key].in_flight -= 1

    def _begun(self, key: Key, limits: CallerLimits) -> _Use:
        if len(self._known) >= KNOWN_MAX:
            self._forget_one()
        bucket = Bucket(rate=limits.rate_per_s, burst=limits.burst, now=self._clock())
        use = self._known[key] = _Use(bucket)
        return use

    def _forget_one(self) -> None:
        """Forget who did not call for longest; who has a call under way is not forgotten."""
        for key, use in self._known.items():
            if not use.in_flight:
                del self._known[key]
                return

    async def _hold_back(self) -> None:
        remaining_s = call_context.time_remaining()
        pause_s = REFUSAL_PAUSE_S if remaining_s is None else min(REFUSAL_PAUSE_S, remaining_s - DEADLINE_TOLERANCE_S)
        if pause_s <= 0 or self._held_back >= HELD_BACK_MAX:
            return
        self._held_back += 1
        try:
            await asyncio.sleep(pause_s)
        finally:
            self._held_back -= 1
