"""How a process is told to end, by whatever finds out that it has to: imports nothing, so that anything may tell it."""

from __future__ import annotations

import asyncio


class StartRefused(Exception):
    """Something outside of this process forbids it to serve; the text says what to change, without a secret."""


class BackgroundFailed(Exception):
    """What runs beside the calls failed for good, under the name that is the text. The log has said why."""


class _State:
    """What the signal handlers and `until_terminated` share; there is one process, hence one."""

    def __init__(self) -> None:
        self.terminated = asyncio.Event()
        self.is_serving = False
        self.failure: Exception | None = None


state = _State()


def fail(error: Exception) -> None:
    """End the process in order, as failed by `error`: for what turns out to be wrong while it serves."""
    state.failure = error
    state.terminated.set()
