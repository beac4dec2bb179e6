"""Handing mails in over SMTP, to a real server: TLS, passwords, what a server refuses, and what nobody knows."""

from __future__ import annotations

import asyncio
import socket
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.mail.domain import Contact
from services.orchestrator.mail.message import Mail, mail_of
from services.orchestrator.mail.smtp import MailboxRefused, MailNotTaken, Smtp, SmtpServer
from services.orchestrator.notifications.kinds import RecipientKind
from services.runtime.process.followed import Followed
from tests.eventually import WITHIN_S
from tests.orchestrator.letters import letter
from tests.orchestrator.mailboxes import mailboxes
from tests.runtime.test_tls import Authority

LEA = "lea@example.ch"
OPERATORS = ("ops@example.ch", "on.call@example.ch")


@pytest.fixture
def mail() -> Mail:
    return mail_of(letter(FactKind.PAYMENT_REFUNDED, RecipientKind.PAYER))


@pytest.fixture
def to_operators() -> Mail:
    one = letter(FactKind.REFUND_FAILED, RecipientKind.OPERATOR)
    return mail_of(replace(one, to=Contact(addresses=OPERATORS)))


def smtp(url: str, *, ca: Path | None = None, timeout_s: float = WITHIN_S) -> Smtp:
    return Smtp(Followed(SmtpServer.parse(url)), ca=ca, step_timeout_s=timeout_s, mail_timeout_s=2 * timeout_s)


async def test_a_mail_arrives_as_it_was_made(mail: Mail) -> None:
    async with mailboxes() as boxes:
        await smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off").send(mail)
        [arrived] = boxes.arrived
    assert (arrived.mail_from, arrived.rcpt_tos) == ("hello@alpenblick.example", [LEA])
    assert arrived.content == mail.content


@pytest.mark.filterwarnings("ignore:Requiring AUTH while")  # the server sees STARTTLS alone as TLS
@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
async def test_it_goes_by_tls_and_with_the_password_of_the_url(mail: Mail, tmp_path: Path, scheme: str) -> None:
    files = Authority().certify(tmp_path / "server")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(files.certificate, files.key)
    async with mailboxes(tls=tls, begins_with_tls=scheme == "smtps", needs_login=True) as boxes:
        url = f"{scheme}://lea%40shop:open%20sesame%2F%40%3A@127.0.0.1:{boxes.port}"
        await smtp(url, ca=files.authority).send(mail)
        assert [(one.login, one.password) for one in boxes.logins] == [(b"lea@shop", b"open sesame/@:")]
        assert len(boxes.arrived) == 1
        with pytest.raises(MailNotTaken, match="SMTPAuthenticationError"):
            await smtp(url.replace("sesame", "barley"), ca=files.authority).send(mail)
        with pytest.raises(MailNotTaken):
            await smtp(url).send(mail)  # the system knows no such authority
        assert len(boxes.arrived) == 1


async def test_nothing_is_said_to_a_server_without_tls(mail: Mail) -> None:
    async with mailboxes() as boxes:
        with pytest.raises(MailNotTaken, match="STARTTLS"):
            await smtp(f"smtp://a:b@127.0.0.1:{boxes.port}").send(mail)
        assert boxes.arrived == []
        assert boxes.logins == []


@pytest.mark.parametrize(
    "answer", [f"550 5.1.1 no such user: {LEA}", "550 5.2.1 mailbox disabled", "550 unknown", "553 not allowed here"]
)
async def test_an_address_that_takes_none_is_given_up(mail: Mail, answer: str) -> None:
    async with mailboxes() as boxes:
        boxes.to_rcpt[LEA] = answer
        with pytest.raises(MailboxRefused, match=answer[:3]) as refused:
            await smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off").send(mail)
    assert LEA not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize(
    "answer",
    ["450 4.2.0 greylisted", "452 4.2.2 mailbox full for now", "554 5.7.1 relay access denied", "550 5.7.1 blocked"],
)
async def test_whatever_else_is_answered_to_an_address_is_no_word_of_it(mail: Mail, answer: str) -> None:
    """A server where we may not send would otherwise have each mail given up."""
    async with mailboxes() as boxes:
        boxes.to_rcpt[LEA] = answer
        with pytest.raises(MailNotTaken, match=answer[:3]):
            await smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off").send(mail)


async def test_a_refusal_of_the_sender_or_of_a_mail_is_no_word_of_the_address(mail: Mail) -> None:
    async with mailboxes() as boxes:
        sending = smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off")
        boxes.to_mail = "550 5.1.8 bad sender"
        with pytest.raises(MailNotTaken, match="SMTPSenderRefused: 550"):
            await sending.send(mail)
        boxes.to_mail = ""
        boxes.to_data = ["554 5.6.0 looks like spam", "451 4.3.0 later", ""]
        for code in ("554", "451"):
            with pytest.raises(MailNotTaken, match=code):
                await sending.send(mail)
        await sending.send(mail)
        assert len(boxes.arrived) == 1


