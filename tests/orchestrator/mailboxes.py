"""A real SMTP server, which keeps what it takes and answers as a test tells it to."""

from __future__ import annotations

import asyncio
import email
import email.policy
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass
class Mailboxes:
    """What arrived, and what is answered instead of yes."""

    arrived: list[Envelope] = field(default_factory=list)
    to_rcpt: dict[str, str] = field(default_factory=dict)
    """By address."""
    to_mail: str = ""
    to_data: list[str] = field(default_factory=list)
    """One a mail, in turn; the mail is kept only where it is empty."""
    held: asyncio.Event | None = None
    """What the end of a mail waits for, after the mail was kept."""
    came: asyncio.Event = field(default_factory=asyncio.Event)
    logins: list[LoginPassword] = field(default_factory=list)
    port: int = 0

    @property
    def messages(self) -> list[EmailMessage]:
        """What arrived, read."""
        return [
            email.message_from_bytes(one.content, policy=email.policy.default)  # type: ignore[misc]
            for one in self.arrived
            if isinstance(one.content, bytes)
        ]

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.to_mail:
            return self.to_mail
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.to_rcpt:
            return self.to_rcpt[address]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        answer = self.to_data.pop(0) if self.to_data else ""
        if answer:
            return answer
        self.arrived.append(envelope)
        self.came.set()
        if self.held is not None:
            await self.held.wait()
        return "250 2.0.0 taken"

    def login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        """Let in whoever knows the word."""
        assert isinstance(data, LoginPassword)
        self.logins.append(data)
        return AuthResult(success=data.password == b"open sesame/@:", handled=False)


@asynccontextmanager
async def mailboxes(
    *, tls: ssl.SSLContext | None = None, begins_with_tls: bool = False, needs_login: bool = False
) -> AsyncIterator[Mailboxes]:
    """Serve on a free port while inside."""
    boxes = Mailboxes()
    factory: Callable[[], SMTP] = lambda: SMTP(  # noqa: E731
        boxes,
        hostname="mail.test",
        tls_context=None if begins_with_tls else tls,
        require_starttls=tls is not None and not begins_with_tls,
        authenticator=boxes.login if needs_login else None,
        auth_required=needs_login,
        auth_require_tls=False,
    )
    server = await asyncio.get_running_loop().create_server(
        factory, "127.0.0.1", 0, ssl=tls if begins_with_tls else None
    )
    boxes.port = server.sockets[0].getsockname()[1]
    try:
        yield boxes
    finally:
        server.close()
