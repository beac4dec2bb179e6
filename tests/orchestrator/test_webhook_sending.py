"""One try at a webhook beside real receivers: whatever they do it is bounded, told, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from services.orchestrator.webhooks_out.delivering import AT_ONCE
from services.orchestrator.webhooks_out.guard import DEVELOPMENT, LOOKUPS_AT_ONCE, PORTS, Address, Guard
from services.orchestrator.webhooks_out.sending import (
    ANSWER_BYTES_MAX,
    RETRY_AFTER_MAX,
    Attempt,
    Limits,
    Message,
    Outcome,
    Sender,
    receiver_of,
    retry_after,
)
from services.orchestrator.webhooks_out.signing import new_secret
from services.runtime.work.kinds import SLOTS, WorkClass
from tests.eventually import WITHIN_S
from tests.orchestrator import receivers
from tests.orchestrator.receivers import Answer, Endless, Received, receiver, says
from tests.runtime.test_tls import Authority

SECRET = new_secret()
BODY = b'{"type": "payment.moved"}'
MESSAGE = "4be1b7a4-0c7f-5d53-8df7-5fd0fb3f1b60"
QUICK = Limits(connect_s=20, total_s=0.3, answer_s=0.2, at_once=2)
PATIENT = Limits(connect_s=WITHIN_S, total_s=WITHIN_S, answer_s=WITHIN_S, at_once=2)
"""For what is over by itself: the machine may be busy."""


@asynccontextmanager
async def sender(
    *,
    guard: Guard = DEVELOPMENT,
    limits: Limits = PATIENT,
    names: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Sender]:
    async with Sender(guard=guard, now=lambda: datetime.now(UTC), limits=limits, names=names, tls=tls) as made:
        yield made


def to(url: str, *, body: bytes = BODY, secrets: Sequence[str] = (SECRET,)) -> Message:
    return Message(url=url, message_id=MESSAGE, body=body, secrets=secrets)


async def test_a_good_receiver_gets_it_signed_and_nothing_else() -> None:
    async with receiver(says("200 OK", body="verstanden ✓".encode())) as good, sender() as sending:
        attempt = await sending.send(to(good.url()))

    assert attempt.is_delivered
    assert (attempt.status, attempt.answer, attempt.problem) == (200, "verstanden ✓", "")
    [request] = good.requests
    assert request.head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert Webhook(SECRET).verify(request.body, dict(request.headers)) == {"type": "payment.moved"}
    assert set(request.headers) == {
        *("host", "content-type", "content-length", "accept", "accept-encoding", "connection"),
        *("user-agent", "webhook-id", "webhook-timestamp", "webhook-signature"),
    }


@pytest.mark.parametrize(
    ("answer", "outcome", "status"),
    [
        (says("204 No Content"), Outcome.DELIVERED, 204),
        (says("500 Internal Server Error", body=b"no"), Outcome.REFUSED, 500),
        (says("404 Not Found"), Outcome.REFUSED, 404),
        (says("410 Gone"), Outcome.REFUSED, 410),
        (says("304 Not Modified"), Outcome.REDIRECTED, 304),
        (
            says("101 Switching Protocols", headers="upgrade: websocket\r\nconnection: upgrade\r\n"),
            Outcome.REFUSED,
            101,
        ),
        (says("200 OK", headers="content-encoding: gzip\r\n", body=b"not gzip"), Outcome.DELIVERED, 200),
        (says("200 OK", headers="set-cookie: a=b\r\n"), Outcome.DELIVERED, 200),
        (receivers.closes, Outcome.BROKEN, 0),
        (receivers.resets, Outcome.BROKEN, 0),
        (receivers.writes(b"SSH-2.0-OpenSSH_9.2\r\n"), Outcome.BROKEN, 0),
        (receivers.writes(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), Outcome.BROKEN, 0),
        (receivers.writes(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 100_000 + b"\r\n\r\n"), Outcome.BROKEN, 0),
        (receivers.writes(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), Outcome.DELIVERED, 200),
    ],
)
async def test_each_answer_is_told_as_what_it_is(answer: Answer, outcome: Outcome, status: int) -> None:
    async with receiver(answer) as other, sender() as sending:
        attempt = await sending.send(to(other.url()))

    assert (attempt.outcome, attempt.status) == (outcome, status)
    assert (attempt.problem == "") is (status != 0)
    assert len(other.requests) == other.connections == 1  # nothing is tried again here


@pytest.mark.parametrize("answer", [receivers.hangs, receivers.interim_alone, receivers.never_ends_its_head])
async def test_a_receiver_that_does_not_come_to_an_answer_is_left(answer: Answer) -> None:
    async with receiver(answer) as other, sender(limits=QUICK) as sending:
        attempt = await sending.send(to(other.url()))
        assert attempt.outcome in {Outcome.TIMED_OUT, Outcome.BROKEN}
        assert attempt.problem
        await asyncio.wait_for(other.gone.wait(), WITHIN_S)  # the connection is closed, not kept


async def test_a_receiver_that_takes_no_connection_further_is_left() -> None:
    """TLS is wanted, and the other side says nothing."""
    async with receiver(receivers.hangs) as silent, sender(limits=replace(PATIENT, connect_s=0.2)) as sending:
        attempt = await sending.send(to(silent.url().replace("http:", "https:")))

    assert (attempt.outcome, attempt.status) == (Outcome.UNREACHABLE, 0)
    assert silent.requests == []


@pytest.mark.parametrize("status", ["200 OK", "500 Internal Server Error"])
async def test_of_ten_gigabytes_the_first_bytes_are_read(status: str) -> None:
    endless = Endless(status=status)
    async with receiver(endless) as other, sender() as sending:
        attempt = await sending.send(to(other.url()))
        await asyncio.wait_for(other.gone.wait(), WITHIN_S)

    assert attempt.status == int(status[:3])
    assert attempt.answer == "a" * ANSWER_BYTES_MAX
    assert endless.sent_bytes < 64 * 1024**2  # what the buffers of two sockets hold


async def test_an_answer_is_not_unpacked() -> None:
    packed = gzip.compress(b"a" * 1_000_000)
    async with (
        receiver(says("200 OK", headers="content-encoding: gzip\r\n", body=packed)) as other,
        sender() as sending,
    ):
        attempt = await sending.send(to(other.url()))

    assert attempt.is_delivered
    assert "aaaa" not in attempt.answer


async def test_a_head_says_what_came_of_it_also_where_the_body_never_comes() -> None:
    limits = replace(PATIENT, answer_s=1.5)
    async with receiver(receivers.head_alone) as other, sender(limits=limits) as sending:
        attempt = await sending.send(to(other.url()))
        await asyncio.wait_for(other.gone.wait(), WITHIN_S)

    assert (attempt.outcome, attempt.answer) == (Outcome.DELIVERED, "the beginning")


async def test_a_body_that_comes_late_does_not_undo_what_the_head_said() -> None:
    """The time for an answer is over while its body is read."""
    for total_s in (1.0, 4.0, 15.0):  # a busy machine needs longer until the head is there
        limits = Limits(total_s=total_s, answer_s=total_s + 0.3)
        async with receiver(receivers.head_alone) as other, sender(limits=limits) as sending:
            attempt = await sending.send(to(other.url()))
        if attempt.outcome is not Outcome.TIMED_OUT:
            break

    assert (attempt.outcome, attempt.status) == (Outcome.DELIVERED, 200)


async def test_an_answer_is_made_fit_to_be_stored() -> None:
    async with receiver(says("500 No", body=b"\xff\x00 caf\xc3")) as other, sender() as sending:
        attempt = await sending.send(to(other.url()))

    assert attempt.answer == "\N{REPLACEMENT CHARACTER}" * 2 + " caf\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    async with receiver(says("200 OK")) as elsewhere:
        answer = says(f"{status} Elsewhere", headers=f"location: {elsewhere.url()}\r\n")
        async with receiver(answer) as other, sender() as sending:
            attempt = await sending.send(to(other.url()))

    assert (attempt.outcome, attempt.status) == (Outcome.REDIRECTED, status)
    assert elsewhere.connections == 0


async def test_what_a_receiver_sets_or_a_proxy_says_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(says("200 OK")) as proxy, receiver(says("200 OK", headers="set-cookie: a=b\r\n")) as good:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        async with sender(names=Rebinding([OUTSIDE])) as sending:
            for _ in range(2):
                assert (await sending.send(to(good.url("hooks.example")))).is_delivered

    assert proxy.connections == 0
    assert [request for request in good.requests if "cookie" in request.headers] == []


async def test_a_body_that_is_never_read_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_024)
        async with sender(limits=QUICK) as sending:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            attempt = await sending.send(to(url, body=b"a" * 1_000_000))

    assert attempt.outcome is Outcome.TIMED_OUT


class Rebinding(AbstractResolver):
    """A DNS whose owner says another address each time it is asked."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in answer
        ]

    async def close(self) -> None: ...


