"""Hands mails to the server that sends them on, over SMTP; says what came of it, and never more than is certain.

One connection a mail: it is as short as the mail, so a server that went away, or was moved, is met by nobody for long.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import unquote, urlsplit

import aiosmtplib

from services.orchestrator.mail.message import Mail
from services.runtime.process.followed import Followed
from services.runtime.process.settings import Form
from services.shared.text import without_addresses

STEP_TIMEOUT_S: Final = 30.0
"""Of one command. The end of a mail takes a server longest, some seconds."""
MAIL_TIMEOUT_S: Final = 90.0
"""Of all of it; a server that sends a byte now and then does not keep a slot."""
QUIT_TIMEOUT_S: Final = 2.0
"""For a farewell, which changes nothing."""
PORTS: Final = {"smtp": 587, "smtps": 465}
"""By scheme: the one turns to TLS by STARTTLS, the other begins with it (RFC 8314)."""

OF_THE_ADDRESS: Final = re.compile(r"5\.[12]\.\d")
"""Enhanced codes (RFC 3463) by which a server says that it is the address, or the mailbox, that takes no mail."""
ENHANCED: Final = re.compile(r"\b[245]\.\d{1,3}\.\d{1,3}\b")
BARE_CODES: Final = frozenset({550, 551, 553})
"""The same where a server sends no enhanced code with its answer to RCPT."""


_logger = logging.getLogger(__name__)


class MailboxRefused(Exception):
    """The server says for good that the address takes no mail."""


class MailNotTaken(Exception):
    """The mail was not taken, or nobody knows: it is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SmtpServer:
    """Where mails are handed in."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    begins_with_tls: bool
    needs_tls: bool
    """False only where the URL says so, for a server on the same machine."""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Read `smtp://user:password@host:587` or `smtps://…`. Raises ValueError with the end of a sentence."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or parts.path.strip("/") or parts.fragment:
            raise ValueError("is no smtp://user:password@host:port or smtps://…")
        if parts.query not in ("", "tls=off") or (parts.query and parts.scheme == "smtps"):
            raise ValueError("may end in ?tls=off, with smtp:// alone, and in nothing else")
        try:
            port = parts.port or PORTS[parts.scheme]
        except ValueError:
            raise ValueError("names no port") from None
        if (parts.username is None) != (parts.password is None):
            raise ValueError("has one of user and password, not both")
        if parts.query and parts.username is not None:
            raise ValueError("would send a password without TLS")
        return cls(
            host=parts.hostname,
            port=port,
            username=None if parts.username is None else unquote(parts.username),
            password=None if parts.password is None else unquote(parts.password),
            begins_with_tls=parts.scheme == "smtps",
            needs_tls=not parts.query,
        )


smtp_url: Final = Form(SmtpServer.parse, "`smtp://user:password@host:port` or `smtps://…`")


class Smtp:
    """Sends mails by one server, which may change while the process runs."""

    def __init__(
        self,
        server: Followed[SmtpServer],
        *,
        ca: Path | None = None,
        step_timeout_s: float = STEP_TIMEOUT_S,
        mail_timeout_s: float = MAIL_TIMEOUT_S,
    ) -> None:
        """`ca` has the authorities that the server's certificate may be of, if not those of the system."""
        self._server = server
        self._tls = ssl.create_default_context(cafile=ca)
        self._step_timeout_s = step_timeout_s
        self._mail_timeout_s = mail_timeout_s

    async def send(self, mail: Mail) -> None:
        """Hand a mail in; when this returns, the server has taken it. Raises `MailboxRefused` or `MailNotTaken`."""
        try:
            async with asyncio.timeout(self._mail_timeout_s):
                await self._hand_in(mail)
        except (aiosmtplib.SMTPException, OSError, TimeoutError, ValueError) as error:
            if isinstance(error, aiosmtplib.SMTPRecipientsRefused) and all(
                _is_of_the_address(one) for one in error.recipients
            ):
                raise MailboxRefused(_problem(error, mail)) from None  # it has the address
            raise MailNotTaken(_problem(error, mail)) from None

    async def _hand_in(self, mail: Mail) -> None:
        server = self._server.current()
        client = aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            local_hostname=mail.sender.rpartition("@")[2],
            timeout=self._step_timeout_s,
            use_tls=server.begins_with_tls,
            start_tls=server.needs_tls and not server.begins_with_tls,
            tls_context=self._tls if server.needs_tls else None,
        )
        try:
            await client.connect()
            refused, _ = await client.sendmail(mail.sender, mail.recipients, mail.content)
            with contextlib.suppress(
                aiosmtplib.SMTPException, OSError, TimeoutError
            ):  # it is taken, whatever comes now
                await client.quit(timeout=QUIT_TIMEOUT_S)
        finally:
            client.close()
        for address, answer in refused.items():
            one = aiosmtplib.SMTPRecipientRefused(answer.code, answer.message, address)
            if not _is_of_the_address(one):  # the others get it once more with the next try, as the same mail
                raise aiosmtplib.SMTPRecipientsRefused([one])
            _logger.warning("one of several addresses takes no mail: %s", _problem(one, mail))


def _is_of_the_address(refused: aiosmtplib.SMTPRecipientRefused) -> bool:
    """Whether an answer refuses the one address for good.

    A refusal of our sender, of our right to send, or of a mail's content says nothing of the address: it stands for all
    mails, and an operator has to see it.
    """
    enhanced = ENHANCED.search(refused.message)
    if enhanced is None:
        return refused.code in BARE_CODES
    return OF_THE_ADDRESS.fullmatch(enhanced[0]) is not None


def _problem(error: Exception, mail: Mail) -> str:
    """Return what went wrong, without the addresses: servers like to repeat them, or what stands before the @."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        said = "; ".join(f"RCPT: {one.code} {one.message}" for one in error.recipients)
    elif isinstance(error, aiosmtplib.SMTPResponseException):
        said = f"{type(error).__name__}: {error.code} {error.message}"
    else:
        said = f"{type(error).__name__}: {error}"
    names = "|".join(re.escape(address.rpartition("@")[0]) for address in mail.recipients)
    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", "…", without_addresses(said), flags=re.IGNORECASE)
