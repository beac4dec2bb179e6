"""The endpoint that Stripe calls: it takes what Stripe signed, once, and refuses everything else without a trace."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from grpc import aio

from batzen.gateway.v1.observation_pb2_grpc import GatewayEventSinkServiceStub
from services.gateway.webhooks import port as webhook_port
from services.gateway.webhooks.bodies import FIELD, Bodies
from services.gateway.webhooks.endpoint import BODY_BYTES_MAX, CONNECT_PATH, PLATFORM_PATH, endpoints_of
from services.gateway.webhooks.inbox import Inbox
from services.gateway.wiring import Parts, gateway_parts
from services.runtime.database.connections import DirectConnections
from services.runtime.process.followed import Followed, FollowedFile
from services.runtime.process.settings import each_of, secret_text
from tests.clock import Clock
from tests.conftest import Databases
from tests.eventually import WITHIN_S
from tests.gateway.pinned import pin
from tests.gateway.receiving import (
    CONNECT_SECRET,
    ROLLED_SECRET,
    SECRET,
    Sender,
    count,
    event_of,
    receiving,
    signature_of,
    stored,
)
from tests.mounts import Mount
from tests.personal import PERSONAL_KEYS

INTENT = {"id": "pi_1", "object": "payment_intent"}
DUE = "event_runs WHERE due_time IS NOT NULL"


@pytest.fixture(scope="module")
async def waiting_parts(databases: Databases, clock: Clock) -> AsyncIterator[Parts]:
    """A gateway that works on nothing, so that a test sees what is due."""
    database = await databases.create("gateway")
    await pin(database)
    async with (
        aio.insecure_channel("127.0.0.1:1") as nowhere,
        gateway_parts(
            database.runtime_url,
            sink=GatewayEventSinkServiceStub(nowhere),
            stripe_key="sk_test_webhooks",
            stripe_base="http://127.0.0.1:1",
            personal_keys=PERSONAL_KEYS,
            clock=clock,
        ) as made,
    ):
        yield made
    await databases.drop(database)


@pytest.fixture
async def parts(waiting_parts: Parts) -> Parts:
    """The same, with nothing received yet."""
    async with waiting_parts.engine.begin() as connection:
        await connection.execute(sa.text("DELETE FROM events"))
        await connection.execute(sa.text("DELETE FROM event_runs"))
    return waiting_parts


@pytest.fixture
async def sender(parts: Parts, clock: Clock) -> AsyncIterator[Sender]:
    async with receiving(parts.inbox, clock=clock) as made:
        yield made


async def test_a_signed_event_is_stored_encrypted_and_due(parts: Parts, sender: Sender, clock: Clock) -> None:
    body = json.dumps(event_of(INTENT, "payment_intent.succeeded", at=clock.now(), id="evt_1"), indent=2)

    answer = await sender.post(body.encode())

    assert (answer.status_code, answer.json()) == (200, {"receipt": "ACCEPTED"})
    row = await stored(parts.engine, "evt_1")
    assert b"pi_1" not in bytes(row.body)
    assert await parts.keys.decrypt("main", row.holder, bytes(row.body), FIELD, "evt_1") == body.encode()
    assert (row.tenant_id, row.subject, row.state) == ("main", "pi_1", "WAITING")
    assert await count(parts.engine, f"{DUE} AND subject = 'pi_1'") == 1


async def test_an_event_sent_twenty_times_at_once_is_taken_once(parts: Parts, sender: Sender, clock: Clock) -> None:
    event = event_of(INTENT, "payment_intent.succeeded", at=clock.now())

    receipts = await asyncio.gather(*(sender.send(event) for _ in range(20)))

    assert sorted(receipts) == ["ACCEPTED"] + ["DUPLICATE"] * 19
    assert await count(parts.engine, "events") == await count(parts.engine, DUE) == 1


async def test_types_that_say_nothing_to_us_are_kept_and_not_due(parts: Parts, sender: Sender, clock: Clock) -> None:
    for event_type in ("payment_intent.created", "charge.succeeded", "invented.next_year"):
        assert await sender.send(event_of(INTENT, event_type, at=clock.now())) == "IGNORED"

    assert await count(parts.engine, "events WHERE state = 'IGNORED'") == 3
    assert await count(parts.engine, DUE) == 0


async def test_a_secret_that_is_being_rolled_still_counts(sender: Sender, clock: Clock) -> None:
    event = event_of(INTENT, "payment_intent.succeeded", at=clock.now())

    assert await sender.send(event, secret=ROLLED_SECRET) == "ACCEPTED"
    assert await sender.send(event, secret=SECRET) == "DUPLICATE"


async def test_events_that_belong_elsewhere_are_parked(parts: Parts, sender: Sender, clock: Clock) -> None:
    live = event_of(INTENT, "payment_intent.succeeded", at=clock.now(), livemode=True)
    connected = event_of(INTENT, "payment_intent.succeeded", at=clock.now(), account="acct_1")
    platform = event_of(INTENT, "payment_intent.succeeded", at=clock.now())

    assert await sender.send(live) == "PARKED"
    assert await sender.send(connected) == "PARKED"
    assert await sender.send(platform, path=CONNECT_PATH, secret=CONNECT_SECRET) == "PARKED"

    rows = [await stored(parts.engine, event["id"]) for event in (live, connected, platform)]
    assert [row.note for row in rows] == ["wrong livemode", "wrong endpoint", "wrong endpoint"]
    assert await count(parts.engine, DUE) == 0


async def test_an_event_put_aside_where_it_came_first_is_taken_where_it_belongs(
    parts: Parts, sender: Sender, clock: Clock
) -> None:
    platform = event_of(INTENT, "payment_intent.succeeded", at=clock.now())
    ignored = event_of(INTENT, "payment_intent.created", at=clock.now())
    account = event_of({"id": "acct_1", "object": "account"}, "account.updated", at=clock.now(), account="acct_1")
    connect: dict[str, Any] = {"path": CONNECT_PATH, "secret": CONNECT_SECRET}

    assert [await sender.send(event, **connect) for event in (platform, ignored)] == ["PARKED", "PARKED"]
    assert await sender.send(account) == "PARKED"
    assert [await sender.send(event) for event in (platform, ignored)] == ["ACCEPTED", "IGNORED"]
    assert await sender.send(account, **connect) == "ACCEPTED"

    rows = [await stored(parts.engine, event["id"]) for event in (platform, ignored, account)]
    assert [(row.state, row.note) for row in rows] == [("WAITING", ""), ("IGNORED", ""), ("WAITING", "")]
    assert await count(parts.engine, DUE) == 2


async def test_an_event_that_was_taken_is_not_put_aside_by_an_arrival_elsewhere(
    parts: Parts, sender: Sender, clock: Clock
) -> None:
    event = event_of(INTENT, "payment_intent.succeeded", at=clock.now())

    assert await sender.send(event) == "ACCEPTED"
    assert await sender.send(event, path=CONNECT_PATH, secret=CONNECT_SECRET) == "DUPLICATE"
    assert await sender.send(event) == "DUPLICATE"

    assert (await stored(parts.engine, event["id"])).state == "WAITING"


async def test_of_arrivals_at_both_endpoints_at_once_the_right_one_counts(
    parts: Parts, sender: Sender, clock: Clock
) -> None:
    events = [event_of(INTENT, "payment_intent.succeeded", at=clock.now()) for _ in range(10)]

    await asyncio.gather(
        *(sender.send(event) for event in events),
        *(sender.send(event, path=CONNECT_PATH, secret=CONNECT_SECRET) for event in events),
        *(sender.send(event) for event in events),
    )

    assert await count(parts.engine, "events WHERE state = 'WAITING'") == 10


async def test_an_event_that_an_older_release_ignored_is_worked_on_when_it_is_sent_again(
    parts: Parts, sender: Sender, clock: Clock
) -> None:
    known, unknown = [event_of(INTENT, kind, at=clock.now()) for kind in ("charge.refunded", "invented.next_year")]
    for event in (known, unknown):
        await sender.send(event)
    async with parts.engine.begin() as connection:  # as a release that knows neither type leaves them
        await connection.execute(sa.text("UPDATE events SET state = 'IGNORED', done_time = receive_time"))
        await connection.execute(sa.text("DELETE FROM event_runs"))

    assert [await sender.send(event) for event in (known, unknown)] == ["ACCEPTED", "DUPLICATE"]
    assert await count(parts.engine, DUE) == 1


async def test_connected_accounts_have_an_endpoint_and_secrets_of_their_own(sender: Sender, clock: Clock) -> None:
    account = {"id": "acct_1", "object": "account"}
    updated = event_of(account, "account.updated", at=clock.now(), account="acct_1")
    another = event_of(account, "account.updated", at=clock.now(), account="acct_2")
    payment = event_of(INTENT, "payment_intent.succeeded", at=clock.now(), account="acct_1")
    connect: dict[str, Any] = {"path": CONNECT_PATH, "secret": CONNECT_SECRET}

    assert await sender.send(updated, **connect) == "ACCEPTED"
    assert await sender.send(another, **connect) == "PARKED"
    assert await sender.send(payment, **connect) == "IGNORED"
    refused = await sender.post(json.dumps(updated).encode(), path=CONNECT_PATH, secret=SECRET)
    assert (refused.status_code, refused.json()) == (400, {"reason": "SIGNATURE_MISMATCH"})


@pytest.mark.parametrize(("path", "account"), [(PLATFORM_PATH, {}), (CONNECT_PATH, {"account": "acct_1"})])
async def test_a_secret_is_rolled_in_its_file_while_events_arrive_and_none_is_refused(
    parts: Parts, clock: Clock, tmp_path: Path, path: str, account: dict[str, str]
) -> None:
    mount = Mount(tmp_path / "stripe", {"secrets": "whsec_1"})
    secrets = FollowedFile(mount.path("secrets"), each_of(secret_text).parse, name="SECRETS")

    def event() -> dict[str, Any]:
        return event_of({"id": "acct_1", "object": "account"}, "account.updated", at=clock.now(), **account)

    async with receiving(parts.inbox, clock=clock, platform=secrets, connect=secrets) as sender:

        async def take(secret: str) -> None:
            await asyncio.gather(*(sender.send(event(), path=path, secret=secret) for _ in range(4)))

        await take("whsec_1")
        mount.replace({"secrets": "whsec_1,whsec_2\n"})
        await take("whsec_1")
        await take("whsec_2")
        for nothing_good in ({}, {"secrets": ""}, {"secrets": " , "}):
            mount.replace(nothing_good)
            await take("whsec_2")
        mount.replace({"secrets": "whsec_2"})
        await take("whsec_2")
        refused = await sender.post(json.dumps(event()).encode(), path=path, secret="whsec_1")
        assert refused.json() == {"reason": "SIGNATURE_MISMATCH"}


def test_an_endpoint_without_a_secret_does_not_exist() -> None:
    assert [endpoint.path for endpoint in endpoints_of("main", secrets=Followed((SECRET,)))] == [PLATFORM_PATH]
    assert SECRET not in repr(endpoints_of("main", secrets=Followed((SECRET,))))


async def test_each_request_leaves_one_line_without_its_body(
    sender: Sender, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="services.gateway.webhooks.endpoint")
    secret = {"id": "pi_1", "object": "payment_intent", "receipt_email": "payer@example.org"}

    await sender.send(event_of(secret, "payment_intent.succeeded", at=clock.now(), id="evt_7"))
    await sender.post(json.dumps(secret).encode(), secret="whsec_guessed")

    taken, refused = [record.__dict__["fields"] for record in caplog.records if record.message == "webhook"]
    assert (taken["status"], taken["receipt"], taken["event_id"]) == (200, "ACCEPTED", "evt_7")
    assert (refused["status"], refused["reason"]) == (400, "SIGNATURE_MISMATCH")
    assert "example.org" not in f"{taken}{refused}"
    assert "whsec" not in f"{taken}{refused}"


Send = Callable[[Sender, Clock], Awaitable[Any]]
GOOD = json.dumps(event_of(INTENT, "payment_intent.succeeded", at=Clock().now())).encode()
HOUR = timedelta(hours=1)

REFUSALS: dict[str, tuple[Send, int, str]] = {
    "forged": (lambda to, _: to.post(GOOD, secret="whsec_guessed"), 400, "SIGNATURE_MISMATCH"),
    "old": (lambda to, clock: to.post(GOOD, at=clock.now() - HOUR), 400, "TIMESTAMP_OUTSIDE_TOLERANCE"),
    "future": (lambda to, clock: to.post(GOOD, at=clock.now() + HOUR), 400, "TIMESTAMP_OUTSIDE_TOLERANCE"),
    "unsigned": (lambda to, _: to.post(GOOD, headers={"stripe-signature": ""}), 400, "SIGNATURE_MISSING"),
    "malformed": (lambda to, _: to.post(GOOD, headers={"stripe-signature": "v1"}), 400, "SIGNATURE_MALFORMED"),
    "non-ASCII signature": (
        lambda to, _: to.post(GOOD, headers={"stripe-signature": "t=1774747800,v1=é€".encode()}),
        400,
        "SIGNATURE_MISMATCH",
    ),
    "non-UTF-8 body": (lambda to, _: to.post(b'{"id": "\xff"}'), 400, "BODY_NOT_UTF8"),
    "no JSON": (lambda to, _: to.post(b"id=evt_1"), 400, "BODY_NOT_JSON"),
    "nested too deep": (lambda to, _: to.post(b"[" * 200_000), 400, "BODY_NOT_JSON"),
    "signed list": (lambda to, _: to.post(b"[]"), 400, "NOT_AN_OBJECT"),
    "signed null": (lambda to, _: to.post(b"null"), 400, "NOT_AN_OBJECT"),
    "signed object": (lambda to, _: to.post(b"{}"), 400, "NOT_AN_EVENT"),
    "thin event": (lambda to, _: to.post(b'{"object": "v2.core.event", "id": "evt_1"}'), 400, "THIN_EVENT"),
    "empty": (lambda to, _: to.post(b""), 400, "BODY_NOT_JSON"),
    "form": (
        lambda to, _: to.post(GOOD, headers={"content-type": "application/x-www-form-urlencoded"}),
        415,
        "CONTENT_TYPE_NOT_JSON",
    ),
    "too large": (lambda to, _: to.post(b" " * (BODY_BYTES_MAX + 1)), 413, "BODY_TOO_LARGE"),
}


@pytest.mark.parametrize("case", REFUSALS)
async def test_what_is_not_stripes_is_refused_and_leaves_nothing(
    case: str, parts: Parts, sender: Sender, clock: Clock
) -> None:
    send, status_code, reason = REFUSALS[case]

    answer = await send(sender, clock)

    assert (answer.status_code, answer.json()) == (status_code, {"reason": reason})
    assert await count(parts.engine, "events") == await count(parts.engine, DUE) == 0


@pytest.mark.parametrize(
    ("method", "path", "status_code"),
    [
        ("GET", PLATFORM_PATH, 405),
        ("PUT", PLATFORM_PATH, 405),
        ("POST", PLATFORM_PATH + "/", 404),
        ("POST", PLATFORM_PATH + "/main", 404),
        ("POST", "/webhooks", 404),
        ("GET", "/", 404),
    ],
)
async def test_nothing_else_is_served(sender: Sender, method: str, path: str, status_code: int) -> None:
    assert (await sender.request(method, path)).status_code == status_code


async def test_a_body_without_announced_length_is_cut_off_at_the_limit(sender: Sender) -> None:
    reader, writer = await _connected(sender)
    writer.write(_head("transfer-encoding: chunked"))
    for _ in range(BODY_BYTES_MAX // 65_536 + 1):
        writer.write(b"10000\r\n" + b" " * 65_536 + b"\r\n")

    assert b"413" in await reader.readline()
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook_port, "BODY_TIMEOUT_S", 0.05)
    reader, writer = await _connected(sender)

    writer.write(_head("content-length: 10") + b"{")

    assert b"408" in await reader.readline()
    writer.close()


@pytest.mark.parametrize("said", [b"", b"POST /webhooks/stripe HTTP/1.1\r\nhost: a\r\n"])
async def test_a_connection_that_never_asks_is_closed(
    sender: Sender, monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(webhook_port, "HEAD_TIMEOUT_S", 0.05)
    reader, writer = await _connected(sender)

    writer.write(said)

    assert await reader.read() == b""
    writer.close()


async def test_an_event_that_cannot_be_stored_is_asked_for_again(parts: Parts, clock: Clock) -> None:
    url = parts.engine.url.set(port=1).render_as_string(hide_password=False)
    async with DirectConnections(url, application_name="away", size=1) as away:
        inbox = Inbox(
            away,
            parts.reader,
            parts.effects,
            Bodies(away, parts.keys),
            api_version="",
            livemode=False,
            clock=clock,
            wake=lambda _: None,
        )
        async with receiving(inbox, clock=clock) as sender:
            answer = await sender.post(GOOD, at=clock.now())

    assert (answer.status_code, answer.json()) == (500, {"reason": "DEPENDENCY_UNAVAILABLE"})


async def test_a_stripe_connection_is_kept_and_any_other_is_not(sender: Sender, clock: Clock) -> None:
    good = await sender.post(GOOD, at=clock.now())
    forged = await sender.post(GOOD, secret="whsec_guessed")

    assert good.headers.get("connection") != "close"
    assert forged.headers["connection"] == "close"


async def test_a_request_under_way_is_answered_when_the_process_ends(parts: Parts, clock: Clock) -> None:
    stack = AsyncExitStack()
    sender = await stack.enter_async_context(receiving(parts.inbox, clock=clock))
    reader, writer = await _connected(sender)
    header = signature_of(GOOD, secret=SECRET, at=clock.now())
    writer.write(_head(f"content-length: {len(GOOD)}", f"stripe-signature: {header}") + GOOD[:10])
    await sender.request("GET", "/")  # the server has met the other one by now

    ending = asyncio.create_task(stack.aclose())
    await _until_refused(sender)
    writer.write(GOOD[10:])

    assert b"200" in await reader.readline()
    writer.close()
    await ending


async def _until_refused(sender: Sender) -> None:
    async with asyncio.timeout(WITHIN_S):
        while True:
            try:
                _, writer = await _connected(sender)
                writer.close()
                await writer.wait_closed()
            except ConnectionError:  # refused, or reset while it waited to be accepted
                return


async def _connected(sender: Sender) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = sender.base_url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port))


def _head(*lines: str) -> bytes:
    ours = ("POST /webhooks/stripe HTTP/1.1", "host: gateway", "content-type: application/json", *lines, "", "")
    return "\r\n".join(ours).encode()