OUTSIDE, INSIDE = "127.0.0.1", "127.0.0.2"


def is_outside(address: Address) -> bool:
    """Take one loopback address for the internet, and every other for what only we can reach."""
    return address == ip_address(OUTSIDE)


STRICT = replace(DEVELOPMENT, permits=is_outside)


async def test_a_name_that_is_resolved_anew_to_an_address_inside_leads_nowhere() -> None:
    async with receiver(says("200 OK")) as outside, receiver(says("200 OK"), host=INSIDE, port=outside.port) as inside:
        names = Rebinding([OUTSIDE], [INSIDE], [OUTSIDE, INSIDE])
        outcomes = []
        for _ in range(3):
            async with sender(guard=STRICT, names=names) as sending:  # each with a memory of its own
                outcomes.append((await sending.send(to(outside.url("hooks.example")))).outcome)

    assert outcomes == [Outcome.DELIVERED, Outcome.NOT_ALLOWED, Outcome.NOT_ALLOWED]
    assert (outside.connections, inside.connections, names.asked) == (1, 0, 3)


async def test_a_connection_goes_to_the_address_that_was_checked_and_the_name_is_asked_for_once() -> None:
    async with receiver(says("200 OK")) as outside:
        names = Rebinding([OUTSIDE], [INSIDE])
        async with sender(guard=STRICT, names=names) as sending:
            attempt = await sending.send(to(outside.url("hooks.example")))

    assert (attempt.outcome, names.asked) == (Outcome.DELIVERED, 1)
    assert outside.requests[0].headers["host"] == f"hooks.example:{outside.port}"


