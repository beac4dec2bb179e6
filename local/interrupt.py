"""Ctrl-C, SIGTERM and a closed terminal as the wish to end in order; a second time, to end now."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Coroutine
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SIGNAL_EXIT_CODES: Final = 128
"""Added to a signal's number, as shells do."""


class _Interrupted:
    number: int | None = None


def run(main: Coroutine[Any, Any, int], *, is_endless: bool = False) -> int:
    """Run `main` and return its exit code; a signal cancels it, and its clean-up is waited for.

    For what is endless a signal is the way to end: exit code 0.
    """
    interrupted = _Interrupted()

    async def supervised() -> int:
        task = asyncio.ensure_future(main)

        def interrupt(number: int) -> None:
            if interrupted.number is not None:
                os._exit(SIGNAL_EXIT_CODES + number)  # the children see us gone and end themselves
            interrupted.number = number
            task.cancel()

        for number in SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, interrupt, number)
        try:
            return await task
        except asyncio.CancelledError:
            if interrupted.number is None:
                raise
            return 0 if is_endless else SIGNAL_EXIT_CODES + interrupted.number

    return asyncio.run(supervised())
