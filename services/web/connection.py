"""One connection of a browser: uvicorn's, with the limits that it does not have by itself.

Its parser takes headers without end and waits for them for ever. Here a connection has few seconds for the headers of
a request and few kilobytes for them; whoever goes beyond is cut off, without an answer where the request has no
beginning to answer to. uvicorn stops its clock of idle connections at any byte: here each byte that comes while nothing
is being answered has a deadline, which no further byte puts off.

Once the process ends each answer is the last on its connection, and whoever has begun to ask is answered.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.web.rates import network_of

HEADER_BYTES_MAX: Final = 32 * 1024
"""Of all headers of a request with its address."""
HEADERS_MAX: Final = 100
HEADERS_S: Final = 10.0
"""For the headers of a request, from the opening of the connection or from the first byte after an answer."""
PER_ADDRESS_MAX: Final = 1_000
"""Connections that are open at once from one address, or an IPv6 /64, which is none of our proxies': an office with all
its streams, and no flood.
"""
ABORT: Final = "batzen.abort"
"""Where the scope of a request holds what cuts its connection at once, whatever is still to be written."""
ON_LEFT: Final = "batzen.on_left"
"""Where it holds what is given a function to call when the browser has left, or None to call none any more."""

OnLeft = Callable[[Callable[[], None] | None], None]


class Peers:
    """How many connections each address has."""

    def __init__(self, trusted_proxies: Sequence[str]) -> None:
        """Connections of our own proxies are not counted: they are those of everybody."""
        self._trusted = [ip_network(one, strict=False) for one in trusted_proxies]
        self._counts: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection; False if there are too many, and it was not."""
        if self._counts[address] >= PER_ADDRESS_MAX:
            return False
        self._counts[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count one no longer."""
        self._counts[address] -= 1
        if not self._counts[address]:
            del self._counts[address]

    def is_trusted(self, address: str) -> bool:
        """Tell whether an address is that of a proxy of ours."""
        try:
            found = ip_address(address)
        except ValueError:
            return False
        return any(found in network for network in self._trusted)


class Connection(HttpToolsProtocol):
    """A connection with limits."""

    # With more than 30 attributes in its dictionary each object would have a table of its own, of 1.2 KB.
    __slots__ = (
        "_counted_as", "_deadline", "_draining", "_has_begun", "_header_bytes", "_is_reading_headers", "_left",
        "_peers", "_unparsed_bytes",
    )  # fmt: skip

    def __init__(self, *arguments: Any, peers: Peers, draining: asyncio.Event, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._peers = peers
        self._draining = draining
        self._counted_as: str | None = None
        self._unparsed_bytes = 0
        self._header_bytes = 0
        self._is_reading_headers = True
        self._has_begun = False
        self._deadline: asyncio.TimerHandle | None = None
        self._left: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()
        address = self.client[0] if self.client is not None else ""
        if self._peers.is_trusted(address):
            return
        block = network_of(address)
        if self._peers.enter(block):
            self._counted_as = block
        else:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        if self._counted_as is not None:
            self._peers.leave(self._counted_as)
        if self._left is not None:
            self._left()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_reading_headers:
            self._unparsed_bytes += len(data)  # the parser hands a header on when that is complete, and it may never be
        super().data_received(data)
        if self._is_reading_headers and self._unparsed_bytes > HEADER_BYTES_MAX:
            self._refuse()
        if self._is_answered and self._deadline is None and not self.transport.is_closing():
            self._await_headers()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._has_begun = True
        if self._deadline is None:
            self._await_headers()
        self.scope[ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]
        self.scope[ON_LEFT] = self._on_left  # type: ignore[typeddict-unknown-key]

    def on_url(self, url: bytes) -> None:
        super().on_url(url)
        if len(self.url) > HEADER_BYTES_MAX:
            self._refuse()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        self._header_bytes += len(name) + len(value)
        if len(self.headers) > HEADERS_MAX or self._header_bytes > HEADER_BYTES_MAX:
            self._refuse()

    def on_headers_complete(self) -> None:
        self._have_headers()
        self._is_reading_headers = self._has_begun = False
        if not self.transport.is_closing():
            super().on_headers_complete()
            if self._draining.is_set():
                self.part()

    def on_message_complete(self) -> None:
        self._is_reading_headers = True
        self._unparsed_bytes = self._header_bytes = 0
        if self.cycle is not None:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

    def part(self) -> None:
        """Have what is being answered, if anything is, be the last: its headers say so if they are still to be sent."""
        if not self._is_answered:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """Close it, unless somebody has begun to ask: they are answered first, or cut off at their deadline."""
        if not self._has_begun:
            super().shutdown()

    @property
    def _is_answered(self) -> bool:
        """Whether nothing is being answered: what comes now begins a request, or is the rest of a body, or nothing."""
        return not self.pipeline and (self.cycle is None or self.cycle.response_complete)

    def _on_left(self, told: Callable[[], None] | None) -> None:
        self._left = told
        if told is not None and self.transport.is_closing():
            told()

    def _await_headers(self) -> None:
        self._deadline = self.loop.call_later(HEADERS_S, self._refuse)

    def _have_headers(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self) -> None:
        """Cut it off."""
        self._have_headers()
        self.transport.abort()