@pytest.mark.parametrize(
    "host", ["127.0.0.2", "localhost", "127.1", "0x7f.0.0.2", "2130706434", "[::1]", "[::ffff:127.0.0.2]"]
)
async def test_an_address_inside_is_not_reached_however_it_is_written(host: str) -> None:
    nowhere = replace(DEVELOPMENT, permits=lambda _: False)
    async with receiver(says("200 OK"), host=INSIDE) as inside, sender(guard=nowhere) as sending:
        attempt = await sending.send(to(inside.url(host)))

    assert (attempt.outcome, attempt.status, inside.connections) == (Outcome.NOT_ALLOWED, 0, 0)


async def test_outside_of_development_nothing_of_ours_is_reached() -> None:
    async with receiver(says("200 OK")) as other, sender(guard=Guard(), names=Rebinding(["10.0.0.1"])) as sending:
        for url in (other.url(), "https://127.0.0.1/", "https://hooks.example/", "https://user@hooks.example/"):
            assert (await sending.send(to(url))).outcome is Outcome.NOT_ALLOWED

    assert other.connections == 0


async def test_an_address_is_looked_at_once_more_where_it_is_connected_to() -> None:
    """What was permitted when the name was resolved may not be so now."""
    said = iter([True, False])
    guard = replace(DEVELOPMENT, permits=lambda _: next(said))
    async with receiver(says("200 OK")) as other, sender(guard=guard, names=Rebinding([OUTSIDE])) as sending:
        attempt = await sending.send(to(other.url("hooks.example")))

    assert (attempt.outcome, other.connections) == (Outcome.NOT_ALLOWED, 0)


async def test_a_url_is_looked_at_before_each_try() -> None:
    """Wherever it leads: here to what may be reached, by http and at any port."""
    guard = replace(Guard(), permits=is_outside)
    async with receiver(says("200 OK")) as other, sender(guard=guard, names=Rebinding([OUTSIDE])) as sending:
        attempt = await sending.send(to(other.url("hooks.example")))

    assert (attempt.outcome, other.connections) == (Outcome.NOT_ALLOWED, 0)


async def test_a_receiver_that_is_not_there_got_nothing() -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        async with sender() as sending:
            closed = await sending.send(to(f"http://127.0.0.1:{bound.getsockname()[1]}/"))
            unknown = await sending.send(to("http://nowhere.invalid/"))

    assert [closed.outcome, unknown.outcome] == [Outcome.UNREACHABLE] * 2
    assert closed.problem
    assert unknown.problem


