"""Light watchers of the peers: sockets of socket.io, and bare TCP."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections import deque
from collections.abc import Sequence
from typing import Final, cast

from bench.light.tally import Tally, now_ns

UPGRADE: Final = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
TEXT_FRAME: Final = 0x81
MASKED: Final = 0x80
LENGTH_IN_TWO_BYTES: Final = 126
LENGTH_BYTES: Final = 4
"""Before each message of the bare TCP server."""


class SocketIO(asyncio.Protocol):
    """One websocket of socket.io (engine.io 4) that joins a room per payment."""

    def __init__(self, tally: Tally, payment_ids: Sequence[str]) -> None:
        self._tally = tally
        self._payment_ids = payment_ids
        self._awaited = len(payment_ids)
        self._asked_ns = now_ns()
        self._is_open = False
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by inheritance
        self._transport.write(UPGRADE.format(key=base64.b64encode(os.urandom(16)).decode()).encode())

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.lose(f"a socket was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        received_ns = now_ns()
        buffer = self._rest + data if self._rest else data
        at, size = 0, len(buffer)
        if not self._is_open:
            head_end = buffer.find(b"\r\n\r\n")
            if head_end < 0:
                self._rest = buffer
                return
            if not buffer.startswith(b"HTTP/1.1 101"):
                self._tally.lose(f"no websocket: {buffer[:60]!r}")
                return
            self._is_open = True
            at = head_end + 4
        while at + 2 <= size:
            length, body = buffer[at + 1], at + 2
            if length == LENGTH_IN_TWO_BYTES:
                if at + 4 > size:
                    break
                length, body = buffer[at + 2] << 8 | buffer[at + 3], at + 4
            if body + length > size:
                break
            self._take(buffer, body, body + length, received_ns)
            at = body + length
        self._rest = buffer[at:]

    def _take(self, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        kind = buffer[start : start + 2]
        if kind == b"42":  # an event
            if self._awaited:
                self._awaited -= 1
                self._tally.begin(self._asked_ns)
            else:
                self._tally.find(buffer, start, end, received_ns)
        elif kind == b"40":  # connected
            for payment_id in self._payment_ids:
                self._send("42" + json.dumps(["watch", {"payment_id": payment_id}]))
        elif kind[:1] == b"0":  # engine.io is open
            self._send("40")
        elif kind[:1] == b"2":  # a ping
            self._send("3")

    def _send(self, text: str) -> None:
        body = text.encode()
        assert len(body) < LENGTH_IN_TWO_BYTES
        self._transport.write(bytes((TEXT_FRAME, MASKED | len(body), 0, 0, 0, 0)) + body)


class RawWatches(asyncio.Protocol):
    """A bare TCP connection on which a line asks for a watch."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._asked_ns: deque[int] = deque()
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def watch(self, payment_id: str) -> None:
        """Begin a watch; the first message counts as its beginning."""
        self._asked_ns.append(now_ns())
        self._transport.write(payment_id.encode() + b"\n")

    def close(self) -> None:
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by inheritance

    def connection_lost(self, exc: Exception | None) -> None:
        self._tally.lose(f"a connection was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        received_ns = now_ns()
        buffer = self._rest + data if self._rest else data
        at, size = 0, len(buffer)
        while at + LENGTH_BYTES <= size:
            body = at + LENGTH_BYTES
            end = body + int.from_bytes(buffer[at:body], "big")
            if end > size:
                break
            if self._asked_ns:
                self._tally.begin(self._asked_ns.popleft())
            else:
                self._tally.find(buffer, body, end, received_ns)
            at = end
        self._rest = buffer[at:]
