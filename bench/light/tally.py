"""What light clients saw: when watches began, and how late each delivery was."""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Final

MARK: Final = b"at="
"""Begins a stamp: the instant something was sent, in nanoseconds of CLOCK_MONOTONIC, which all processes share."""
DIGITS: Final = 19
STAMP_BYTES: Final = len(MARK) + DIGITS
_BEGINNINGS: Final = tuple(MARK[:size] for size in range(len(MARK) - 1, 0, -1))
SETTLE_POLL_S: Final = 0.1

now_ns: Final = time.monotonic_ns


def stamp(at_ns: int | None = None) -> str:
    """Return a stamp of an instant, of this one by default."""
    return f"at={time.monotonic_ns() if at_ns is None else at_ns:0{DIGITS}d}"


class Tally:
    """Filled by all connections of a run. A watch begins once; every stamp that follows is a delivery."""

    def __init__(self) -> None:
        self.began_ns: array[int] = array("q")
        """From the wish to watch to the first message, one per watch that has begun."""
        self.late_ns: array[int] = array("q")
        """From the stamp to the receipt, one per delivery."""
        self.sent_ns: array[int] = array("q")
        """The stamps themselves."""
        self.broken: list[str] = []
        """Watches and connections that ended though nobody wanted them to."""
        self.is_closing = False
        self._begun = asyncio.Event()
        self._awaited = 0

    def begin(self, asked_ns: int, count: int = 1) -> None:
        """Note that watches have begun that were asked for at `asked_ns`."""
        took_ns = now_ns() - asked_ns
        for _ in range(count):
            self.began_ns.append(took_ns)
        if len(self.began_ns) >= self._awaited:
            self._begun.set()

    def find(self, buffer: bytes, start: int, end: int, received_ns: int) -> int:
        """Note every whole stamp between `start` and `end`; return where one begins that may go on beyond, or `end`."""
        at = buffer.find(MARK, start, end)
        while at >= 0:
            digits = at + len(MARK)
            beyond = at + STAMP_BYTES
            if beyond > end:
                return at
            sent_ns = int(buffer[digits:beyond])
            self.sent_ns.append(sent_ns)
            self.late_ns.append(received_ns - sent_ns)
            start = beyond
            at = buffer.find(MARK, beyond, end)
        if buffer.endswith(_BEGINNINGS, start, end):
            return next(end - len(beginning) for beginning in _BEGINNINGS if buffer.endswith(beginning, start, end))
        return end

    def lose(self, what: str) -> None:
        """Note that something ended."""
        if not self.is_closing:
            self.broken.append(what)
            self._begun.set()

    def close(self) -> None:
        """Take it that everything ends from here on."""
        self.is_closing = True

    async def until_begun(self, count: int) -> None:
        """Wait until `count` watches have begun in all; raises RuntimeError if one ends instead."""
        self._awaited = count
        while len(self.began_ns) < count:
            if self.broken:
                raise RuntimeError(f"{len(self.broken)} watches ended, the first with: {self.broken[0]}")
            self._begun.clear()
            await self._begun.wait()

    async def settle(self, limit_s: float = 20.0) -> None:
        """Wait until nothing more comes."""
        until = time.monotonic() + limit_s
        before = -1
        while len(self.late_ns) != before and time.monotonic() < until:
            before = len(self.late_ns)
            await asyncio.sleep(SETTLE_POLL_S)

    def forget_deliveries(self) -> None:
        """Count deliveries from here on."""
        del self.late_ns[:], self.sent_ns[:]
