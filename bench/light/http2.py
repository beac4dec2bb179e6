"""HTTP/2 as far as gRPC clients need it: frames, and the headers of a request.

The windows we grant are as wide as can be, so that no server ever waits for us. What a server says in headers is passed
over: a call that brought a message was answered, and one that ended without was not.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Sequence
from typing import Final, cast

from bench.light.tally import Tally, now_ns

DATA: Final = 0
HEADERS: Final = 1
RST_STREAM: Final = 3
SETTINGS: Final = 4
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4

FRAME_HEADER_BYTES: Final = 9
FRAME_BYTES_MAX: Final = 16_384
"""What every peer takes unasked."""
WINDOW_MAX: Final = 2**31 - 1
WINDOW_UNASKED: Final = 65_535
REOPEN_BYTES: Final = 2**28
"""How much we take before we widen the connection's window again."""
SETTINGS_BODY: Final = struct.pack(">HIHIHI", 1, 0, 2, 0, 4, WINDOW_MAX)
"""No header table, no push, the widest window for every stream."""
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PREFIX_BYTES: Final = 5
"""Before each gRPC message: not compressed, and its length."""
STATIC_ENTRIES: Final = 61
TABLE_BYTES_MAX: Final = 4_096
ENTRY_OVERHEAD_BYTES: Final = 32

Header = tuple[bytes, bytes]


def frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


class HeaderTable:
    """Writes headers (RFC 7541) as real clients do: in full the first time on a connection, as a byte from then on."""

    def __init__(self) -> None:
        self._numbers: dict[Header, int] = {}
        self._bytes = 0

    def block(self, headers: Sequence[Header]) -> bytes:
        block = bytearray()
        for header in headers:
            number = self._numbers.get(header)
            if number is not None:
                block += _integer(STATIC_ENTRIES + len(self._numbers) - number, prefix_bits=7, flags=0x80)
                continue
            name, value = header
            self._bytes += len(name) + len(value) + ENTRY_OVERHEAD_BYTES
            assert self._bytes <= TABLE_BYTES_MAX, "the table forgets nothing yet"
            self._numbers[header] = len(self._numbers)
            block += b"\x40" + _text(name) + _text(value)
        return bytes(block)


class Connection(asyncio.Protocol):
    """One connection with gRPC calls on it. What comes is handed to `received` and `ended`."""

    def __init__(self, tally: Tally, *, metadata: Sequence[Header] = ()) -> None:
        self.tally = tally
        self._metadata = tuple(metadata)
        self._table = HeaderTable()
        self._next_stream = 1
        self._rest = b""
        self._taken = 0
        self._transport: asyncio.WriteTransport

    # What there is to do.

    def call(self, path: bytes, message: bytes, *, more: bool = False) -> int:
        """Begin a call with a message, the last one unless there will be `more`; returns its number."""
        stream = self._next_stream
        self._next_stream += 2
        headers: tuple[Header, ...] = (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path),
            (b":authority", b"127.0.0.1"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *self._metadata,
        )
        opening = frame(HEADERS, END_HEADERS, stream, self._table.block(headers))
        self._transport.write(opening + _messages(stream, message, last=not more))
        return stream

    def send(self, stream: int, message: bytes) -> None:
        """Send another message of a call."""
        self._transport.write(_messages(stream, message, last=False))

    def reset(self, stream: int) -> None:
        """Call a call off."""
        self._transport.write(frame(RST_STREAM, 0, stream, struct.pack(">I", 8)))

    def close(self) -> None:
        self._transport.abort()

    # What the server says.

    def received(self, stream: int, buffer: bytes, start: int, end: int, received_ns: int) -> None:
        """Take a part of what a call answers; messages may be cut anywhere."""

    def ended(self, stream: int) -> None:
        """Learn that a call has ended."""

    # asyncio's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.WriteTransport", transport)  # uvloop's are none by inheritance
        wider = struct.pack(">I", WINDOW_MAX - WINDOW_UNASKED)
        self._transport.write(PREFACE + frame(SETTINGS, 0, 0, SETTINGS_BODY) + frame(WINDOW_UPDATE, 0, 0, wider))

    def connection_lost(self, exc: Exception | None) -> None:
        self.tally.lose(f"the connection was lost: {exc}")

    def data_received(self, data: bytes) -> None:
        received_ns = now_ns()
        buffer = self._rest + data if self._rest else data
        at, size = 0, len(buffer)
        while at + FRAME_HEADER_BYTES <= size:
            body = at + FRAME_HEADER_BYTES
            end = body + (buffer[at] << 16 | buffer[at + 1] << 8 | buffer[at + 2])
            if end > size:
                break
            kind, flags = buffer[at + 3], buffer[at + 4]
            stream = int.from_bytes(buffer[at + 5 : body], "big")
            if kind == DATA:
                self.received(stream, buffer, body, end, received_ns)
                self._taken += end - body
                if flags & END_STREAM:
                    self.ended(stream)
            else:
                self._control(kind, flags, stream, buffer[body:end])
            at = end
        self._rest = buffer[at:]
        if self._taken > REOPEN_BYTES:
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._taken)))
            self._taken = 0

    def _control(self, kind: int, flags: int, stream: int, body: bytes) -> None:
        if kind == RST_STREAM or (kind == HEADERS and flags & END_STREAM):
            self.ended(stream)
        elif kind in {SETTINGS, PING} and not flags & ACK:
            self._transport.write(frame(kind, ACK, 0, body if kind == PING else b""))
        elif kind == GOAWAY:
            self.tally.lose(f"the server goes away: {body[8:].decode(errors='replace')}")


def _messages(stream: int, message: bytes, *, last: bool) -> bytes:
    """Return the frames of one gRPC message."""
    data = b"\0" + len(message).to_bytes(4, "big") + message
    parts = [data[at : at + FRAME_BYTES_MAX] for at in range(0, len(data), FRAME_BYTES_MAX)]
    frames = [frame(DATA, 0, stream, part) for part in parts[:-1]]
    return b"".join((*frames, frame(DATA, END_STREAM if last else 0, stream, parts[-1])))


def _text(value: bytes) -> bytes:
    return _integer(len(value), prefix_bits=7, flags=0) + value


def _integer(value: int, *, prefix_bits: int, flags: int) -> bytes:
    largest = (1 << prefix_bits) - 1
    if value < largest:
        return bytes((flags | value,))
    rest = value - largest
    encoded = bytearray((flags | largest,))
    while rest >= 128:
        encoded.append(rest & 127 | 128)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)
