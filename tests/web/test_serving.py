"""A front that ends does so between requests, never under one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from local.ports import free_ports
from services.web.peers import TIMEOUT_S
from services.web.serving import STOP_GRACE_S, serving
from tests.eventually import WITHIN_S

LONG_S: Final = 10 * WITHIN_S
"""A test does not wait for that."""
ASKED: Final = b"GET / HTTP/1.1\r\nhost: front\r\n\r\n"


@dataclass(kw_only=True)
class Front:
    """A server with nothing behind it, and what it is told when."""

    draining: asyncio.Event = field(default_factory=asyncio.Event)
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    where: str = field(default_factory=lambda: f"127.0.0.1:{free_ports()['bff']}")

    @asynccontextmanager
    async def ending(self, *, parting_s: float) -> AsyncIterator[asyncio.Task[None]]:
        """Serve, and yield what begins to end that once `draining` is set."""
        routes = [Route("/", self._at_once), Route("/slow", self._slow), Route("/begun", self._begun)]
        is_serving = asyncio.Event()

        async def served() -> None:
            app = Starlette(routes=routes)
            async with serving(app, listen=self.where, draining=self.draining, parting_s=parting_s):
                is_serving.set()
                await self.draining.wait()

        task = asyncio.create_task(served())
        try:
            async with asyncio.timeout(WITHIN_S):
                await is_serving.wait()
            yield task
            async with asyncio.timeout(WITHIN_S):
                await task
        finally:
            task.cancel()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self.where.split(":")
        return await asyncio.open_connection(host, int(port))

    async def _at_once(self, _: Request) -> Response:
        return PlainTextResponse("here")

    async def _slow(self, _: Request) -> Response:
        self.is_asked.set()
        await self.may_go_on.wait()
        return PlainTextResponse("here")

    async def _begun(self, _: Request) -> Response:
        async def parts() -> AsyncIterator[str]:
            yield "begun"
            await self.may_go_on.wait()
            yield ", over"

        return StreamingResponse(parts())


async def test_who_asks_while_a_front_ends_is_answered_and_hears_that_the_connection_ends() -> None:
    front = Front()
    async with (
        front.ending(parting_s=LONG_S),
        httpx.AsyncClient(base_url=f"http://{front.where}", timeout=WITHIN_S) as one,
        httpx.AsyncClient(base_url=f"http://{front.where}", timeout=WITHIN_S) as another,
        httpx.AsyncClient(base_url=f"http://{front.where}", timeout=WITHIN_S) as late,
    ):
        before = [await browser.get("/") for browser in (one, another)]
        front.draining.set()
        last = [await browser.get("/") for browser in (one, late, another)]

    assert ["connection" in answer.headers for answer in before] == [False, False]
    assert [(answer.text, answer.headers["connection"]) for answer in last] == [("here", "close")] * 3


async def test_an_answer_that_is_still_to_begin_as_a_front_ends_says_that_the_connection_ends() -> None:
    front = Front()
    async with (
        front.ending(parting_s=LONG_S),
        httpx.AsyncClient(base_url=f"http://{front.where}", timeout=WITHIN_S) as browser,
    ):
        asking = asyncio.create_task(browser.get("/slow"))
        await front.is_asked.wait()
        front.draining.set()
        await asyncio.sleep(0)
        front.may_go_on.set()
        answer = await asking

    assert (answer.text, answer.headers["connection"]) == ("here", "close")


async def test_a_stream_that_ends_with_its_front_leaves_no_connection_on_which_a_request_could_be_cut() -> None:
    front = Front()
    async with front.ending(parting_s=LONG_S):
        reader, writer = await front.connect()
        writer.write(ASKED.replace(b"/ ", b"/begun "))
        async with asyncio.timeout(WITHIN_S):
            await reader.readuntil(b"begun\r\n")
            front.draining.set()
            await asyncio.sleep(0)
            front.may_go_on.set()
            rest = await reader.read()  # until it is closed, long before silent ones are
        writer.close()

    assert rest.endswith(b", over\r\n0\r\n\r\n")


async def test_who_has_begun_to_ask_when_the_time_of_silent_connections_is_over_is_answered() -> None:
    front = Front()
    async with front.ending(parting_s=0) as ending:
        reader, writer = await front.connect()
        silent, other = await front.connect()
        writer.write(ASKED + ASKED[:20])
        async with asyncio.timeout(WITHIN_S):
            await reader.readuntil(b"here")
            front.draining.set()
            assert await silent.read() == b""  # was closed, so the time is over
            assert not ending.done()
            writer.write(ASKED[20:])
            last = await reader.read()
        for end in (writer, other):
            end.close()

    assert last.startswith(b"HTTP/1.1 200 OK")
    assert last.endswith(b"here")
    assert b"connection: close" in last


def test_a_front_that_ends_waits_as_long_for_an_answer_as_a_call_may_take() -> None:
    assert STOP_GRACE_S > TIMEOUT_S
