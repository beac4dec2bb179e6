"""A circuit breaker: while a dependency is away, calls fail at once instead of trying it one by one. Pure.

It opens after so many failures in a row, and admits no call until it has rested. Then it admits one, the probe: an
answer closes the breaker, another failure lets it rest for longer. The time comes from the caller.
"""

from __future__ import annotations

import enum
from typing import Final

FAILURES_MAX: Final = 10
"""In a row, whichever calls they are of. One call makes at most five tries, so it does not open it alone."""
ORDINARY: Final = 0
"""The ticket of every call that is no probe."""
REST_FIRST_S: Final = 1.0
REST_MAX_S: Final = 10.0
"""Each rest is twice as long as the one before, up to this: the longest until a dependency that is back is tried."""


class State(enum.Enum):
    """Which calls are admitted."""

    CLOSED = enum.auto()
    """All."""
    OPEN = enum.auto()
    """None, until the rest is over."""
    PROBING = enum.auto()
    """None: the probe is on its way."""


class Breaker:
    """Whether one dependency is tried."""

    def __init__(
        self,
        *,
        failures_max: int = FAILURES_MAX,
        rest_first_s: float = REST_FIRST_S,
        rest_max_s: float = REST_MAX_S,
    ) -> None:
        self._failures_max = failures_max
        self._rest_first_s = rest_first_s
        self._rest_max_s = rest_max_s
        self._failures = 0
        self._rests = 0
        self._probes = 0
        self._rested = 0.0
        """When the rest is over."""
        self.state = State.CLOSED

    def would_admit(self, *, now: float) -> bool:
        """Whether a call would be admitted."""
        return self.state is State.CLOSED or (self.state is State.OPEN and now >= self._rested)

    def admit(self, *, now: float) -> int | None:
        """Admit a call and return its ticket, or None. Its outcome is reported by one of the methods below."""
        if not self.would_admit(now=now):
            return None
        if self.state is State.CLOSED:
            return ORDINARY
        self.state = State.PROBING
        self._probes += 1
        return self._probes

    def answered(self) -> None:
        """Report an answer, whatever it says."""
        self.state, self._failures, self._rests = State.CLOSED, 0, 0

    def failed(self, ticket: int, *, now: float) -> None:
        """Report that there was none. Of a call from before the breaker opened, this is no outcome of the probe."""
        self._failures += 1
        if self._is_probe(ticket) or (self.state is State.CLOSED and self._failures >= self._failures_max):
            rest_s = min(self._rest_first_s * (1 << min(self._rests, 16)), self._rest_max_s)
            self.state, self._rested, self._rests = State.OPEN, now + rest_s, self._rests + 1

    def abandoned(self, ticket: int, *, now: float) -> None:
        """Report that a call ended before it had an outcome; the next one is a probe in its place."""
        if self._is_probe(ticket):
            self.state, self._rested = State.OPEN, now

    def _is_probe(self, ticket: int) -> bool:
        return self.state is State.PROBING and ticket == self._probes
