"""Browsers that follow payments by one process over one stream: ours beside bare ASGI and Node, in the same run.

Each of 5,000 clients has a payment of its own. Ours reads them from a status with nothing behind it, over one
`WatchMany`; the others make their moves themselves. Latency is from the move to the client's socket.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import uvloop

from bench.figures import Figures, Result
from bench.machine import process, resident_bytes
from bench.pinned import CLIENT_PROCESSOR, SERVER_PROCESSOR, as_client, on_processor, python
from local.ports import free_ports

loop_factory = uvloop.new_event_loop
CLIENTS: Final = 5_000
EVENTS_PER_S: Final = 200
SECONDS: Final = 10.0
AT_ONCE: Final = 200
"""Connections that are being opened at a time."""
OPEN_MAX_S: Final = 300.0
"""For all of them to be open: ours take 10 s on a quiet machine, and 90 s at a load of 18."""
START_MAX_S: Final = 60.0
"""For a server to say that it serves."""
KB_MAX: Final = 30.0
"""Of memory for a client: the goal."""
NODE: Final = Path(__file__).parent / "node" / "browsers.js"
SUBJECTS: Final = ("ours", "bare", "node")
_SAID_BY_ALL: Final = (
    "user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36"
    '\r\nsec-ch-ua: "Chromium";v="141", "Not?A_Brand";v="8"\r\nsec-ch-ua-mobile: ?0\r\n'
    'sec-ch-ua-platform: "Linux"\r\nsec-fetch-site: same-origin\r\nsec-fetch-mode: cors\r\n'
    "sec-fetch-dest: empty\r\naccept-encoding: gzip, deflate, br, zstd\r\naccept-language: de-CH,de;q=0.9\r\n"
)
_AT: Final = re.compile(rb"at=(\d{19})")

Say = Callable[[str], None]


class Browser(asyncio.Protocol):
    """One client: notes how old each event is as it comes."""

    def __init__(self, request: bytes, ages_ms: list[float]) -> None:
        self._request = request
        self._ages_ms = ages_ms
        self.opened = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionResetError(f"The server cut a stream before it began: {exc}"))

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self.opened.done() and b"retry: " in data:
            self.opened.set_result(None)
        for at in _AT.findall(data):
            self._ages_ms.append((now - int(at)) / 1e6)


class Child:
    """A server of the bench."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.pid = child.pid

    async def ready(self) -> None:
        assert self._child.stdout is not None
        async with asyncio.timeout(START_MAX_S):
            line = await self._child.stdout.readline()
        assert line == b"ready\n", line

    def rate(self, per_s: float) -> None:
        """Have it move so many payments a second."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{per_s}\n".encode())

    async def end(self) -> None:
        self._child.kill()
        await self._child.wait()


@asynccontextmanager
async def child(command: Sequence[str], *, processor: int) -> AsyncIterator[Child]:
    """Run a server while inside."""
    pipe = asyncio.subprocess.PIPE
    running = Child(await asyncio.create_subprocess_exec(*on_processor(processor), *command, stdin=pipe, stdout=pipe))
    try:
        await running.ready()
        yield running
    finally:
        await running.end()


async def measure(say: Say) -> Result:
    """Measure all subjects, one after the other."""
    with as_client():
        rounds = [await measured(subject, say=say) for subject in SUBJECTS]
    rows: list[tuple[str, ...]] = [
        (
            f"**{one['subject']}**" if one["subject"] == "ours" else one["subject"],
            f"{one['kb']:.1f}",
            f"{one['open_s']:.1f}",
            f"{one['p50_ms']:.1f} / {one['p99_ms']:.1f}",
            f"{one['cpu_us']:.0f}",
        )
        for one in rounds
    ]
    figures = Figures(
        title=f"{CLIENTS:,} browsers, {EVENTS_PER_S} events/s",
        columns=("", "KB a client", "s to open all", "p50 / p99 ms", "CPU µs an event"),
        rows=rows,
        notes=(f"The goal is {KB_MAX:g} KB a client. CPU is of the server alone, all that it does meanwhile.",),
    )
    return Result(title="Browsers that follow payments", tables=[figures], rounds=rounds)


async def measured(subject: str, *, clients: int = CLIENTS, say: Say = lambda _: None) -> dict[str, Any]:
    """Measure one subject in a server of its own."""
    ports = list(free_ports().values())
    async with AsyncExitStack() as stack:
        if subject == "ours":
            watched = python("bench.servers.watched", ports[1])
            mover = await stack.enter_async_context(child(watched, processor=CLIENT_PROCESSOR))
            command = python("bench.servers.browsers", "ours", ports[0], ports[1])
        else:
            mover = None
            command = (
                ["node", str(NODE), str(ports[0])]
                if subject == "node"
                else python("bench.servers.browsers", "bare", ports[0])
            )
        server = await stack.enter_async_context(child(command, processor=SERVER_PROCESSOR))
        say(f"{clients:,} browsers: {subject} opens")
        ages_ms: list[float] = []
        before = resident_bytes(server.pid)
        begun = time.monotonic()
        browsers = await _opened(ports[0], clients, ages_ms)
        open_s = time.monotonic() - begun
        await asyncio.sleep(2)
        kb = (resident_bytes(server.pid) - before) / clients / 1024
        ages_ms.clear()
        clock = process(server.pid)
        used = clock()
        (mover or server).rate(EVENTS_PER_S)
        await asyncio.sleep(SECONDS)
        (mover or server).rate(0)
        await asyncio.sleep(1)
        cpu_s = clock() - used
        for browser in browsers:
            assert browser.transport is not None
            browser.transport.abort()
    cuts = statistics.quantiles(ages_ms, n=100)
    return {
        "subject": subject,
        "clients": clients,
        "kb": kb,
        "open_s": open_s,
        "events": len(ages_ms),
        "p50_ms": cuts[49],
        "p99_ms": cuts[98],
        "cpu_us": cpu_s / len(ages_ms) * 1e6,
    }


async def _opened(port: int, clients: int, ages_ms: list[float]) -> list[Browser]:
    loop, at_once = asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE)

    async def opened(number: int) -> Browser:
        async with at_once:
            request = asked(f"/v1/payments/pay_{number:026}/events", port, number)
            _, browser = await loop.create_connection(lambda: Browser(request, ages_ms), "127.0.0.1", port)
            await browser.opened
            return browser

    async with asyncio.timeout(OPEN_MAX_S), asyncio.TaskGroup() as group:
        tasks = [group.create_task(opened(number)) for number in range(clients)]
    return [task.result() for task in tasks]


def asked(path: str, port: int, number: int, *, accept: str = "text/event-stream", more: str = "") -> bytes:
    """Return a request as a browser makes it and a proxy passes it on: each browser has an address of its own."""
    address = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return (
        f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\naccept: {accept}\r\ncache-control: no-cache\r\n"
        f"x-forwarded-for: {address}\r\nx-forwarded-proto: http\r\nx-request-id: {number:032x}\r\n"
        f"cookie: batzen={number:043}\r\nreferer: http://127.0.0.1:{port}/pay\r\n{more}{_SAID_BY_ALL}\r\n"
    ).encode()


def main() -> None:
    """Measure single subjects, and print all there is to say, as JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.browsers", description=__doc__)
    parser.add_argument("subjects", nargs="*", default=[], choices=(*SUBJECTS, []))
    parser.add_argument("--clients", type=int, default=CLIENTS)
    asked = parser.parse_args()
    with as_client(), asyncio.Runner(loop_factory=loop_factory) as runner:
        for subject in asked.subjects or SUBJECTS:
            found = runner.run(measured(subject, clients=asked.clients))
            sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
