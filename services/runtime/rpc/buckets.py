"""A token bucket: so many a second, and so many at once. Pure; time is what the caller says."""

from __future__ import annotations


class Bucket:
    """Fills with `rate` tokens a second, up to `burst`; begins full."""

    __slots__ = ("_burst", "_filled", "_rate", "_tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError("a bucket out of which nothing can be taken is a mistake")
        self._rate = rate
        self._burst = burst
        self._tokens = burst
        self._filled = now

    def take(self, *, now: float, leave: float = 0.0) -> float:
        """Take a token if `leave` remain then, and return 0; else take none, and return the seconds until it can."""
        wait_s = self.wait(now=now, leave=leave)
        if wait_s <= 0:
            self._tokens -= 1
            return 0.0
        return wait_s

    def give_back(self) -> None:
        """Put a token back that was taken for what is not counted after all."""
        self._tokens = min(self._tokens + 1, self._burst)

    def wait(self, *, now: float, leave: float = 0.0) -> float:
        """Return the seconds until a token can be taken so that `leave` remain, if nobody else takes one; 0 for now."""
        self._fill(now)
        missing = min(1 + leave, self._burst) - self._tokens
        return max(missing / self._rate, 0.0)

    def is_full(self, *, now: float) -> bool:
        """Whether nothing was taken for so long that it is as good as new."""
        self._fill(now)
        return self._tokens >= self._burst

    def _fill(self, now: float) -> None:
        if now > self._filled:
            self._tokens = min(self._tokens + (now - self._filled) * self._rate, self._burst)
            self._filled = now
