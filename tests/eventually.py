"""The only place where tests wait by looking again: for what tells nobody, such as a row of another process.

What can be waited for itself (an event, a task, an answer, a file descriptor) is waited for itself.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar, overload

WITHIN_S: Final = 60.0
"""After so long a test says that what it waits for hangs: far more than anything takes, however busy the machine is."""
PAUSE_S: Final = 0.03
"""Between two looks."""

T = TypeVar("T")


@overload
async def eventually(
    is_so: Callable[[], Awaitable[T]], *, within_s: float = WITHIN_S, what: str | Callable[[], str] = ""
) -> T: ...


@overload
async def eventually(
    is_so: Callable[[], T], *, within_s: float = WITHIN_S, what: str | Callable[[], str] = ""
) -> T: ...


async def eventually(
    is_so: Callable[[], Any], *, within_s: float = WITHIN_S, what: str | Callable[[], str] = ""
) -> Any:
    """Wait until `is_so` returns something true, and return that; AssertionError, saying `what` is not so, if never."""
    until = time.monotonic() + within_s
    while True:
        found = is_so()
        answer = await found if inspect.isawaitable(found) else found
        if answer:
            return answer
        if time.monotonic() > until:
            missing = what() if callable(what) else what or inspect.getsource(is_so).strip()
            raise AssertionError(f"not within {within_s:.0f} s: {missing}")
        await asyncio.sleep(PAUSE_S)


async def persistently(
    call: Callable[[], Awaitable[T]],
    *,
    again: type[Exception] | tuple[type[Exception], ...],
    within_s: float = WITHIN_S,
    noting: Callable[[Exception], None] = lambda _: None,
) -> T:
    """Call as a stubborn caller does: again after each failure of these kinds, which `noting` hears of."""
    until = time.monotonic() + within_s
    while True:
        try:
            return await call()
        except again as failure:
            noting(failure)
            if time.monotonic() > until:
                raise
        await asyncio.sleep(PAUSE_S)
