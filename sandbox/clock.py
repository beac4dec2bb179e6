"""The sandbox's own time, and what is due later in it."""

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field

_SLEEP_MAX_S = 86_400.0  # The event loop's timer is armed at most a day ahead and then again.


class Clock:
    """Seconds since the epoch: the real clock plus what was advanced. It never goes back."""

    def __init__(self, source: Callable[[], float] = time.time) -> None:
        self._source = source
        self._ahead_s = 0.0

    def now(self) -> float:
        return self._source() + self._ahead_s

    def seconds(self) -> int:
        """Return whole seconds, as Stripe's `created` has them."""
        return int(self.now())

    @property
    def ahead_s(self) -> float:
        """By how much it was advanced."""
        return self._ahead_s

    def advance(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("The clock cannot go back.")
        self._ahead_s += seconds


@dataclass(order=True, slots=True)
class _Entry:
    due: float
    number: int
    label: str = field(compare=False)
    action: Callable[[], None] = field(compare=False)


class Agenda:
    """Actions that fall due at a time of the clock: settlements, slow refunds, lapsing authorisations."""

    def __init__(self, clock: Clock, *, ran: Callable[[], None]) -> None:
        """`ran` is told when something happened by itself."""
        self._clock = clock
        self._ran = ran
        self._entries: list[_Entry] = []
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    def later(self, delay_s: float, action: Callable[[], None], *, label: str) -> None:
        """Run `action` on the event loop once the clock has moved on by `delay_s`."""
        self._number += 1
        heapq.heappush(self._entries, _Entry(self._clock.now() + delay_s, self._number, label, action))
        self._arm()

    def run_due(self) -> int:
        """Run what is due now, in order of time; returns how many actions ran."""
        count = 0
        while self._entries and self._entries[0].due <= self._clock.now():
            heapq.heappop(self._entries).action()
            count += 1
        self._arm()
        if count:
            self._ran()
        return count

    def run_all(self, *, label: str) -> int:
        """Run everything with this label now, due or not; returns how many actions ran."""
        count = 0
        while chosen := sorted(entry for entry in self._entries if entry.label == label):
            self._entries.remove(chosen[0])
            heapq.heapify(self._entries)
            chosen[0].action()
            count += 1
        return count

    def clear(self) -> None:
        self._entries.clear()
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._entries:
            delay_s = max(0.0, self._entries[0].due - self._clock.now())
            self._timer = asyncio.get_running_loop().call_later(min(delay_s, _SLEEP_MAX_S), self.run_due)
