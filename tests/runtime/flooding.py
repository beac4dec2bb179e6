"""Attackers of a gRPC server, each a flood of HTTP/2 frames that no honest client sends, bounded in count and time.

A flood runs in a process of its own, and keeps what it holds open until its `Attack` is left:

    async with attack("rapid_reset", target) as flood:
        outcome = await flood

An attacker sends as fast as the server takes it, opens the next connection when one is closed, and reads only to keep
the server writing.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from tests.runtime.wire import (
    ACKNOWLEDGED,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    grpc_headers,
    header,
    indexed,
    message,
    setting,
)

ROOT: Final = Path(__file__).parents[2]
CHUNK_BYTES: Final = 65_536
"""Prepared at once; less than a connection takes at once, so that nothing is counted that is not under way."""
CONNECTIONS_MAX: Final = 1_000
WINDOW_MAX: Final = 2**31 - 1
WINDOW_AT_FIRST: Final = 65_535
CANCEL: Final = (8).to_bytes(4, "big")
BEGUN: Final = b"begun\n"
STREAMS: Final = range(1, 2**31, 2)
"""Of one connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is attacked, and how much."""

    port: int
    path: str
    """Of the method that is called."""
    request: bytes
    token: str
    units: int
    """Calls or frames, whichever the flood is made of."""
    seconds: float
    """After which the flood ends, whether it sent all of them or not."""
    connections: int = 1
    """At once; the next unit goes over whichever takes it."""

    def headers(self) -> bytes:
        return grpc_headers(self.path, token=self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a flood did, and what the server said."""

    units: int
    connections: int
    received: dict[str, int]
    """Frames by kind, those that end something with their error code."""


Flood = Callable[[Target], Iterator[bytes]]
"""Yields the units for one connection."""


def rapid_reset(target: Target) -> Iterator[bytes]:
    """Calls that are reset as soon as they are opened: no limit of open calls counts them."""
    for stream, call in _calls(target):
        yield call + frame(RST_STREAM, CANCEL, stream=stream)


def endless_calls(target: Target) -> Iterator[bytes]:
    """Calls without end, however many the server allows."""
    for _, call in _calls(target):
        yield call


