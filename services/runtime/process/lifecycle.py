"""How a process of ours lives and ends: one event loop of uvloop's, JSON logs, SIGTERM and SIGINT to end in order.

    def main() -> None:
        run(partial(serve, settings), service="pricing")

`serve` builds everything in an `AsyncExitStack`, then waits in `until_terminated()`; leaving the stack is the shutdown.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final

import uvloop

from batzen.version import build
from services.runtime.process.ending import BackgroundFailed, StartRefused, fail, state
from services.runtime.process.logs import json_logs

__all__ = ["StartRefused", "fail", "run", "until_terminated", "utc_now"]

COLLECTED_AFTER: Final = (50_000, 20, 100)
"""Objects made until the youngest are looked at, and how often that until the older are. With Python's own 700 and 10
a process with 5,000 streams spends half of its time on looking at them."""


_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_logger = logging.getLogger(__name__)


def utc_now() -> datetime:
    """Return this instant; the clock to inject in production."""
    return datetime.now(UTC)


def run(main: Callable[[], Awaitable[None]], *, service: str, log_level: str = "INFO") -> None:
    """Run `main` to its end, and the process with it: 0 when it ended or was asked to, 1 when it failed.

    The first signal ends `until_terminated`, or cancels `main` if it has not come that far; the second cancels `main`.
    """
    with json_logs(service=service, level=log_level):
        _logger.info("Starting", extra={"fields": {"version": build().version, "commit": build().commit}})
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(_supervised(main))
        except StartRefused as error:
            _logger.error("Not started: %s", error)
            raise SystemExit(1) from error
        except BackgroundFailed as error:
            raise SystemExit(1) from error
        except Exception as error:
            _logger.exception("Failed")
            raise SystemExit(1) from error
        _logger.info("Ended")


async def until_terminated() -> None:
    """Wait for SIGTERM or SIGINT. Call it once everything serves; only inside `run`. Raises what `fail` was told."""
    gc.collect()
    gc.freeze()  # what was made at the start stays: no collection looks at it again
    gc.set_threshold(*COLLECTED_AFTER)
    state.is_serving = True
    try:
        await state.terminated.wait()
    finally:
        state.is_serving = False
    if state.failure is not None:
        raise state.failure


async def _supervised(main: Callable[[], Awaitable[None]]) -> None:
    state.terminated.clear()
    state.failure = None
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(main())

    def terminate(name: str) -> None:
        if state.is_serving and not state.terminated.is_set():
            _logger.info("Ending in order, by %s", name)
        else:
            _logger.warning("Ending at once, by %s", name)
            task.cancel()
        state.terminated.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, terminate, number.name)
    try:
        await task
    except asyncio.CancelledError:
        if not state.terminated.is_set():
            raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
