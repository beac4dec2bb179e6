"""The commands of a server under measurement, one a line of its standard input: `pub RATE SECONDS PAYMENTS`, `quit`.

`pub` is answered by `DONE count lag_ms seconds`: how many changes were published, how far behind the publisher fell at
worst, and how long it took.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Final

MESSAGE_BYTES: Final = 250
"""What one of our transitions has on the wire (`bench/sample.py`); a peer's message has as many."""
FILLER: Final = "x" * (MESSAGE_BYTES - 110)
"""Beside what a peer's JSON says."""
TICK_S: Final = 0.001
STEP: Final = 7_919
"""A prime, so that changes do not walk through the payments in order."""
LOOK_EVERY: Final = 64
"""Changes between two looks at the clock."""

Publish = Callable[[int], Awaitable[object] | None]
"""Publishes a change of the payment with that number."""


def payment_id(number: int) -> str:
    return f"pay_{number:026d}"


async def publish_steadily(publish: Publish, *, per_s: float, seconds: float, payments: int) -> str:
    """Publish changes of the first so many payments; returns count, lag in milliseconds and seconds."""
    began = time.perf_counter()
    count = number = 0
    lag_s = 0.0
    while (passed := time.perf_counter() - began) < seconds:
        due = int(passed * per_s)
        if due > count:
            lag_s = max(lag_s, passed - count / per_s)
        while count < due:
            waiting = publish(number % payments)
            if waiting is not None:
                await waiting
            number += STEP
            count += 1
            if count % LOOK_EVERY == 0 and time.perf_counter() - began >= seconds:
                break
        await asyncio.sleep(TICK_S)
    return f"{count} {lag_s * 1e3:.1f} {time.perf_counter() - began:.4f}"


async def controlled(publish: Publish, *, replies: int = 1) -> None:
    """Carry out the commands of standard input, until `quit` or its end. `replies` is a file descriptor."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[list[str]] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line.split())
        loop.call_soon_threadsafe(lines.put_nowait, ["quit"])

    threading.Thread(target=read, daemon=True).start()
    os.write(replies, b"READY\n")
    while True:
        match await lines.get():
            case ["pub", per_s, seconds, payments]:
                done = await publish_steadily(
                    publish, per_s=float(per_s), seconds=float(seconds), payments=int(payments)
                )
                os.write(replies, f"DONE {done}\n".encode())
            case ["quit"]:
                return
            case other:
                raise SystemExit(f"unknown command: {' '.join(other)}")
