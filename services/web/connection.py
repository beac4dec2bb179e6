"""One connection of a browser: uvicorn's, with the limits that it does not have by itself.

Its parser takes headers without end and waits for them for ever. Here a connection has few seconds for the headers of
a request and few kilobytes for them; whoever goes beyond is cut off, without an answer where the request has no
beginning to answer to.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_BYTES_MAX: Final = 32 * 1024
"""Of all headers of a request with its address."""
HEADERS_MAX: Final = 100
HEADERS_S: Final = 10.0
"""For the headers of a request, from the opening of the connection or from the first byte of a further request."""
ABORT: Final = "batzen.abort"
"""Where the scope of a request holds what cuts its connection at once, whatever is still to be written."""


class Connection(HttpToolsProtocol):
    """A connection with limits."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._unparsed_bytes = 0
        self._header_bytes = 0
        self._is_reading_headers = True
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_headers()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_reading_headers:
            self._unparsed_bytes += len(data)  # the parser hands a header on when that is complete, and it may never be
        super().data_received(data)
        if self._is_reading_headers and self._unparsed_bytes > HEADER_BYTES_MAX:
            self._refuse()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._deadline is None:
            self._await_headers()
        self.scope[ABORT] = self.transport.abort  # type: ignore[typeddict-unknown-key]

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
        self._is_reading_headers = False
        if not self.transport.is_closing():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._is_reading_headers = True
        self._unparsed_bytes = self._header_bytes = 0
        if self.cycle is not None:
            super().on_message_complete()

    def on_body(self, body: bytes) -> None:
        if self.cycle is not None:
            super().on_body(body)

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
