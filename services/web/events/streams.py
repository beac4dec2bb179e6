"""All streams to browsers of one process: how many there may be, their signs of life, and how they end.

A handler opens a stream; `Streaming`, around a whole front, goes on with it when the handler and all around it are
done, so that thousands of streams hold neither their frames nor what the browsers said. A stream is one task; all else
is shared: one loop gives signs of life, finds sessions that ended and readers that do not read, a part at a time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from enum import StrEnum
from typing import Final, Protocol, Self, TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from batzen.errors import LASTING, BatzenError
from services.runtime.observability.metrics import Meter
from services.runtime.work.loops import detached, repeating
from services.web.connection import ABORT, ON_LEFT, OnLeft
from services.web.events.frames import DRAIN_RETRY_MS, HEARTBEAT, ending, retry
from services.web.failures import Refusal
from services.web.metrics import STREAM_CHUNKS, STREAMS_ENDED, STREAMS_OPEN, STREAMS_REFUSED, TRANSITION_SECONDS
from services.web.security.addresses import address_block
from services.web.security.guard import CORRELATION

PER_SESSION_MAX: Final = 8
"""Tabs of one person that each follow something."""
PER_ADDRESS_MAX: Final = 200
"""A whole office behind one address, and no flood."""
PER_PROCESS_MAX: Final = 10_000
"""~250 MB at 25 KB each."""
FULL_RETRY: Final = timedelta(seconds=10)
HEARTBEAT_S: Final = 15.0
"""Proxies close what is silent for a minute."""
PARTS: Final = 30
"""Of all streams, looked at one after the other: 10,000 at once would hold up everything else for half a second."""
SEND_MAX_S: Final = 10.0
"""A reader that takes nothing for so long, beyond what the kernel holds for it, is dropped."""
OPENED: Final = "batzen.stream"
"""Where the scope of a request holds the stream that it opened."""
KEPT: Final = ("type", "method", "path", "client", CORRELATION)
"""What the scope goes on holding: for the server, and for the calls that a source makes."""
_STARTED: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),  # or proxies of nginx's kind hold events back
    ],
}

K = TypeVar("K")


class End(StrEnum):
    """Why a stream ended."""

    SETTLED = "settled"
    """Everything was told."""
    SESSION_ENDED = "session_ended"
    """Its session was ended, or ran out."""
    REFUSED = "refused"
    """A service says that the person may not, or no longer, see this."""
    TROUBLE = "trouble"
    """It cannot go on here, such as without a service; the browser comes back."""
    DRAINING = "draining"
    """The process ends; the browser comes back, to another."""
    SLOW = "slow"
    """Its reader does not read."""
    GONE = "gone"
    """The browser left."""


FINAL: Final = frozenset({End.SETTLED, End.SESSION_ENDED, End.REFUSED})
"""The browser is told not to come back."""


class ComesBack(Exception):
    """What is told next needs a new stream, for which the browser comes back."""


class Source(Protocol):
    """What one stream tells, while it is entered."""

    recorded: float | None
    """When the oldest transition of the last chunk was recorded, in seconds since 1970; None where it has none."""

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *_: object) -> None: ...

    async def next_or_woken(self) -> bytes | None:
        """Return the next chunk, or None after `wake`. StopAsyncIteration when all is told, or ComesBack."""

    def wake(self) -> None:
        """Have `next_or_woken` return, if it waits."""


class _Stream:
    """One open stream."""

    __slots__ = (
        "abort", "address", "end", "is_beat_due", "on_left", "part", "sends_since", "session_key", "source", "streams",
    )  # fmt: skip

    def __init__(
        self, streams: EventStreams, scope: Scope, *, session_key: bytes, address: str, part: int, source: Source
    ) -> None:
        self.streams = streams
        self.session_key = session_key
        self.address = address
        self.part = part
        self.source = source
        self.abort: Callable[[], None] = scope[ABORT]
        """Cuts the connection, whatever waits to be written."""
        self.on_left: OnLeft = scope[ON_LEFT]
        self.end: End | None = None
        self.is_beat_due = False
        self.sends_since: float | None = None
        """When the writing that is under way began, by the event loop's clock."""

    def finish(self, end: End) -> None:
        """Have it end; the first reason stands."""
        if self.end is None:
            self.end = end
            self.source.wake()

    def gone(self) -> None:
        """Have it end since the browser left."""
        self.finish(End.GONE)