async def test_a_certificate_has_to_be_known_and_of_the_name(tmp_path: Path) -> None:
    authority = Authority()
    files = authority.certify(tmp_path / "known")
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(files.certificate, files.key)
    knowing = ssl.create_default_context(cafile=files.authority)
    outcomes: dict[str, Attempt] = {}
    async with receiver(says("200 OK"), tls=serving) as other:
        for what, tls, url in (
            ("known", knowing, other.url()),
            ("unknown", ssl.create_default_context(), other.url()),
            ("another's", knowing, other.url("localhost")),
        ):
            async with sender(tls=tls) as sending:
                outcomes[what] = await sending.send(to(url))

    assert {what: attempt.outcome for what, attempt in outcomes.items()} == {
        "known": Outcome.DELIVERED,
        "unknown": Outcome.UNREACHABLE,
        "another's": Outcome.UNREACHABLE,
    }
    assert "certificate" in outcomes["unknown"].problem
    assert len(other.requests) == 1


async def test_a_receiver_that_hangs_has_so_many_tries_at_once_and_the_others_theirs() -> None:
    arrived = asyncio.Semaphore(0)

    async def hangs(_: Received, __: asyncio.StreamWriter) -> None:
        arrived.release()

    async with receiver(hangs) as hanging, receiver(says("200 OK")) as good, sender() as sending:
        waiting = [asyncio.create_task(sending.send(to(hanging.url()))) for _ in range(PATIENT.at_once)]
        for _ in waiting:
            await arrived.acquire()
        over = await sending.send(to(hanging.url().replace("/hook", "/another")))  # the same receiver
        beside = await sending.send(to(good.url()))
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        hanging.answer = says("200 OK")
        after = await sending.send(to(hanging.url()))

    assert (over.outcome, over.duration) == (Outcome.RECEIVER_BUSY, timedelta(0))
    assert beside.is_delivered
    assert after.is_delivered


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", None),
        ("120", timedelta(seconds=120)),
        ("9" * 400, RETRY_AFTER_MAX),
        ("-1", None),
        ("1.5", None),
        ("١٢", None),
        ("soon", None),
        ("Sun, 29 Nov 2026 10:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 29 Nov 2026 09:00:00 GMT", timedelta(0)),
        ("Sun, 29 Nov 9999 10:00:00 GMT", RETRY_AFTER_MAX),
        ("Sun, 29 Nov 2026 10:00:30", timedelta(seconds=30)),
        ("Sun, 99 Nov 2026 10:00:30 GMT", None),
        ("Sun, 29 Nov 99999999999999 10:00:30 GMT", None),
        (f"Sun, 29 Nov 2026 10:00:30 +{'9' * 20}", None),
    ],
)
def test_how_long_a_receiver_wants_to_be_left_alone(header: str, expected: timedelta | None) -> None:
    assert retry_after(header, now=datetime(2026, 11, 29, 10, tzinfo=UTC)) == expected


async def test_an_answer_s_wish_is_told() -> None:
    answer = says("429 Too Many Requests", headers="retry-after: 30\r\n")
    async with receiver(answer) as other, sender() as sending:
        attempt = await sending.send(to(other.url()))

    assert (attempt.status, attempt.retry_after) == (429, timedelta(seconds=30))


def test_all_paths_of_a_system_are_one_receiver() -> None:
    urls: Mapping[str, str] = {
        "https://Hooks.Example/a": "hooks.example:443",
        "https://hooks.example.:443/b?c": "hooks.example:443",
        "https://hooks.example:8443/a": "hooks.example:8443",
    }
    for url, expected in urls.items():
        assert receiver_of(Guard().url(url)) == expected


def test_secrets_are_in_no_representation() -> None:
    assert SECRET not in repr(to("https://hooks.example/"))


def test_the_document_says_the_limits_that_hold() -> None:
    text = (Path(__file__).parents[2] / "docs/webhooks-out.md").read_text()
    limits = Limits()
    for said in (
        f"at most {limits.at_once} of the {SLOTS[WorkClass.HOOKS]} slots",
        f"{ANSWER_BYTES_MAX:,} bytes are read as they are, within {limits.answer_s:g} s",
        f"after {limits.total_s:g} s; `UNREACHABLE` where there was no connection after {limits.connect_s:g} s",
        f"one thread of {LOOKUPS_AT_ONCE}",
        f"port {' or '.join(map(str, sorted(PORTS)))}",
        f"within {limits.total_s:g} s, and do the work afterwards",
    ):
        assert said in text, said
    assert limits.at_once >= AT_ONCE  # or lanes that were begun would find no room here
