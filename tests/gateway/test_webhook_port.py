"""Whoever knocks at the webhook port without being Stripe: one counted refusal each, and never a traceback."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.gateway import webhooks
from services.gateway.webhooks import port as webhook_port
from services.gateway.webhooks import refusals
from services.gateway.webhooks.endpoint import PLATFORM_PATH
from services.gateway.webhooks.refusals import ANSWERS, LINES_MAX, WINDOW_S, Refusals
from tests.clock import Clock
from tests.eventually import WITHIN_S, eventually
from tests.gateway.conftest import Gateway
from tests.gateway.receiving import SECRET, Sender, event_of, receiving, signature_of
from tests.logged import said_by

ROOT = Path(__file__).parents[2]
CHUNKED = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"
SIGNED = "Stripe-Signature: t=1,v1=aa"


@pytest.fixture
async def sender(replica: Gateway, clock: Clock) -> AsyncIterator[Sender]:
    async with receiving(replica.parts.inbox, clock=clock) as made:
        yield made


def request(*lines: str, body: bytes = b"", line: str = f"POST {PLATFORM_PATH} HTTP/1.1") -> bytes:
    return "\r\n".join([line, "Host: gateway", *lines, "", ""]).encode("latin-1") + body


BAD_CHUNKS = {"no length": b"zz\r\n", "endless length": b"f" * 22 + b"\r\n", "no end": b"1\r\nabc\r\n"}

SENT: dict[str, tuple[bytes, str]] = {
    **{
        f"chunk with {name}, {len(lines)} headers": (request(CHUNKED, *lines, body=body), reason)
        for name, body in BAD_CHUNKS.items()
        # Whichever is found first: what the head lacks, or the broken body.
        for lines, reason in (
            ((), "CONTENT_TYPE_NOT_JSON|REQUEST_BROKEN"),
            ((JSON,), "REQUEST_BROKEN"),
            ((JSON, SIGNED), "REQUEST_BROKEN"),
        )
    },
    "no HTTP": (b"hello\r\n\r\n", "REQUEST_BROKEN"),
    "TLS": (bytes.fromhex("16030100c8010000c40303") + bytes(range(200)), "REQUEST_BROKEN"),
    "NUL in a header": (request("X-A: b\0c"), "REQUEST_BROKEN"),
    "NUL in the path": (request(line="POST /\0 HTTP/1.1"), "REQUEST_BROKEN"),
    "encoded NUL in the path": (request(line="POST /%00 HTTP/1.1"), "PATH_UNKNOWN"),
    "a space in a header's name": (request("X A: b"), "REQUEST_BROKEN"),
    "no version": (request(line=f"POST {PLATFORM_PATH}"), "REQUEST_BROKEN"),
    "too long a head": (request(f"X-A: {'a' * 20_000}").rstrip(), "REQUEST_BROKEN"),
    "two lengths": (request("Content-Length: 1", "Content-Length: 2"), "REQUEST_BROKEN"),
    "a negative length": (request("Content-Length: -1"), "REQUEST_BROKEN"),
    "an unknown coding": (request(JSON, "Transfer-Encoding: gzip"), "REQUEST_BROKEN"),
    "no host": (f"POST {PLATFORM_PATH} HTTP/1.1\r\n\r\n".encode(), "REQUEST_BROKEN"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PATH_UNKNOWN|REQUEST_BROKEN"),
    "an absolute target": (request(line="POST http://a.example/ HTTP/1.1"), "PATH_UNKNOWN"),
    "CONNECT": (request(line="CONNECT a.example:443 HTTP/1.1"), "PATH_UNKNOWN"),
    "OPTIONS of all": (request(line="OPTIONS * HTTP/1.1"), "PATH_UNKNOWN"),
    **{
        method: (request(line=f"{method} {PLATFORM_PATH} HTTP/1.1"), "METHOD_NOT_ALLOWED")
        for method in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH", "TRACE")
    },
    "an invented method": (request(line=f"INVENTED {PLATFORM_PATH} HTTP/1.1"), "REQUEST_BROKEN"),
    "a whole head that is too long": (request(*[f"X-A: {'a' * 4_000}"] * 5), "REQUEST_BROKEN"),
    "a length and chunks": (request(JSON, CHUNKED, "Content-Length: 1"), "REQUEST_BROKEN"),
    "chunks that are coded again": (request(JSON, "Transfer-Encoding: chunked, gzip"), "REQUEST_BROKEN"),
    "a header in two lines": (request("X-A: b\r\n c"), "REQUEST_BROKEN"),
    "bare line feeds": (request(JSON).replace(b"\r", b""), "REQUEST_BROKEN"),
    "HTTP/1.2": (request(JSON, line=f"POST {PLATFORM_PATH} HTTP/1.2"), "REQUEST_BROKEN"),
    "an endless name of a chunk": (
        request(JSON, CHUNKED, body=b"1;" + b"a" * 600_000),
        "BODY_TOO_LARGE|REQUEST_BROKEN",
    ),
    "an endless trailer": (request(JSON, CHUNKED, body=b"0\r\nx: " + b"a" * 600_000), "BODY_TOO_LARGE|REQUEST_BROKEN"),
    "a signature in a trailer": (
        request(JSON, CHUNKED, body=b"2\r\n{}\r\n0\r\nStripe-Signature: t=1,v1=aa\r\n\r\n"),
        "SIGNATURE_MISSING",
    ),
    "an upgrade with a body": (
        request(JSON, "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 2", body=b"{}"),
        "SIGNATURE_MISSING",
    ),
    "a websocket": (
        request("Connection: Upgrade", "Upgrade: websocket", line=f"GET {PLATFORM_PATH} HTTP/1.1"),
        "METHOD_NOT_ALLOWED",
    ),
    "another path": (request(line="POST /wp-login.php HTTP/1.1"), "PATH_UNKNOWN"),
    "too large a body": (request(JSON, "Content-Length: 999999999"), "BODY_TOO_LARGE"),
    "a form": (
        request("Content-Type: application/x-www-form-urlencoded", "Content-Length: 0"),
        "CONTENT_TYPE_NOT_JSON",
    ),
    "no signature": (request(JSON, "Content-Length: 0"), "SIGNATURE_MISSING"),
    "an old signature": (request(JSON, SIGNED, "Content-Length: 0"), "SIGNATURE_MISMATCH"),
}


@pytest.mark.parametrize("case", SENT)
async def test_whatever_is_sent_without_credentials_is_one_counted_refusal_and_no_traceback(
    case: str, sender: Sender, caplog: pytest.LogCaptureFixture
) -> None:
    sent, reasons = SENT[case]
    failures: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    try:
        answer = await told(sender, sent)
    finally:
        asyncio.get_running_loop().set_exception_handler(None)

    head, _, body = answer.partition(b"\r\n\r\n")
    (reason,) = list(sender.refusals.totals)
    assert reason in reasons.split("|")
    assert head.startswith(b"HTTP/1.1 %d " % ANSWERS[reason][0])
    assert b"connection: close" in head.lower()
    assert body == b"" if case == "HEAD" else json.loads(body) == {"reason": reason}
    assert sender.refusals.totals[reason] == 1
    assert failures == []
    ours = said_by(webhooks, caplog)
    lines = [record for record in ours if record.levelno >= logging.WARNING]
    assert [(line.message, line.__dict__["fields"]["reason"]) for line in lines] == [("webhook", reason)]
    assert not any(line.exc_info for line in ours)


async def test_a_broken_rest_of_what_was_refused_counts_no_second_time(sender: Sender) -> None:
    answer = await told(sender, request(CHUNKED), b"zz\r\n")

    assert b"CONTENT_TYPE_NOT_JSON" in answer
    assert dict(sender.refusals.totals) == {"CONTENT_TYPE_NOT_JSON": 1}


async def test_what_is_sent_before_the_answer_is_not_read_and_the_connection_ends_with_it(
    sender: Sender, clock: Clock
) -> None:
    signed = signed_request(clock)

    answer = await told(sender, signed + signed)

    assert answer.count(b"HTTP/1.1 200 OK") == answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer
    assert sender.refusals.totals == {}


async def test_a_body_is_asked_for_where_its_sender_waits_for_that(sender: Sender) -> None:
    reader, writer = await connected(sender)
    writer.write(request(JSON, "Content-Length: 2", "Expect: 100-continue"))
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"

    writer.write(b"{}")

    assert b"SIGNATURE_MISSING" in await reader.read()
    writer.close()


async def test_a_head_in_many_pieces_is_limited_too(sender: Sender) -> None:
    reader, writer = await connected(sender)
    writer.write(f"POST {PLATFORM_PATH} HTTP/1.1\r\n".encode())
    for _ in range(20):
        writer.write(b"x-a: " + b"a" * 1_000 + b"\r\n")
        await writer.drain()

    assert b"REQUEST_BROKEN" in await reader.read()
    writer.close()


async def test_a_body_that_is_cut_off_is_counted(sender: Sender) -> None:
    _, writer = await connected(sender)
    writer.write(request(JSON, "Content-Length: 10", body=b"{"))
    await writer.drain()
    writer.close()

    await counted(sender, "BODY_CUT_OFF")


async def test_a_second_request_whose_head_does_not_come_is_not_waited_for(
    sender: Sender, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_port, "HEAD_TIMEOUT_S", 0.05)
    reader, writer = await connected(sender)
    writer.write(signed_request(clock))
    assert b"200 OK" in await reader.readuntil(b"}")

    writer.write(b"POST /webhooks/str")

    assert await reader.read() == b""
    assert sender.refusals.totals["HEAD_TOO_SLOW"] == 1
    writer.close()


async def test_beyond_the_limit_of_connections_the_answer_is_503_and_counted(
    replica: Gateway, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_port, "CONNECTIONS_MAX", 1)
    async with receiving(replica.parts.inbox, clock=clock) as sender:
        answer = await told(sender, request("Connection: close"))

        assert b"503" in answer
        assert dict(sender.refusals.totals) == {"TOO_MANY_CONNECTIONS": 1}


async def test_a_flood_is_counted_and_does_not_flood_the_log(sender: Sender, caplog: pytest.LogCaptureFixture) -> None:
    floods = LINES_MAX + 40

    for _ in range(floods):
        await told(sender, b"\x16\x03\x01\r\n\r\n")

    assert sender.refusals.totals == {"REQUEST_BROKEN": floods}
    assert len([record for record in said_by(webhooks, caplog) if record.levelno >= logging.WARNING]) == LINES_MAX


async def test_what_had_no_line_is_said_as_a_number_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    time_s = 0.0
    monkeypatch.setattr(refusals, "LINES_MAX", 2)
    counting = Refusals(clock=lambda: time_s)
    for reason in ["PATH_UNKNOWN"] * 3 + ["REQUEST_BROKEN"] * 2:
        counting.note(reason, fields={})
    time_s = WINDOW_S

    counting.note("PATH_UNKNOWN", fields={})

    said = [record.__dict__["fields"] for record in caplog.records if "without a line" in record.message]
    assert [fields["refused"] for fields in said] == [{"PATH_UNKNOWN": 1, "REQUEST_BROKEN": 2}]
    assert counting.totals == {"PATH_UNKNOWN": 4, "REQUEST_BROKEN": 2}


async def test_the_number_is_said_though_nothing_comes_any_more(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(refusals, "LINES_MAX", 0)
    monkeypatch.setattr(refusals, "WINDOW_S", 0.01)

    Refusals().note("PATH_UNKNOWN", fields={})

    await eventually(lambda: any("without a line" in record.message for record in caplog.records))


def test_every_reason_in_the_code_has_a_documented_answer() -> None:
    raised = {
        reason
        for path in (ROOT / "services" / "gateway").rglob("*.py")
        for reason in re.findall(r'WebhookRefused\("(\w+)"\)', path.read_text())
    }

    assert raised <= set(ANSWERS)
    assert len(raised) > 8


def signed_request(clock: Clock) -> bytes:
    event = json.dumps(event_of({"id": "pi_1"}, "payment_intent.created", at=clock.now())).encode()
    signed = f"Stripe-Signature: {signature_of(event, secret=SECRET, at=clock.now())}"
    return request(JSON, signed, f"Content-Length: {len(event)}", body=event)


async def told(sender: Sender, *parts: bytes) -> bytes:
    """Send bytes, each part after something was answered to the one before, and return all that is answered."""
    reader, writer = await connected(sender)
    answer = b""
    async with asyncio.timeout(WITHIN_S):
        for part in parts:
            answer += await reader.readuntil(b"}") if part is not parts[0] else b""
            writer.write(part)
        try:
            answer += await reader.read()
        except ConnectionError:  # closed with something of ours unread
            assert answer
    writer.close()
    return answer


async def counted(sender: Sender, reason: str) -> None:
    await eventually(lambda: sender.refusals.totals[reason])


async def connected(sender: Sender) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = sender.base_url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))
