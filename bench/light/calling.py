"""Light callers: unary calls in closed loops, or at a steady rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bench.light.http2 import Connection, Header
from bench.light.tally import Tally, now_ns

TICK_S: Final = 0.001
DEADLINE: Final[Header] = (b"grpc-timeout", b"20S")

Answered = Callable[[int, bool], None]
"""Told when a call ends: when it was made, and whether a message came."""


@dataclass(slots=True)
class Calls:
    """What came of calls."""

    took_ns: list[int] = field(default_factory=list)
    answered_ns: dict[int, int] = field(default_factory=dict)
    """By the instant a call was made; of calls at a rate."""
    failed: int = 0
    seconds: float = 0.0

    @property
    def per_s(self) -> float:
        return len(self.took_ns) / self.seconds


class Caller(Connection):
    """A connection for unary calls."""

    def __init__(self, tally: Tally, *, metadata: Sequence[Header] = ()) -> None:
        super().__init__(tally, metadata=(DEADLINE, *metadata))
        self._open: dict[int, tuple[int, Answered]] = {}
        self._with_message: set[int] = set()

    def begin(self, path: bytes, request: bytes, answered: Answered, *, began_ns: int | None = None) -> None:
        """Make a call; `answered` is told of its end. It may have begun a little earlier."""
        if began_ns is None:
            began_ns = now_ns()
        self._open[self.call(path, request)] = began_ns, answered

    def received(self, stream: int, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        self._with_message.add(stream)

    def ended(self, stream: int) -> None:
        began_ns, answered = self._open.pop(stream)
        is_answered = stream in self._with_message
        self._with_message.discard(stream)
        answered(began_ns, is_answered)


async def in_closed_loops(
    callers: Sequence[Caller], path: bytes, next_request: Callable[[], bytes], *, loops: int, seconds: float
) -> Calls:
    """Keep `loops` calls under way for so long; each loop begins its next call when the last is answered."""
    calls = Calls()
    idle = asyncio.Event()
    began = time.perf_counter()
    until_ns = now_ns() + round(seconds * 1e9)
    under_way = loops

    def call(caller: Caller) -> None:
        def answered(began_ns: int, is_answered: bool) -> None:
            nonlocal under_way
            ended_ns = now_ns()
            if is_answered:
                calls.took_ns.append(ended_ns - began_ns)
            else:
                calls.failed += 1
            if ended_ns < until_ns:
                caller.begin(path, next_request(), answered)
            else:
                under_way -= 1
                if not under_way:
                    idle.set()

        caller.begin(path, next_request(), answered)

    for number in range(loops):
        call(callers[number % len(callers)])
    await idle.wait()
    calls.seconds = time.perf_counter() - began
    return calls


async def at_a_rate(
    callers: Sequence[Caller], path: bytes, request_at: Callable[[int], bytes], *, per_s: float, seconds: float
) -> Calls:
    """Make calls at a steady rate, however long they take. `request_at` is told the instant at which a call is made."""
    calls = Calls()
    began = time.perf_counter()
    made = ended = 0

    def answered(began_ns: int, is_answered: bool) -> None:
        nonlocal ended
        ended += 1
        if is_answered:
            calls.answered_ns[began_ns] = ended_ns = now_ns()
            calls.took_ns.append(ended_ns - began_ns)
        else:
            calls.failed += 1

    while (passed := time.perf_counter() - began) < seconds:
        while made < passed * per_s:
            began_ns = now_ns()
            callers[made % len(callers)].begin(path, request_at(began_ns), answered, began_ns=began_ns)
            made += 1
        await asyncio.sleep(TICK_S)
    while ended < made:  # noqa: ASYNC110 nobody waits for this moment
        await asyncio.sleep(TICK_S)
    calls.seconds = time.perf_counter() - began
    return calls
