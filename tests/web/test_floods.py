"""Whoever floods a front with headers, bodies or patience is cut off; a front is for its own host."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from typing import Self

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from local.ports import free_ports
from services.runtime.observability.metrics import Meter
from services.web import connection
from services.web.events import streams as streams_module
from services.web.events.streams import PARTS, EventStreams
from services.web.failures import Refusal
from services.web.security import guard as guard_module
from services.web.security.addresses import address_block, client_ip
from services.web.security.guard import BODY_BYTES_MAX, Guard
from services.web.security.headers import CSP_REPORT_PATH, Origins
from services.web.security.reports import LOGGED_MAX, Reports
from services.web.serving import serving
from services.web.settings import LOOPBACK
from tests.eventually import WITHIN_S, eventually

METER = Meter()


class Endless:
    """A source that always has more to tell."""

    recorded: float | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """It holds nothing."""

    async def next_or_woken(self) -> bytes | None:
        await asyncio.sleep(0)
        return b"data: " + b"x" * 60_000 + b"\n\n"

    def wake(self) -> None:
        """It never waits."""


async def _echo(request: Request) -> Response:
    return PlainTextResponse(f"{len(await request.body())} {client_ip(request.scope)}")


async def _answer(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return PlainTextResponse(error.code, status_code=error.status)


class Front:
    """A server with nothing behind it."""

    def __init__(self) -> None:
        self.port = free_ports()["bff"]
        self.draining = asyncio.Event()
        self.streams = EventStreams(living=self._all, draining=self.draining, meter=Meter())

    @staticmethod
    async def _all(keys: Collection[bytes]) -> Collection[bytes]:
        return keys

    async def endless(self, scope: Scope, _: Receive, send: Send) -> None:
        await self.streams.open(scope, send, session_key=b"s", source=Endless())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Front]:
        routes = [
            Route("/", _echo, methods=["GET", "POST"]),
            Route("/events", type("Stream", (), {"__call__": lambda _, *call: self.endless(*call)})()),
            Route(CSP_REPORT_PATH, Reports(METER).endpoint, methods=["POST"]),
        ]
        guard = Guard(
            Starlette(routes=routes, exception_handlers={Refusal: _answer}),
            own_origin=f"http://127.0.0.1:{self.port}",
            cookie_name="batzen",
            origins=Origins(),
            answer=_answer,
            exempt=frozenset({CSP_REPORT_PATH}),
        )
        async with serving(guard, listen=f"127.0.0.1:{self.port}", draining=self.draining):
            yield self

    async def sent(self, *parts: bytes) -> bytes:
        """Return all that comes back for what is sent, until the connection is ended; empty where it is cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(WITHIN_S):
                for part in parts:
                    writer.write(part)
                    await writer.drain()
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    @property
    def head(self) -> bytes:
        return f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{self.port}\r\nconnection: close\r\n".encode()


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    async with Front().serving() as made:
        yield made


async def test_headers_within_the_limits_are_taken(front: Front) -> None:
    assert b"200 OK" in await front.sent(front.head + b"x: y\r\n" * 90 + b"\r\n")


@pytest.mark.parametrize(
    "flood",
    [
        b"x: " + b"y" * connection.HEADER_BYTES_MAX + b"\r\n\r\n",
        b"x: y\r\n" * (connection.HEADERS_MAX + 1) + b"\r\n",
        b"x: " + b"y" * 4_000_000,
        b"x: y\r\n" * 100_000,
    ],
    ids=["long", "many", "without end", "many without end"],
)
async def test_a_flood_of_headers_is_cut_off(front: Front, flood: bytes) -> None:
    assert await front.sent(front.head, flood) == b""


async def test_an_address_without_end_is_cut_off(front: Front) -> None:
    assert await front.sent(b"GET /" + b"a" * (connection.HEADER_BYTES_MAX + 1) + b" HTTP/1.1\r\n\r\n") == b""


async def test_who_does_not_come_to_the_end_of_the_headers_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Front().serving() as front, asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        kept = f"GET / HTTP/1.1\r\nhost: 127.0.0.1:{front.port}\r\n\r\n".encode()
        writer.write(kept)
        assert b"200 OK" in await reader.readuntil(b"\r\n\r\n")
        await reader.readuntil(b"127.0.0.1")  # the whole answer: what comes now begins a request

        monkeypatch.setattr(connection, "HEADERS_S", 0.05)
        writer.write(kept[:-4])
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        assert await front.sent() == b""
        assert await front.sent(front.head) == b""


@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"GET / HTTP/1.1\r\n", b"\r\n"),
        (b"GET / HTTP/1.1\r\ncontent-length: 1000\r\n", b"x"),
        (b"POST /nothing HTTP/1.1\r\ncontent-length: 1000\r\n", b"x"),
        (b"GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\n", b"x"),
    ],
    ids=["empty line", "rest of a refused body", "rest of a body that nobody reads", "another protocol"],
)
async def test_after_an_answer_no_byte_keeps_a_connection_open(
    monkeypatch: pytest.MonkeyPatch, first: bytes, then: bytes
) -> None:
    async with Front().serving() as front, asyncio.timeout(WITHIN_S):
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(first + f"host: 127.0.0.1:{front.port}\r\n\r\n".encode())
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 ")
        await reader.readuntil(b"\r\n\r\n")
        monkeypatch.setattr(connection, "HEADERS_S", 0.05)
        writer.write(then)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()


