"""Lives of processes that end at a chosen place: from there on they neither ask nor write anything."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

PLACES_MAX: Final = 40
"""No journey has as many."""


class Died(BaseException):
    """Nothing of the process is left that could handle this."""


class Life:
    """Ends at one of the places before and after every statement and every call to another service."""

    def __init__(self, *, ends_at: int | str) -> None:
        """`ends_at` counts the places or names one: what runs side by side passes them in any order."""
        self.ends_at = ends_at
        self._passed = 0
        self.place = ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        """What was asked of the real ones, by name and named arguments."""

    def reach(self, place: str) -> None:
        if self.place:
            raise Died
        self._passed += 1
        if self.ends_at in (self._passed, place):
            self.place = place
            raise Died


def each_life(*, first: int = 1, step: int = 1) -> Iterator[Life]:
    """Return lives that each end one place further, or some, until one is long enough."""
    for ends_at in range(first, PLACES_MAX, step):
        life = Life(ends_at=ends_at)
        yield life
        if not life.place:
            assert ends_at > first, "nothing dies: it passes too few places"
            return
    raise AssertionError("it never comes to an end")


Lives = Callable[[], Iterator[Life]]


def lives_for(request: pytest.FixtureRequest) -> Lives:
    """Return the lives of the fixture `lives`, whose parameter is the step from one place to the next.

    Where the first ends depends on the test, so that all of them together die before and after each kind of statement.
    """
    first = 1 + zlib.crc32(request.function.__name__.encode()) % request.param
    return lambda: each_life(first=first, step=request.param)


class Mortal:
    """Does what the real one does, as long as there is life."""

    def __init__(self, real: Any, life: Life) -> None:
        self._real = real
        self._life = life

    def __getattr__(self, name: str) -> Callable[..., Any]:
        async def act(*arguments: Any, **named_arguments: Any) -> Any:
            self._life.reach(f"before {name}")
            self._life.asked.append((name, named_arguments))
            result = await getattr(self._real, name)(*arguments, **named_arguments)
            self._life.reach(f"after {name}")
            return result

        return act
