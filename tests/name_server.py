"""A DNS server on loopback, as a cluster's is for headless Services: a name, the addresses of its ready pods.

It knows A records alone, and answers "no such data" to every other question about a name it has. What is asked is kept.
"""

from __future__ import annotations

import asyncio
import ipaddress
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, cast

TTL_S: Final = 1
"""Of an answer. CoreDNS gives records of a cluster 5 s, gRPC keeps no answer longer than its own limit."""
A: Final = 1
IN: Final = 1
HEADER: Final = struct.Struct("!6H")
ANSWERED: Final = 0x8400
"""A response, from who knows best."""
NO_SUCH_NAME: Final = 0x8403
NAME_OF_THE_QUESTION: Final = 0xC00C


class NameServer(asyncio.DatagramProtocol):
    """Answers what `publish` was told last."""

    def __init__(self) -> None:
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self.asked = 0
        """How often the addresses of a name were asked for."""

    @property
    def port(self) -> int:
        assert self._transport is not None
        return int(self._transport.get_extra_info("sockname")[1])

    def target(self, name: str, *, port: int) -> str:
        """Return what a channel is given to ask this server for a name."""
        return f"dns://127.0.0.1:{self.port}/{name}:{port}"

    def publish(self, name: str, addresses: Sequence[str]) -> None:
        """Answer with these addresses from now on."""
        self._addresses[name] = tuple(addresses)

    def addresses(self, name: str) -> tuple[str, ...]:
        """Return what is published."""
        return self._addresses.get(name, ())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        self._transport.sendto(self._answer(data), addr)

    def _answer(self, query: bytes) -> bytes:
        (number, *_) = HEADER.unpack_from(query)
        labels, at = [], HEADER.size
        while length := query[at]:
            labels.append(query[at + 1 : at + 1 + length].decode())
            at += 1 + length
        kind, _ = struct.unpack_from("!2H", query, at + 1)
        question = query[HEADER.size : at + 5]
        name = ".".join(labels).lower()
        if name not in self._addresses:
            return HEADER.pack(number, NO_SUCH_NAME, 1, 0, 0, 0) + question
        records = b""
        found = self._addresses[name] if kind == A else ()
        if kind == A:
            self.asked += 1
        for address in found:
            packed = ipaddress.IPv4Address(address).packed
            records += struct.pack("!3HIH", NAME_OF_THE_QUESTION, A, IN, TTL_S, len(packed)) + packed
        return HEADER.pack(number, ANSWERED, 1, len(found), 0, 0) + question + records


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    """Run a server while inside."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        NameServer, local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
