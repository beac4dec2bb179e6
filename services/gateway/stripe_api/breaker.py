"""A circuit breaker: what is away is not asked by everybody again and again. Pure; time is what the caller says.

It opens after so many failures in a row. Then nobody asks, until after a while one does, the probe: an answer closes
it, another failure lets it rest for longer.
"""

from __future__ import annotations

import enum
from typing import Final

FAILURES_MAX: Final = 10
"""In a row, whichever calls they are of. One call makes at most five tries, so it does not open it alone."""
ORDINARY: Final = 0
"""The ticket of everybody but probes."""
REST_FIRST_S: Final = 1.0
REST_MAX_S: Final = 10.0
"""Doubled from one probe to the next. So long after it is back, the last of what waited knows at the latest."""


class State(enum.Enum):
    """Who may ask."""

    CLOSED = enum.auto()
    """Everybody."""
    OPEN = enum.auto()
    """Nobody, until the rest is over."""
    PROBING = enum.auto()
    """The one who asks now, and nobody else."""


class Breaker:
    """The state of one thing that may be away."""

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
        """Whether someone who came now might ask."""
        return self.state is State.CLOSED or (self.state is State.OPEN and now >= self._rested)

    def admit(self, *, now: float) -> int | None:
        """Return a ticket to ask with, None if nobody may. What came of it is said by one of the three below."""
        if not self.would_admit(now=now):
            return None
        if self.state is State.CLOSED:
            return ORDINARY
        self.state = State.PROBING
        self._probes += 1
        return self._probes

    def answered(self) -> None:
        """Say that there was an answer, whatever it says."""
        self.state, self._failures, self._rests = State.CLOSED, 0, 0

    def failed(self, ticket: int, *, now: float) -> None:
        """Say that there was none. Of one who asked before it opened, that says nothing about the probe."""
        self._failures += 1
        if self._is_probe(ticket) or (self.state is State.CLOSED and self._failures >= self._failures_max):
            rest_s = min(self._rest_first_s * (1 << min(self._rests, 16)), self._rest_max_s)
            self.state, self._rested, self._rests = State.OPEN, now + rest_s, self._rests + 1

    def abandoned(self, ticket: int, *, now: float) -> None:
        """Say that who asked went away before there was anything to say; somebody else may probe in its place."""
        if self._is_probe(ticket):
            self.state, self._rested = State.OPEN, now

    def _is_probe(self, ticket: int) -> bool:
        return self.state is State.PROBING and ticket == self._probes
