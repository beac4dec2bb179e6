"""Browsers that poll a payment with the ETag of its last answer: ours beside bare ASGI and Node, in the same run.

Nothing moves, so each answer is a 304. Ours asks status each time, in the payer's name: a process knows of a payment
only what it watches, and whether the payer may see it is for status to say. That call is part of the figures, without
what status itself takes for it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final

import uvloop

from bench.browsers import NODE, SUBJECTS, asked, child
from bench.figures import Figures, Result
from bench.machine import process
from bench.pinned import CLIENT_PROCESSOR, SERVER_PROCESSOR, as_client, python
from local.ports import free_ports

loop_factory = uvloop.new_event_loop
BROWSERS: Final = 16
"""That ask again as soon as they are answered."""
WARM_UP_S: Final = 2.0
SECONDS: Final = 8.0
ANSWER_MAX_S: Final = 30.0
_ETAG: Final = re.compile(rb"\r\netag: ([^\r]+)\r\n", re.IGNORECASE)
_LENGTH: Final = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)

Say = Callable[[str], None]


async def measure(say: Say) -> Result:
    """Measure all subjects, one after the other."""
    with as_client():
        rounds = [await measured(subject, say=say) for subject in SUBJECTS]
    rows: list[tuple[str, ...]] = [
        (
            f"**{one['subject']}**" if one["subject"] == "ours" else one["subject"],
            f"{1e6 / one['cpu_us']:,.0f}",
            f"{one['cpu_us']:.0f}",
            f"{one['p50_ms']:.2f} / {one['p99_ms']:.2f}",
        )
        for one in rounds
    ]
    figures = Figures(
        title=f"{BROWSERS} browsers that poll",
        columns=("", "polls/s a core", "CPU µs a poll", "p50 / p99 ms"),
        rows=rows,
        notes=("Each answer is 304. Ours asks status for each; CPU is of the front alone.",),
    )
    return Result(title="Polling with an ETag", tables=[figures], rounds=rounds)


async def measured(subject: str, *, seconds: float = SECONDS, say: Say = lambda _: None) -> dict[str, Any]:
    """Measure one subject in a server of its own."""
    ports = list(free_ports().values())
    async with AsyncExitStack() as stack:
        command = python("bench.servers.browsers", subject, ports[0], ports[1])
        if subject == "ours":
            await stack.enter_async_context(
                child(python("bench.servers.watched", ports[1]), processor=CLIENT_PROCESSOR)
            )
        elif subject == "node":
            command = ["node", str(NODE), str(ports[0])]
        server = await stack.enter_async_context(child(command, processor=SERVER_PROCESSOR))
        say(f"{BROWSERS} browsers poll {subject}")
        await _polling(ports[0], WARM_UP_S)
        clock = process(server.pid)
        used = clock()
        took_ms = await _polling(ports[0], seconds)
        cpu_s = clock() - used
    cuts = statistics.quantiles(took_ms, n=100)
    return {
        "subject": subject,
        "polls": len(took_ms),
        "cpu_us": cpu_s / len(took_ms) * 1e6,
        "p50_ms": cuts[49],
        "p99_ms": cuts[98],
    }


async def _polling(port: int, seconds: float) -> list[float]:
    """Poll for so long, and return how long each poll took."""
    ends, took_ms = time.monotonic() + seconds, list[float]()
    async with asyncio.TaskGroup() as group:
        for browser in range(BROWSERS):
            group.create_task(_poll(port, browser, ends=ends, took_ms=took_ms))
    return took_ms


async def _poll(port: int, browser: int, *, ends: float, took_ms: list[float]) -> None:
    path = f"/v1/payments/pay_{browser:026}"
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        head = await _answered(reader, writer, asked(path, port, browser, accept="application/json"))
        found = _ETAG.search(head)
        assert head.startswith(b"HTTP/1.1 200 "), head
        assert found is not None, head
        more = f"if-none-match: {found[1].decode()}\r\n"
        number = browser
        while (begun := time.monotonic()) < ends:
            number += BROWSERS  # of addresses, each of which asks far less often than it may
            head = await _answered(reader, writer, asked(path, port, number, accept="application/json", more=more))
            took_ms.append((time.monotonic() - begun) * 1e3)
            assert head.startswith(b"HTTP/1.1 304 "), head
    finally:
        writer.close()


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bytes:
    """Send a request, read its answer to the end, and return the head of that."""
    writer.write(request)
    async with asyncio.timeout(ANSWER_MAX_S):
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is not None and int(length[1]):
            await reader.readexactly(int(length[1]))
        elif b"transfer-encoding: chunked" in head.lower() and not head.startswith(b"HTTP/1.1 304 "):
            await reader.readuntil(b"0\r\n\r\n")
    return head


def main() -> None:
    """Measure single subjects, and print all there is to say, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.polls", description=__doc__)
    parser.add_argument("subjects", nargs="*", default=[], choices=(*SUBJECTS, []))
    given = parser.parse_args()
    with as_client(), asyncio.Runner(loop_factory=loop_factory) as runner:
        for subject in given.subjects or SUBJECTS:
            sys.stdout.write(f"{json.dumps(runner.run(measured(subject)))}\n")


if __name__ == "__main__":
    main()
