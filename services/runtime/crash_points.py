"""Crash points: named places between what a process does and what it has written down about it.

A point is `journey.step`; each has positions around it: `:begin`, `:before_commit` and `:after_commit` of a transaction
(`database.transaction`), `:before` and `:after` of a call to another process (`call`). A test records every position a
journey reaches, then runs the journey again for each of them with the process killed right there.

Without `configure` a point costs one comparison.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Awaitable
from pathlib import Path
from typing import TypeVar

LIVE_KEYS = ("sk_live", "rk_live")
NAME = re.compile(r"[a-z][a-z_]*(\.[a-z][a-z_]*)+")

T = TypeVar("T")


class CrashPointsForbidden(Exception):
    """Crash points are set where real money moves; unset BATZEN_CRASH_RECORD and BATZEN_CRASH_FILE."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


def configure(*, record: Path | None, armed: Path | None, production: bool, stripe_key: str | None = None) -> None:
    """Switch crash points on for this process, or off when both files are None.

    Each position is appended to the file `record` the first time it is reached. The file `armed`, once it exists, holds
    the position to die at: `position`, or `position#n` for the n-th passing after it was armed. It is removed before
    the process dies, so that whoever takes over lives. Raises `CrashPointsForbidden` in production or with a live key.
    """
    global _points  # noqa: PLW0603 a point must cost nothing, so it cannot be passed down every call
    if record is None and armed is None:
        _points = None
        return
    if production or (stripe_key or "").startswith(LIVE_KEYS):
        raise CrashPointsForbidden
    _points = _Points(record=record, armed=armed)


def reach(position: str) -> None:
    """Record `position`, and die here if it is armed."""
    if _points is not None:
        _points.reach(position)


async def call(name: str, outcome: Awaitable[T]) -> T:
    """Await `outcome`, a call to another process, between the positions `name:before` and `name:after`."""
    if _points is None:
        return await outcome
    _points.reach(f"{name}:before")
    answer = await outcome
    _points.reach(f"{name}:after")
    return answer


class _Points:
    def __init__(self, *, record: Path | None, armed: Path | None) -> None:
        self._record = record
        self._armed = armed
        self._recorded: set[str] = set()
        self._order = ""
        self._passings = 0

    def reach(self, position: str) -> None:
        if not NAME.fullmatch(position.partition(":")[0]):
            raise ValueError(f"{position!r} is not journey.step")
        if self._record is not None and position not in self._recorded:
            self._recorded.add(position)
            # One write to a file opened for appending is not torn by other processes' lines.
            line = f"{position}\n".encode()
            descriptor = os.open(self._record, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        if self._armed is not None and self._is_due(self._armed, position):
            _die(self._armed)

    def _is_due(self, armed: Path, position: str) -> bool:
        try:
            order = armed.read_text().strip()
        except FileNotFoundError:
            self._order = ""
            return False
        if order != self._order:
            self._order, self._passings = order, 0
        wanted, _, number = order.partition("#")
        if wanted != position:
            return False
        self._passings += 1
        return self._passings == int(number or 1)


def _die(armed: Path) -> None:
    try:
        armed.unlink()
    except FileNotFoundError:
        return  # another process reached it first and died for it
    os.kill(os.getpid(), signal.SIGKILL)


_points: _Points | None = None