class EventStreams:
    """The streams of one process."""

    def __init__(
        self,
        *,
        living: Callable[[Collection[bytes]], Awaitable[Collection[bytes]]],
        draining: asyncio.Event,
        meter: Meter,
        chance: random.Random | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`living` returns which of some sessions, by their keys, are not over; `clock` is in seconds since 1970."""
        self._living = living
        self._draining = draining
        self._chance = chance or random.Random()  # noqa: S311 not a secret
        self._clock = clock
        self._parts: list[set[_Stream]] = [set() for _ in range(PARTS)]
        self._turn = 0
        self.count = 0
        """How many are open."""
        self._opened = 0
        self._by_session: Counter[bytes] = Counter()
        self._by_address: Counter[str] = Counter()
        self._ended = meter.counter(STREAMS_ENDED)
        self._refused = meter.counter(STREAMS_REFUSED)
        self._chunks = meter.counter(STREAM_CHUNKS)
        self._ages = meter.histogram(TRANSITION_SECONDS)
        is_open = meter.gauge(STREAMS_OPEN)
        meter.read_when_asked(lambda: is_open.set(self.count))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Give signs of life and end what has to end, while inside."""
        drain = detached(self._drain(), name="browser streams' end")
        try:
            async with repeating(self.look, name="browser streams", every_s=HEARTBEAT_S / PARTS):
                yield
        finally:
            drain.cancel()

    async def open(self, scope: Scope, send: Send, *, session_key: bytes, source: Source) -> None:
        """Answer a request with a stream, with which `Streaming` goes on.

        Raises:
            Refusal: TOO_MANY_STREAMS; nothing was sent yet.
        """
        address = address_block(scope)
        self._refuse_beyond_limits(session_key, address)
        scope[OPENED] = self._entered(scope, session_key, address, source)
        await send(dict(_STARTED))

    async def go_on(self, stream: _Stream, send: Send) -> None:
        """Tell an opened stream what there is, until it ends."""
        try:
            await self._write(stream, send, retry(self._chance))
            async with stream.source:
                await self._tell(stream, send, since=self._clock())
            await self._say_goodbye(stream, send)
        finally:
            self.leave(stream)

    def leave(self, stream: _Stream) -> None:
        """Count a stream no longer."""
        stream.on_left(None)
        self._parts[stream.part].discard(stream)
        self.count -= 1
        _count_down(self._by_session, stream.session_key)
        _count_down(self._by_address, stream.address)
        self._ended.add(stream.end or End.TROUBLE)

    def end_session(self, session_key: bytes) -> None:
        """End the streams of a session that was ended here; the other processes see it by themselves."""
        for stream in self._all():
            if stream.session_key == session_key:
                stream.finish(End.SESSION_ENDED)

    async def look(self) -> None:
        """Look at the next part of all streams."""
        self._turn = (self._turn + 1) % PARTS
        streams = list(self._parts[self._turn])
        if not streams:
            return
        late = asyncio.get_running_loop().time() - SEND_MAX_S
        living = await self._living({stream.session_key for stream in streams})
        for stream in streams:
            if stream.session_key not in living:
                stream.finish(End.SESSION_ENDED)
            if stream.sends_since is None:
                stream.is_beat_due = True
                stream.source.wake()
            elif stream.sends_since < late:
                stream.finish(End.SLOW)
                stream.abort()

    async def _drain(self) -> None:
        await self._draining.wait()
        for stream in self._all():
            stream.finish(End.DRAINING)

    def _all(self) -> list[_Stream]:
        return [stream for part in self._parts for stream in part]

    def _entered(self, scope: Scope, session_key: bytes, address: str, source: Source) -> _Stream:
        stream = _Stream(
            self, scope, session_key=session_key, address=address, part=self._opened % PARTS, source=source
        )
        self._opened += 1
        self.count += 1
        self._by_session[session_key] += 1
        self._by_address[address] += 1
        self._parts[stream.part].add(stream)
        if self._draining.is_set():
            stream.finish(End.DRAINING)
        stream.on_left(stream.gone)
        return stream

    def _refuse_beyond_limits(self, session_key: bytes, address: str) -> None:
        limits = (
            ("process", self.count, PER_PROCESS_MAX, 503),
            ("address", self._by_address[address], PER_ADDRESS_MAX, 429),
            ("session", self._by_session[session_key], PER_SESSION_MAX, 429),
        )
        for limit, count, at_most, status in limits:
            if count >= at_most:
                self._refused.add(limit)
                explanation = f"At most {at_most} streams of one {limit} are open at a time."
                raise Refusal(
                    status, "TOO_MANY_STREAMS", explanation=explanation, retry_after=FULL_RETRY, limit="streams"
                )

    async def _tell(self, stream: _Stream, send: Send, *, since: float) -> None:
        source = stream.source
        while stream.end is None:
            try:
                chunk = await source.next_or_woken()
            except StopAsyncIteration:
                stream.finish(End.SETTLED)
            except ComesBack:
                stream.finish(End.TROUBLE)
            except BatzenError as error:
                stream.finish(End.REFUSED if isinstance(error, LASTING) else End.TROUBLE)
            else:
                if chunk is not None:
                    self._chunks.add()
                    await self._write(stream, send, chunk)
                    if source.recorded is not None and source.recorded >= since:  # else it is told what it missed
                        self._ages.observe(max(self._clock() - source.recorded, 0.0))
                elif stream.is_beat_due and stream.end is None:
                    await self._write(stream, send, HEARTBEAT)
                stream.is_beat_due = False  # whatever was written is a sign of life

    async def _say_goodbye(self, stream: _Stream, send: Send) -> None:
        if stream.end in FINAL:
            last = ending(stream.end)
        else:
            last = retry(self._chance, DRAIN_RETRY_MS) if stream.end is End.DRAINING else b""
        if stream.end is not End.GONE:
            await self._write(stream, send, last, more_body=False)

    @staticmethod
    async def _write(stream: _Stream, send: Send, chunk: bytes, *, more_body: bool = True) -> None:
        stream.sends_since = asyncio.get_running_loop().time()
        await send({"type": "http.response.body", "body": chunk, "more_body": more_body})
        stream.sends_since = None


class Streaming:
    """Around a whole front: goes on with the stream that a request has opened."""

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._inner(scope, receive, send)
        except BaseException:
            if (failed := scope.pop(OPENED, None)) is not None:
                failed.streams.leave(failed)
            raise
        stream: _Stream | None = scope.pop(OPENED, None)
        if stream is not None:
            kept = {name: scope[name] for name in KEPT if name in scope}
            scope.get("headers", []).clear()
            scope.clear()  # all that asked for the rest is done
            scope.update(kept)
            await stream.streams.go_on(stream, send)


def _count_down(counts: Counter[K], key: K) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
