"""Where mails arrive on this machine: a server that takes all of them and sends none on, and a page that shows them."""

from __future__ import annotations

import asyncio
import email
import email.policy
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.message import EmailMessage
from typing import Final

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from jinja2 import Environment

from local.command_lines import command_line
from local.ports import HOST

MAIL_FROM: Final = "Batzen <payments@batzen.example>"
"""Who sends them here."""
KEPT_MAX: Final = 500
"""The newest; some 6 KB each."""
BYTES_MAX: Final = 1024 * 1024
"""Of one mail."""
REFRESH_S: Final = 3
NOTHING_LOADED: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; base-uri 'none'"
"""A mail that is looked at here loads nothing and runs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A mail as it came."""

    number: int
    time: datetime
    recipients: tuple[str, ...]
    content: bytes
    message: EmailMessage

    def part(self, kind: str) -> str:
        """Return its text or its HTML; empty if it has none."""
        body = self.message.get_body((kind,))
        return "" if body is None else str(body.get_content())

    def summary(self) -> dict[str, object]:
        """Return what a program reads of it."""
        return {
            "number": self.number,
            "time": self.time.isoformat(),
            "to": list(self.recipients),
            "subject": self.message["Subject"],
            "message_id": self.message["Message-ID"],
            "text": self.part("plain"),
        }


# Without slots: the mail server looks at every attribute, and Python 3.11.2 cannot return one that slots leave out.
@dataclass
class MailSink:
    """What arrived, the newest last."""

    smtp_port: int = 0
    page_port: int = 0
    arrived: deque[Arrived] = field(default_factory=lambda: deque(maxlen=KEPT_MAX))
    _count: int = 0

    @property
    def smtp_url(self) -> str:
        """Where mails are handed in, as the services are told it."""
        return f"smtp://{HOST}:{self.smtp_port}?tls=off"

    @property
    def page_url(self) -> str:
        """Where they are looked at."""
        return f"http://{HOST}:{self.page_port}/"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Take a mail, as the server's handler."""
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        self._count += 1
        self.arrived.append(
            Arrived(
                number=self._count,
                time=datetime.now(UTC),
                recipients=tuple(envelope.rcpt_tos),
                content=content,
                message=email.message_from_bytes(content, policy=email.policy.default),
            )
        )
        return "250 2.0.0 taken"

    async def show_all(self, _: web.Request) -> web.Response:
        """Show the list of them."""
        return _page(LIST.render(mails=reversed(self.arrived), refresh_s=REFRESH_S, batzen=command_line()))

    async def list_all(self, _: web.Request) -> web.Response:
        """Return all of them to a program."""
        return web.json_response([one.summary() for one in self.arrived])

    async def show(self, request: web.Request) -> web.Response:
        """Show one."""
        return _page(ONE.render(mail=self._one(request)))

    async def show_html(self, request: web.Request) -> web.Response:
        """Show one as its recipient sees it."""
        return _page(self._one(request).part("html"))

    async def source(self, request: web.Request) -> web.Response:
        """Return one as it came."""
        return web.Response(body=self._one(request).content, content_type="text/plain", charset="utf-8")

    def _one(self, request: web.Request) -> Arrived:
        number = int(request.match_info["number"])
        found = next((one for one in self.arrived if one.number == number), None)
        if found is None:
            raise web.HTTPNotFound(text="That mail is not kept any more.")
        return found


@asynccontextmanager
async def mail_sink() -> AsyncIterator[MailSink]:
    """Serve on free ports of this machine while inside."""
    sink = MailSink()
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(sink, hostname=HOST, data_size_limit=BYTES_MAX), HOST, 0
    )
    runner = web.AppRunner(_application(sink), access_log=None)
    try:
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        sink.smtp_port = server.sockets[0].getsockname()[1]
        sink.page_port = runner.addresses[0][1]
        yield sink
    finally:
        server.close()
        await runner.cleanup()


def _application(sink: MailSink) -> web.Application:
    application = web.Application()
    application.add_routes(
        [
            web.get("/", sink.show_all),
            web.get("/mails.json", sink.list_all),
            web.get(r"/{number:\d{1,9}}", sink.show),
            web.get(r"/{number:\d{1,9}}/html", sink.show_html),
            web.get(r"/{number:\d{1,9}}/source", sink.source),
        ]
    )
    return application


def _page(html: str) -> web.Response:
    return web.Response(text=html, content_type="text/html", headers={"Content-Security-Policy": NOTHING_LOADED})


_STYLE: Final = """<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #14171f; }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .5rem .75rem .5rem 0; }
tr + tr td { border-top: 1px solid #e3e6eb; } .pale { color: #5b6270; } a { color: #1d4ed8; }
iframe { width: 100%; height: 42rem; border: 1px solid #e3e6eb; border-radius: 8px; }
pre { background: #f3f4f6; padding: 1rem; border-radius: 8px; white-space: pre-wrap; overflow-wrap: anywhere; }
</style>"""
_ENVIRONMENT: Final = Environment(autoescape=True)
LIST: Final = _ENVIRONMENT.from_string(
    """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{{ refresh_s }}">
<title>Mails</title>"""
    + _STYLE
    + """</head><body><h1>Mails</h1>
<table><tr class="pale"><th>Time (UTC)</th><th>To</th><th>Subject</th></tr>
{% for mail in mails %}<tr><td>{{ mail.time.strftime("%H:%M:%S") }}</td><td>{{ mail.recipients | join(", ") }}</td>
<td><a href="/{{ mail.number }}">{{ mail.message["Subject"] or "(none)" }}</a></td></tr>
{% else %}<tr><td colspan="3">None has arrived yet. Try: {{ batzen }} pay --amount &quot;80.00 CHF&quot;
--email anna@example.com</td></tr>{% endfor %}</table></body></html>"""
)
ONE: Final = _ENVIRONMENT.from_string(
    """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{{ mail.message["Subject"] }}</title>"""
    + _STYLE
    + """</head><body><p><a href="/">All mails</a> · <a href="/{{ mail.number }}/source">Source</a></p>
<h1>{{ mail.message["Subject"] }}</h1>
<table>{% for name, value in mail.message.items() %}
<tr><td class="pale">{{ name }}</td><td>{{ value }}</td></tr>
{% endfor %}</table>
{% if mail.part("html") %}<h2>As a page</h2><iframe sandbox src="/{{ mail.number }}/html"></iframe>{% endif %}
<h2>As text</h2><pre>{{ mail.part("plain") }}</pre></body></html>"""
)
