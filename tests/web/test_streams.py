"""Streams to browsers begin, live and end as one who listens to the application itself sees it."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import grpc
import pytest
from starlette.types import Message, Receive, Scope, Send

from batzen.errors import BatzenError, refused
from services.runtime.observability.metrics import Meter
from services.web.connection import ABORT, ON_LEFT
from services.web.events import streams as module
from services.web.events.frames import HEARTBEAT
from services.web.events.streams import KEPT, PARTS, EventStreams, Streaming
from services.web.failures import Refusal
from services.web.metrics import STREAM_CHUNKS, STREAMS_ENDED, STREAMS_OPEN, STREAMS_REFUSED, TRANSITION_SECONDS
from tests.eventually import WITHIN_S

KEY = b"session"


class Told:
    """A source that tells what a test has it tell."""

    recorded: float | None = None

    def __init__(self) -> None:
        self._next: deque[bytes | BatzenError | None] = deque()
        self._woken = asyncio.Event()
        self.was_left = False

    def tell(self, chunk: bytes | BatzenError | None) -> None:
        """Tell a chunk, fail, or be over (None)."""
        self._next.append(chunk)
        self.wake()

    def wake(self) -> None:
        self._woken.set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.was_left = True

    async def next_or_woken(self) -> bytes | None:
        await self._woken.wait()
        if not self._next:
            self._woken.clear()
            return None
        match self._next.popleft():
            case None:
                raise StopAsyncIteration
            case bytes() as chunk:
                return chunk
            case error:
                raise error


@dataclass
class Browser:
    """Who listens: everything it received, and when it leaves."""

    received: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    reads: asyncio.Event = field(default_factory=asyncio.Event)
    was_cut: asyncio.Event = field(default_factory=asyncio.Event)
    ended: bool = False
    leave: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self.reads.set()

    def scope(self, ip: str) -> Scope:
        """What a request of it comes with, as `Connection` makes it."""
        return {"type": "http", "client": (ip, 1), "headers": [], ABORT: self.cut, ON_LEFT: self.on_left}

    def on_left(self, told: Callable[[], None] | None) -> None:
        self.leave = told

    async def receive(self) -> Message:
        raise AssertionError("nobody asks for the body of a stream")

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        if message["type"] == "http.response.body":
            self.ended = not message["more_body"]
            self.received.put_nowait(message["body"])

    def cut(self) -> None:
        """Be cut off, as a transport is: whoever waits to write waits no longer."""
        self.was_cut.set()
        self.reads.set()
        if self.leave is not None:
            self.leave()

    async def next(self) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self.received.get()


class World:
    """The streams of a process whose sessions a test ends."""

    def __init__(self) -> None:
        self.over: set[bytes] = set()
        self.draining = asyncio.Event()
        self.meter = Meter()
        self.time = 1_000.0
        self.streams = EventStreams(
            living=self._living,
            draining=self.draining,
            meter=self.meter,
            chance=random.Random(3),
            clock=lambda: self.time,
        )

    async def _living(self, keys: Collection[bytes]) -> Collection[bytes]:
        return set(keys) - self.over

    @asynccontextmanager
    async def listening(self, *, key: bytes = KEY, ip: str = "192.0.2.1") -> AsyncIterator[tuple[Browser, Told]]:
        """A browser that listens while inside, and has heard when to come back; it has to have ended after."""
        browser, source = Browser(), Told()
        async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
            group.create_task(self.serve(browser, browser.scope(ip), key=key, source=source))
            assert (await browser.next()).startswith(b"retry: ")
            yield browser, source

    async def serve(self, browser: Browser, scope: Scope, *, key: bytes, source: Told) -> None:
        """Answer a request as a front does, to the end of its stream."""

        async def handler(scope: Scope, _: Receive, send: Send) -> None:
            await self.streams.open(scope, send, session_key=key, source=source)

        await Streaming(handler)(scope, browser.receive, browser.send)

    async def look_at_all(self) -> None:
        for _ in range(PARTS):
            await self.streams.look()

    async def figure(self, line: str) -> bool:
        return line.encode() in await self.meter.text()


@pytest.fixture
def world() -> World:
    return World()


async def test_what_is_told_is_written_and_the_end_said(world: World) -> None:
    async with world.listening() as (browser, source):
        source.tell(b"one")
        source.tell(b"two")
        source.tell(None)

        assert [await browser.next() for _ in range(3)] == [
            b"one",
            b"two",
            b'event: end\ndata: {"reason": "settled"}\n\n',
        ]
    assert browser.ended
    assert world.streams.count == 0
    assert await world.figure(f'{STREAMS_ENDED.name}{{why="settled"}} 1.0')
    assert await world.figure(f"{STREAM_CHUNKS.name} 2.0")


async def test_how_old_a_transition_was_when_a_listening_browser_had_it_is_counted(world: World) -> None:
    async with world.listening() as (browser, source):
        for recorded, now in ((999.0, 1_000.0), (1_001.0, 1_003.0), (1_004.0, 1_003.0), (None, 1_003.0)):
            source.recorded, world.time = recorded, now
            source.tell(b"one")
            await browser.next()
        source.tell(None)

    # What it missed before it came is not counted, and a clock that is ahead is no time before.
    assert await world.figure(f"{TRANSITION_SECONDS.name}_count 2.0")
    assert await world.figure(f"{TRANSITION_SECONDS.name}_sum 2.0")


async def test_a_silent_stream_gives_signs_of_life(world: World) -> None:
    async with world.listening() as (browser, source):
        await world.look_at_all()

        assert await browser.next() == HEARTBEAT
        assert await world.figure(f"{STREAMS_OPEN.name} 1.0")
        source.tell(None)


async def test_a_session_that_ends_anywhere_ends_its_streams_with_the_reason(world: World) -> None:
    async with world.listening(key=b"other") as (other, source), world.listening() as (browser, _):
        world.over.add(KEY)
        await world.look_at_all()

        assert await browser.next() == b'event: end\ndata: {"reason": "session_ended"}\n\n'
        assert await other.next() == HEARTBEAT
        source.tell(None)


async def test_a_session_that_is_ended_here_ends_its_streams_at_once(world: World) -> None:
    async with world.listening(key=b"other") as (other, source), world.listening() as (browser, _):
        world.streams.end_session(KEY)

        assert await browser.next() == b'event: end\ndata: {"reason": "session_ended"}\n\n'
        assert other.received.empty()
        source.tell(None)


async def test_a_process_that_ends_sends_browsers_to_another(world: World) -> None:
    async with world.streams.running(), world.listening() as (browser, _):
        world.draining.set()

        last = await browser.next()
    assert last.startswith(b"retry: ")
    assert browser.ended

    async with world.listening() as (late, _):  # who comes now is sent on, too
        assert (await late.next()).startswith(b"retry: ")


async def test_a_refusal_is_final_and_trouble_is_not(world: World) -> None:
    async with world.listening() as (refused_one, source):
        source.tell(refused(grpc.StatusCode.NOT_FOUND, reason="PAYMENT_NOT_FOUND", message="none"))
        assert await refused_one.next() == b'event: end\ndata: {"reason": "refused"}\n\n'

    async with world.listening() as (troubled, source):
        source.tell(refused(grpc.StatusCode.UNAVAILABLE, message="away"))
        assert await troubled.next() == b""
    assert troubled.ended


async def test_a_browser_that_leaves_frees_its_place(world: World) -> None:
    async with world.listening() as (browser, _):
        assert browser.leave is not None
        browser.leave()

    assert world.streams.count == 0
    assert browser.leave is None
    assert await world.figure(f'{STREAMS_ENDED.name}{{why="gone"}} 1.0')


async def test_a_stream_that_runs_holds_nothing_of_the_request_and_at_its_end_nothing_at_all(world: World) -> None:
    browser, source = Browser(), Told()
    headers = [(b"user-agent", b"x" * 500)]
    scope = browser.scope("192.0.2.1") | {"headers": headers}
    async with asyncio.timeout(WITHIN_S), asyncio.TaskGroup() as group:
        group.create_task(world.serve(browser, scope, key=KEY, source=source))
        await browser.next()
        assert set(scope) <= set(KEPT)
        assert headers == []
        assert not source.was_left
        source.tell(None)

    assert source.was_left


async def test_a_stream_that_fails_as_it_opens_leaves_no_trace(world: World) -> None:
    async def send(_: Message) -> None:
        raise ConnectionResetError

    async def handler(scope: Scope, _: Receive, send: Send) -> None:
        await world.streams.open(scope, send, session_key=KEY, source=Told())

    browser = Browser()
    with pytest.raises(ConnectionResetError):
        await Streaming(handler)(browser.scope("192.0.2.1"), browser.receive, send)

    assert world.streams.count == 0
    assert browser.leave is None


async def test_a_reader_that_does_not_read_is_cut_off(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.listening() as (browser, source):
        browser.reads.clear()
        source.tell(b"one")
        await asyncio.sleep(0)
        await world.look_at_all()
        assert not browser.was_cut.is_set()

        monkeypatch.setattr(module, "SEND_MAX_S", -1.0)
        await world.look_at_all()
        assert browser.was_cut.is_set()
    assert await world.figure(f'{STREAMS_ENDED.name}{{why="slow"}} 1.0')


@pytest.mark.parametrize(
    ("name", "keys", "ips"),
    [
        ("PER_SESSION_MAX", [KEY, KEY], ["192.0.2.1", "192.0.2.2"]),
        ("PER_ADDRESS_MAX", [b"a", b"b"], ["2001:db8::1", "2001:db8::2"]),
        ("PER_PROCESS_MAX", [b"a", b"b"], ["192.0.2.1", "192.0.2.2"]),
    ],
)
async def test_there_are_as_many_streams_as_may_be_and_no_more(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, keys: list[bytes], ips: list[str]
) -> None:
    monkeypatch.setattr(module, name, 1)
    async with world.listening(key=keys[0], ip=ips[0]) as (_, source):
        second = Browser()
        with pytest.raises(Refusal, match="TOO_MANY_STREAMS") as refusal:
            await world.serve(second, second.scope(ips[1]), key=keys[1], source=Told())
        source.tell(None)

    assert refusal.value.status == (503 if "PROCESS" in name else 429)
    assert second.received.empty()
    assert await world.figure(f'{STREAMS_REFUSED.name}{{limit="{name.split("_")[1].lower()}"}} 1.0')