@pytest.mark.parametrize("said", [LEA, LEA.partition("@")[0], LEA.partition("@")[0].upper()])
async def test_what_a_server_says_names_nobody(mail: Mail, said: str) -> None:
    """It is kept with the mail, and logged."""
    async with mailboxes() as boxes:
        boxes.to_rcpt[LEA] = f"452 4.2.2 <{said}>: the mailbox of {said} is full"
        with pytest.raises(MailNotTaken, match="is full") as refused:
            await smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off").send(mail)
    assert said not in str(refused.value)


async def test_of_several_addresses_each_that_can_gets_it(to_operators: Mail) -> None:
    """One that takes no mail holds up no other; one that will take it later has all of them get it once more."""
    async with mailboxes() as boxes:
        sending = smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off")
        await sending.send(to_operators)
        assert boxes.arrived[-1].rcpt_tos == list(OPERATORS)
        boxes.to_rcpt[OPERATORS[0]] = "550 5.1.1 left the company"
        await sending.send(to_operators)
        assert boxes.arrived[-1].rcpt_tos == [OPERATORS[1]]
        boxes.to_rcpt[OPERATORS[0]] = "450 4.2.0 later"
        with pytest.raises(MailNotTaken, match="450"):
            await sending.send(to_operators)
        boxes.to_rcpt = dict.fromkeys(OPERATORS, "550 5.1.1 gone")
        with pytest.raises(MailboxRefused):
            await sending.send(to_operators)


async def test_a_mail_whose_acceptance_nobody_knows_counts_as_not_taken(mail: Mail) -> None:
    """The server has it, and the answer does not come: it will be sent again, as the same mail."""
    async with mailboxes() as boxes:
        boxes.held = asyncio.Event()
        for timeout_s in (0.3, 1.0, 4.0, 15.0):  # a busy machine needs longer until the server has it
            with pytest.raises(MailNotTaken, match="TimeoutError"):
                await smtp(f"smtp://127.0.0.1:{boxes.port}?tls=off", timeout_s=timeout_s).send(mail)
            if boxes.arrived:
                break
        boxes.held.set()
        assert [one.content for one in boxes.arrived] == [mail.content]


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(b"", id="closes"),
        pytest.param(b"HTTP/1.1 200 OK\r\n\r\n", id="is no mail server"),
        pytest.param(b"554 5.3.2 going down\r\n", id="refuses everyone"),
        pytest.param(None, id="hangs"),
    ],
)
async def test_a_server_in_trouble_takes_no_mail(mail: Mail, trouble: bytes | None) -> None:
    gone = asyncio.Event()

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if trouble is None:
            await gone.wait()
        else:
            writer.write(trouble)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(MailNotTaken):
            await smtp(f"smtp://127.0.0.1:{port}?tls=off", timeout_s=0.3).send(mail)
        gone.set()


async def test_a_server_that_is_not_there_takes_no_mail(mail: Mail) -> None:
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(MailNotTaken, match="SMTPConnectError"):
            await smtp(f"smtp://127.0.0.1:{bound.getsockname()[1]}?tls=off").send(mail)


async def test_a_server_that_answers_byte_by_byte_keeps_nobody(mail: Mail) -> None:
    """Each byte is a sign of life, and all of them are not a mail."""
    gone = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not gone.is_set():
            writer.write(b"220-still here\r\n")
            try:
                await asyncio.wait_for(gone.wait(), 0.05)
            except TimeoutError:
                continue
        writer.close()

    async with await asyncio.start_server(drip, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sending = Smtp(
            Followed(SmtpServer.parse(f"smtp://127.0.0.1:{port}?tls=off")), step_timeout_s=30.0, mail_timeout_s=0.3
        )
        with pytest.raises(MailNotTaken, match="TimeoutError"):
            await sending.send(mail)
        gone.set()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtp://mail.example", ("mail.example", 587, None, None, False, True)),
        ("smtps://u:p%40@mail.example", ("mail.example", 465, "u", "p@", True, True)),
        ("smtp://127.0.0.1:2525?tls=off", ("127.0.0.1", 2525, None, None, False, False)),
        ("smtp://[::1]:25/", ("::1", 25, None, None, False, True)),
    ],
)
def test_where_mails_are_handed_in(url: str, expected: tuple[object, ...]) -> None:
    server = SmtpServer.parse(url)
    assert expected == (
        server.host, server.port, server.username, server.password, server.begins_with_tls, server.needs_tls
    )  # fmt: skip
    assert "p@" not in repr(server)


@pytest.mark.parametrize(
    "url",
    ["mail.example:25", "https://mail.example", "smtp://", "smtp://u@mail.example", "smtp://u:p@mail.example?tls=off",
     "smtps://mail.example?tls=off", "smtp://mail.example?starttls=no", "smtp://mail.example/inbox",
     "smtp://mail.example:99999"],
)  # fmt: skip
def test_what_is_no_place_to_hand_mails_in(url: str) -> None:
    with pytest.raises(ValueError, match=r"smtp|TLS|tls|password|port"):
        SmtpServer.parse(url)