def never_reading(target: Target) -> Iterator[bytes]:
    """Calls that are never left, spread evenly, and whose responses nobody takes off the connections."""
    for _, call in islice(_calls(target, flags=0), target.units // target.connections):
        yield call


def unfinished_calls(target: Target) -> Iterator[bytes]:
    """Calls whose request never comes."""
    headers = target.headers()
    for stream in STREAMS:
        yield frame(HEADERS, headers, stream=stream, flags=END_HEADERS)


def huge_metadata(target: Target) -> Iterator[bytes]:
    """Calls with 256 KB of metadata each."""
    block = target.headers() + b"".join(header(f"x-{number}", "x" * 8_000) for number in range(32))
    size = 16_384
    pieces = [block[start : start + size] for start in range(0, len(block), size)]
    for stream in STREAMS:
        opening = frame(HEADERS, pieces[0], stream=stream)
        opening += b"".join(frame(CONTINUATION, piece, stream=stream) for piece in pieces[1:])
        yield opening + frame(CONTINUATION, stream=stream, flags=END_HEADERS)


def metadata_bomb(target: Target) -> Iterator[bytes]:
    """Calls with 7 KB of metadata each that stand for 12 MB: an entry of the table of headers, named 4,000 times."""
    block = target.headers() + header("x-bomb", "x" * 3_000, remembered=True) + indexed(62) * 4_000
    for stream in STREAMS:
        yield frame(HEADERS, block, stream=stream, flags=END_HEADERS)


def continuations(target: Target) -> Iterator[bytes]:
    """A call whose metadata never ends."""
    yield frame(HEADERS, target.headers(), stream=1)
    more = frame(CONTINUATION, header("x-more", "x" * 100), stream=1)
    while True:
        yield more


def pings(_: Target) -> Iterator[bytes]:
    """Pings, each of which is to be answered."""
    while True:
        yield frame(PING, bytes(8))


def settings(_: Target) -> Iterator[bytes]:
    """Settings, each other than the last, and each to be acknowledged."""
    while True:
        yield setting(INITIAL_WINDOW, WINDOW_AT_FIRST)
        yield setting(INITIAL_WINDOW, WINDOW_MAX)


def priorities(_: Target) -> Iterator[bytes]:
    """Priorities of calls that are never opened."""
    for stream in STREAMS:
        yield frame(PRIORITY, bytes(4) + b"\x10", stream=stream)


def window_updates(_: Target) -> Iterator[bytes]:
    """A window that opens byte by byte."""
    while True:
        yield frame(WINDOW_UPDATE, (1).to_bytes(4, "big"))


FLOODS: Final[dict[str, Flood]] = {
    flood.__name__: flood
    for flood in (
        rapid_reset,
        endless_calls,
        never_reading,
        unfinished_calls,
        huge_metadata,
        metadata_bomb,
        continuations,
        pings,
        settings,
        priorities,
        window_updates,
    )
}


def _calls(target: Target, *, flags: int = END_STREAM) -> Iterator[tuple[int, bytes]]:
    headers, request = target.headers(), message(target.request)
    for stream in STREAMS:
        opening = frame(HEADERS, headers, stream=stream, flags=END_HEADERS)
        yield stream, opening + frame(DATA, request, stream=stream, flags=flags)


@asynccontextmanager
async def attack(kind: str, target: Target) -> AsyncIterator[asyncio.Task[Outcome]]:
    """Flood the target while inside, from the first moment on; what is yielded returns once all was sent."""
    order = asdict(target) | {"request": target.request.hex()}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.runtime.flooding", kind, json.dumps(order)),
        cwd=ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin is not None
    assert process.stdout is not None

    lines = process.stdout

    async def outcome() -> Outcome:
        return Outcome(**json.loads(await lines.readline()))

    try:
        assert await lines.readline() == BEGUN
        flood = asyncio.create_task(outcome())
        yield flood
        flood.cancel()
    finally:
        process.kill()
        await process.wait()


def main(kind: str, order: str) -> None:
    """Flood as ordered, say what came of it, and hold on until somebody kills us."""
    given = json.loads(order)
    flooding = _Flooding(Target(**given | {"request": bytes.fromhex(given["request"])}), kind)
    sys.stdout.write(json.dumps(asdict(flooding.run())) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


class _Flooding:
    def __init__(self, target: Target, kind: str) -> None:
        self._target = target
        self._kind = kind
        self._selector = selectors.DefaultSelector()
        self._units = 0
        self._opened = 0
        self._received: Counter[str] = Counter()

    def run(self) -> Outcome:
        target, end = self._target, time.monotonic() + self._target.seconds
        for _ in range(target.connections):
            self._connect()
        sys.stdout.write(BEGUN.decode())
        sys.stdout.flush()
        while self._units < target.units and (left_s := end - time.monotonic()) > 0:
            for key, events in self._selector.select(left_s):
                self._serve(key.data, events)
        return Outcome(units=self._units, connections=self._opened, received=dict(self._received))

    def _connect(self) -> None:
        if self._opened == CONNECTIONS_MAX:
            raise RuntimeError("the server closes each connection at once")
        self._opened += 1
        reads = self._kind != "never_reading"
        connection = _Connection(self._target.port, FLOODS[self._kind](self._target), self._received, reads=reads)
        events = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
        self._selector.register(connection.socket, events, connection)

    def _serve(self, connection: _Connection, events: int) -> None:
        try:
            if events & selectors.EVENT_READ:
                connection.read()
            if events & selectors.EVENT_WRITE:
                self._units += connection.write(at_most=self._target.units - self._units)
        except ConnectionError:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            self._connect()


class _Connection:
    def __init__(self, port: int, units: Iterator[bytes], received: Counter[str], *, reads: bool) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setblocking(False)
        self._units = units
        self._received = received
        self._unread = bytearray()
        self._unsent = bytearray(PREFACE + setting(INITIAL_WINDOW, WINDOW_MAX if reads else WINDOW_AT_FIRST))
        if reads:  # so that the server may always answer
            self._unsent += frame(WINDOW_UPDATE, (WINDOW_MAX - WINDOW_AT_FIRST).to_bytes(4, "big"))

    def write(self, *, at_most: int) -> int:
        """Send what the system takes; return how many units that began."""
        begun = 0
        for unit in islice(self._units, at_most):
            self._unsent += unit
            begun += 1
            if len(self._unsent) >= CHUNK_BYTES:
                break
        with suppress(BlockingIOError):
            del self._unsent[: self.socket.send(self._unsent)]
        return begun

    def read(self) -> None:
        """Take what there is, and answer what the server wants answered before it goes on."""
        data = self.socket.recv(CHUNK_BYTES * 4)
        if not data:
            raise ConnectionResetError
        self._unread += data
        start = 0
        while len(self._unread) >= start + 9:
            end = start + 9 + int.from_bytes(self._unread[start : start + 3], "big")
            if len(self._unread) < end:
                break
            self._take(self._unread[start + 3], self._unread[start + 4], bytes(self._unread[start + 9 : end]))
            start = end
        del self._unread[:start]

    def _take(self, kind: int, flags: int, payload: bytes) -> None:
        name = _NAMES.get(kind, str(kind))
        if kind == RST_STREAM:
            name = f"{name} {payload[3]}"
        elif kind == GOAWAY:
            name = f"{name} {payload[7]} {payload[8:].decode(errors='replace')}"
        self._received[name] += 1
        if kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
            self._unsent += frame(kind, payload if kind == PING else b"", flags=ACKNOWLEDGED)


_NAMES: Final = {
    DATA: "DATA",
    HEADERS: "HEADERS",
    RST_STREAM: "RST_STREAM",
    SETTINGS: "SETTINGS",
    PING: "PING",
    GOAWAY: "GOAWAY",
    WINDOW_UPDATE: "WINDOW_UPDATE",
}

if __name__ == "__main__":
    main(*sys.argv[1:])
