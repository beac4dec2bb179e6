"""What the orchestrator is told about sending mails."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Final, Self

from services.orchestrator.mail.message import AddressUnfit, fit_address
from services.orchestrator.mail.outbox import Return
from services.orchestrator.mail.smtp import SmtpServer, smtp_url
from services.orchestrator.mail.unsubscribe_tokens import unsubscribe_key
from services.runtime.process.followed import Followed
from services.runtime.process.settings import Form, Reader, each_of, file


def _return(text: str) -> Return:
    name, address = parseaddr(text)
    try:
        return Return(address=fit_address(address), name=name)
    except AddressUnfit:
        raise ValueError("is no address such as `Shop <pay@shop.example>`") from None


mail_from: Final = Form(_return, "`Name <address>` or an address")


@dataclass(frozen=True, slots=True, kw_only=True)
class MailSettings:
    """How mails leave; without a server none do."""

    server: Followed[SmtpServer] | None
    ca: Path | None
    sent_by: Return | None
    unsubscribe_keys: Followed[tuple[str, ...]] | None

    @classmethod
    def read(cls, read: Reader, *, production: bool) -> Self:
        """Read them."""
        server = read.secret(
            "BATZEN_SMTP_URL",
            smtp_url,
            default=None,
            doc="The server that mails are handed to: with `smtp://` TLS begins by STARTTLS, with `smtps://` at once;"
            " `?tls=off` does without on a developer's machine. Without a server no mail is sent, or kept for later.",
        )
        sent_by = read(
            "BATZEN_MAIL_FROM",
            mail_from,
            default=None,
            doc="What stands in From of mails; a tenant's policy may have its own name. Needed with BATZEN_SMTP_URL.",
        )
        if server is not None and sent_by is None:
            read.refuse("BATZEN_MAIL_FROM", "is not set, and BATZEN_SMTP_URL is")
        if server is not None and production and not all(one.needs_tls for one in server.candidates() if one):
            read.refuse("BATZEN_SMTP_URL", "has ?tls=off, and BATZEN_ENVIRONMENT is production")
        return cls(
            server=server,
            ca=read(
                "BATZEN_SMTP_CA",
                file,
                default=None,
                doc="The authorities (PEM) that the mail server's certificate may be of, in place of the system's.",
            ),
            sent_by=sent_by,
            unsubscribe_keys=read.secret(
                "BATZEN_UNSUBSCRIBE_KEYS",
                each_of(unsubscribe_key),
                default=None,
                doc="Sign the links by which a kind of mail is declined: the first signs, each is believed. Without it"
                " mails have no such link.",
            ),
        )
