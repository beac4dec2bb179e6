"""The network between a caller and a replica: a TCP proxy that can be slow, silent, cut in mid-frame, reset or closed.

Silent means that nothing passes while it lasts, and everything after it, as with packets that are sent again, unless
the connections are cut first. What a peer closes during silence is not heard until it ends.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, Self, cast

HOST: Final = "127.0.0.1"
BUFFER_MAX_BYTES: Final = 65_536
"""What waits for a peer that does not read, before the other is not read any more."""
_RESET: Final = struct.pack("ii", 1, 0)


class Link:
    """Passes bytes between those who connect to `port` and a port behind it."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._pairs: set[_Pair] = set()
        self.port = 0
        self.latency_s = 0.0
        self.is_silent = False
        self.is_closed = False
        """New connections are reset."""

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int) -> AsyncIterator[Self]:
        """Listen on a port of its own while inside."""
        link = cls(target)
        server = await asyncio.get_running_loop().create_server(link._accept, HOST, 0)
        link.port = server.sockets[0].getsockname()[1]
        try:
            yield link
        finally:
            server.close()
            link.reset()

    def fall_silent(self) -> None:
        self.is_silent = True
        for pair in self._pairs:
            pair.pause()

    def heal(self) -> None:
        """Pass everything again, at once."""
        self.latency_s, self.is_silent, self.is_closed = 0.0, False, False
        for pair in list(self._pairs):
            pair.go_on()

    def reset(self) -> None:
        """Reset every connection."""
        for pair in list(self._pairs):
            pair.reset()

    def cut(self, after_bytes: int) -> None:
        """Let each connection pass so many bytes more to the caller, and then end it: most likely within a frame."""
        for pair in self._pairs:
            pair.near.cut_after = after_bytes

    def _accept(self) -> asyncio.Protocol:
        pair = _Pair(self, self._target)
        self._pairs.add(pair)
        return pair.near

    def forget(self, pair: _Pair) -> None:
        self._pairs.discard(pair)


class _Pair:
    """One connection: `near` faces who connected, `far` the target."""

    def __init__(self, link: Link, target: int) -> None:
        self.link = link
        self.near, self.far = _Side(self), _Side(self)
        self.near.other, self.far.other = self.far, self.near
        self._target = target
        self._connecting: asyncio.Task[None] | None = None
        self._is_over = False

    def connect(self) -> None:
        """The caller is here: reach for the target, unless it is not to be reached."""
        if self.link.is_closed:
            self.reset()
        elif self.link.is_silent:
            self.pause()
        elif self._connecting is None:
            self._connecting = asyncio.ensure_future(self._connect())

    def pause(self) -> None:
        self.near.hold(silent=True)
        self.far.hold(silent=True)

    def go_on(self) -> None:
        self.near.hold(silent=False)
        self.far.hold(silent=False)
        if self.far.transport is None:
            self.connect()

    def reset(self) -> None:
        for side in (self.near, self.far):
            if side.transport is not None and not side.transport.is_closing():
                own = cast("socket.socket", side.transport.get_extra_info("socket"))
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.end()

    def end(self) -> None:
        """Close both sides without a further byte."""
        if self._is_over:
            return
        self._is_over = True
        self.link.forget(self)
        if self._connecting is not None:
            self._connecting.cancel()
        for side in (self.near, self.far):
            if side.transport is not None:
                side.transport.abort()

    async def _connect(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, HOST, self._target)
        except OSError:
            self.reset()


class _Side(asyncio.Protocol):
    """One end of a connection: what comes in here goes out at the other."""

    def __init__(self, pair: _Pair) -> None:
        self._pair = pair
        self.other: _Side
        self.transport: asyncio.Transport | None = None
        self.cut_after: int | None = None
        self._early = bytearray()
        """What came for this side before it was connected."""
        self._delayed: deque[tuple[float, bytes]] = deque()
        self._is_waiting = False
        self._is_silent = False
        self._is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(high=BUFFER_MAX_BYTES)
        if self is self._pair.near:
            self._pair.connect()
        else:
            self.hold(silent=self._pair.link.is_silent)
            self._send(bytes(self._early))
            self._early.clear()

    def data_received(self, data: bytes) -> None:
        latency_s = self._pair.link.latency_s
        if latency_s or self._delayed:
            loop = asyncio.get_running_loop()
            self._delayed.append((loop.time() + latency_s, data))
            if not self._is_waiting:
                self._is_waiting = True
                loop.call_at(self._delayed[0][0], self._pass_delayed)
        else:
            self.other.deliver(data)

    def eof_received(self) -> bool:
        return False  # HTTP/2 has no half-closed connections

    def connection_lost(self, error: Exception | None) -> None:
        while self._delayed and error is None:
            self.other.deliver(self._delayed.popleft()[1])
        if self.other.transport is not None:
            self.other.transport.close()
        self._pair.link.forget(self._pair)

    def pause_writing(self) -> None:
        self.other.hold(full=True)

    def resume_writing(self) -> None:
        self.other.hold(full=False)

    def hold(self, *, silent: bool | None = None, full: bool | None = None) -> None:
        """Read from this side no more, or again: while the link is silent, or the other side full."""
        self._is_silent = self._is_silent if silent is None else silent
        self._is_full = self._is_full if full is None else full
        if self.transport is None or self.transport.is_closing():
            return
        if self._is_silent or self._is_full:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def deliver(self, data: bytes) -> None:
        """Send what came at the other side."""
        if self.transport is None:
            self._early += data
        elif self.cut_after is None:
            self._send(data)
        else:
            self._send(data[: self.cut_after])
            self.cut_after -= len(data)
            if self.cut_after <= 0:
                self._pair.end()

    def _send(self, data: bytes) -> None:
        if data and self.transport is not None and not self.transport.is_closing():
            self.transport.write(data)

    def _pass_delayed(self) -> None:
        loop = asyncio.get_running_loop()
        while self._delayed and self._delayed[0][0] <= loop.time():
            self.other.deliver(self._delayed.popleft()[1])
        self._is_waiting = bool(self._delayed)
        if self._delayed:
            loop.call_at(self._delayed[0][0], self._pass_delayed)