async def test_an_address_has_as_many_connections_as_may_be_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PER_ADDRESS_MAX", 1)
    async with Front().serving() as front:
        _, first = await asyncio.open_connection("127.0.0.1", front.port)
        second = await front.sent(front.head + b"\r\n")
        first.close()
        await eventually(lambda: _is_let_in(front))

    assert second == b""


async def _is_let_in(front: Front) -> bool:
    return b"200 OK" in await front.sent(front.head + b"\r\n")


def test_connections_of_our_own_proxies_are_everybodys() -> None:
    peers = connection.Peers(["127.0.0.1", "2001:db8::/32"])

    assert [peers.is_trusted(one) for one in ("127.0.0.1", "2001:db8::1", "192.0.2.1", "")] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("body", [b"content-length: 9\r\n", b"transfer-encoding: chunked\r\n"])
async def test_a_question_has_no_body(front: Front, body: bytes) -> None:
    assert b" 413 " in await front.sent(front.head + body + b"\r\n")


async def test_a_body_that_does_not_come_is_refused(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "BODY_S", 0.05)
    head = front.head.replace(b"GET", b"POST")

    assert b" 408 " in await front.sent(head + b"content-length: 10\r\n\r\n12345")


@pytest.mark.parametrize("is_declared", [True, False])
async def test_a_body_that_is_too_large_is_refused(front: Front, *, is_declared: bool) -> None:
    head = front.head.replace(b"GET", b"POST")
    length = BODY_BYTES_MAX + 1
    if is_declared:
        said = await front.sent(head + f"content-length: {length}\r\n\r\n".encode())
    else:
        said = await front.sent(head + f"transfer-encoding: chunked\r\n\r\n{length:x}\r\n".encode() + b"x" * length)

    assert b" 413 " in said


@pytest.mark.parametrize(
    "host", [b"evil.example", b"127.0.0.1", b"", b"127.0.0.1:1@evil.example", b"evil.example\r\nhost: 127.0.0.1"]
)
async def test_a_front_answers_to_its_own_name_alone(front: Front, host: bytes) -> None:
    said = await front.sent(b"GET / HTTP/1.1\r\nhost: " + host + b"\r\nconnection: close\r\n\r\n")

    assert b" 421 " in said or b" 400 " in said


async def test_a_reader_that_does_not_read_is_cut_off(front: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "SEND_MAX_S", 0.0)
    reader, writer = await asyncio.open_connection("127.0.0.1", front.port, limit=1)
    writer.write(front.head.replace(b"GET /", b"GET /events"))
    writer.write(b"\r\n")

    async def is_dropped() -> bool:
        for _ in range(PARTS):
            await front.streams.look()
        return front.streams.count == 0

    await eventually(lambda: front.streams.count == 1)
    await eventually(is_dropped)
    async with asyncio.timeout(WITHIN_S):
        with suppress(ConnectionError):
            await reader.read()
    writer.close()


async def test_who_a_request_comes_from_is_said_by_our_proxies_alone() -> None:
    front = Front()
    app = Starlette(routes=[Route("/", _echo)])
    for trusted, expected in ((LOOPBACK, "2001:db8::7"), (("10.0.0.0/8",), "127.0.0.1"), ((), "127.0.0.1")):
        async with (
            serving(app, listen=f"127.0.0.1:{front.port}", draining=asyncio.Event(), trusted_proxies=trusted),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}", timeout=WITHIN_S) as browser,
        ):
            answer = await browser.get("/", headers={"x-forwarded-for": "203.0.113.9, 2001:db8::7"})
        assert answer.text == f"0 {expected}"


@pytest.mark.parametrize(
    ("client", "block"),
    [
        (("192.0.2.7", 1), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("unix", 0), "unknown"),
        (None, "unknown"),
    ],
)
def test_a_household_is_counted_as_one(client: tuple[str, int] | None, block: str) -> None:
    assert address_block({"type": "http", "client": client}) == block


async def test_reports_of_broken_policies_are_counted_and_logged_once_without_what_pages_hold(
    front: Front, caplog: pytest.LogCaptureFixture
) -> None:
    report = {
        "csp-report": {
            "document-uri": "https://pay.example/pay/pay_secret?after=1",
            "effective-directive": "script-src-elem",
            "blocked-uri": "https://evil.example/x.js?card=4242",
        }
    }
    caplog.set_level(logging.WARNING)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{front.port}", timeout=WITHIN_S) as browser:
        for body in (json.dumps(report), json.dumps(report), "[" * 50_000, "{}", '{"csp-report": 1}', "\u0000"):
            answer = await browser.post(CSP_REPORT_PATH, content=body, headers={"sec-fetch-site": "cross-site"})
            assert answer.status_code == 204
        for n in range(LOGGED_MAX + 5):
            report["csp-report"]["blocked-uri"] = f"https://evil-{n}.example"
            await browser.post(CSP_REPORT_PATH, content=json.dumps(report))

    said = [record.getMessage() for record in caplog.records if "reports" in record.getMessage()]
    assert said[0] == "A browser reports that script-src-elem of a page below /pay met https://evil.example"
    assert len(said) == len(set(said)) == LOGGED_MAX
    assert "secret" not in "".join(said)
    assert b'batzen_csp_reports_total{directive="unreadable"} 4.0' in await METER.text()
