"""Waiting for something that another holds, woken by its release instead of looking again and again.

Those of this process who wait for one thing stand in line, and the first of them alone is woken when the thing is free.
What another process releases is found by looking: the first in line looks soon, then at growing intervals, those behind
it seldom. So a thing is looked at a few times a second, however many wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Hashable
from contextlib import contextmanager
from typing import Final

from services.errors import TooManyCalls

WAITING_MAX: Final = 128
"""Calls of this process that wait for one thing, ~10 KB each; a further one is refused."""
LOOK_FIRST_S: Final = 0.05
LOOK_MAX_S: Final = 0.5
"""Between two looks of the first in line, doubled from one to the next: how late another process' release is found."""
LOOK_BEHIND_S: Final = 3.0
"""Between two looks of the others: what they asked for may have been answered by another process."""


class Place:
    """One who waits."""

    def __init__(self, line: dict[Place, None]) -> None:
        self._line = line
        self._woken = asyncio.Event()
        self._looks = 0
        self._is_served = False

    @property
    def is_served(self) -> bool:
        """Whether it got what it waited for, so that nobody else does now."""
        return self._is_served

    def served(self) -> None:
        """Say that the thing is this one's now: the next in line is woken when it is released."""
        self._is_served = True

    def wake(self) -> None:
        """Have this one look now."""
        self._woken.set()

    async def until_worth_a_look(self, until: float) -> bool:
        """Wait until there is reason to look again; False once the loop's time is past `until`."""
        left_s = until - asyncio.get_running_loop().time()
        if left_s <= 0:
            return False
        try:
            async with asyncio.timeout(min(self._pause_s(), left_s)):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()
        return True

    def _pause_s(self) -> float:
        if next(iter(self._line)) is not self:
            return LOOK_BEHIND_S
        self._looks += 1
        return min(LOOK_FIRST_S * (1 << min(self._looks - 1, 16)), LOOK_MAX_S)


class WaitingRoom:
    """The lines of all things that are waited for in this process. A thing that nobody waits for takes no memory."""

    def __init__(self, *, waiting_max: int = WAITING_MAX) -> None:
        self._waiting_max = waiting_max
        self._lines: dict[Hashable, dict[Place, None]] = {}
        self._by_question: dict[Hashable, dict[Place, None]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits, and nothing is remembered of who did."""
        return not self._lines and not self._by_question

    def check_room(self, thing: Hashable) -> None:
        """Raise `TooManyCalls` if as many wait for a thing as may."""
        if len(self._lines.get(thing, ())) >= self._waiting_max:
            raise TooManyCalls(detail="Too many wait for this payment.")

    @contextmanager
    def place(self, thing: Hashable, *, question: Hashable = None) -> Generator[Place]:
        """Stand in line for a thing; `question` names what else may end the wait. Raises `TooManyCalls`."""
        self.check_room(thing)
        line = self._lines.setdefault(thing, {})
        place = Place(line)
        line[place] = None
        if question is not None:
            self._by_question.setdefault(question, {})[place] = None
        try:
            yield place
        finally:
            was_first = next(iter(line)) is place
            del line[place]
            if not line:
                del self._lines[thing]
            if question is not None:
                asking = self._by_question[question]
                del asking[place]
                if not asking:
                    del self._by_question[question]
            if was_first and not place.is_served:
                self.wake(thing)  # it may have been woken and gone away; and the next one looks for all from here on

    def wake(self, thing: Hashable) -> None:
        """Say that a thing is free: the first in line looks."""
        line = self._lines.get(thing)
        if line:
            next(iter(line)).wake()

    def answered(self, question: Hashable) -> None:
        """Say that a question has its answer: all who ask it look."""
        for place in self._by_question.get(question, ()):
            place.wake()
