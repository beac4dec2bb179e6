"""What watching may cost and how long it may take: every limit of the watcher, and the pauses between its tries."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

COMMANDS_MAX: Final = 500
"""Of a message on a `WatchMany` stream, by the contract."""
REQUEST_BYTES: Final = 128 * 1024
"""A message to the server is closed when it has come to this size; the server takes twice as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """The limits of one watcher; tests shorten them."""

    queue_max: int = 64
    """Updates that wait for a slow reader, ~30 KB; a payment has about ten in its life. One that falls further behind
    reads the history when it gets there."""
    streams_max: int = 16
    """Streams of one watcher. A second is opened when the first is full, or for a payment that two people watch."""
    open_timeout_s: float = 10.0
    """For the server to let a stream in."""
    silence_max_s: float = 40.0
    """Without a message the stream is taken for dead; the server says something at least every 15 s."""
    reconnect_min_s: float = 0.1
    reconnect_max_s: float = 5.0
    patience_s: float = 300.0
    """How long a watch goes on without hearing from the server, by stream or by poll, before it gives up."""
    idle_max_s: float = 60.0
    """A stream on which nothing is watched is closed after it."""
    poll_after_failures: int = 3
    """Tries to get a stream that fail in a row before payments are polled."""
    poll_every_s: float = 2.0
    """Between two rounds of polls; each payment has one call a round."""
    polls_per_s: float = 50.0
    """Over all payments: polling is what is done while a server is in trouble."""
    reads_at_once: int = 16
    """Readings of history by readers that fell behind."""
    renew_every_s: float = 5.0
    """How often a newer token of each end user is fetched."""
    renew_parts: int = 20
    """Parts of all people that this is done for one after the other: those who came together, as after a restart, have
    their tokens expire together, and 5,000 that are signed at once hold up everything else for half a second."""
    seen_max: int = 10_000
    """Payments of which the last that was seen is remembered, ~1 KB each."""


class Backoff:
    """The pauses between tries: doubling up to a limit, and spread, so that clients do not come back together."""

    def __init__(self, limits: WatchLimits, chance: random.Random) -> None:
        self.failures = 0
        self._limits = limits
        self._chance = chance

    def failed(self) -> float:
        """Count a failure, and return how many seconds to wait before the next try."""
        longest_s = self._limits.reconnect_min_s * 2.0 ** min(self.failures, 10)
        self.failures += 1
        return self._chance.uniform(0.5, 1.0) * min(longest_s, self._limits.reconnect_max_s)

    def succeeded(self) -> None:
        """Begin with the shortest pause again."""
        self.failures = 0
