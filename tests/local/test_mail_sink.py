"""The mails of `make up` arrive at a server of this machine, and a page shows them."""

from __future__ import annotations

from dataclasses import replace

import aiohttp

from local.mail_sink import KEPT_MAX, MailSink, mail_sink
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.mail.message import mail_of
from services.orchestrator.mail.smtp import Smtp, SmtpServer
from services.orchestrator.notifications.kinds import RecipientKind
from services.runtime.process.followed import Followed
from tests.orchestrator.letters import letter


async def test_what_arrives_is_shown() -> None:
    assert not hasattr(MailSink, "__slots__"), "Python 3.11.2 lets no server look through a class with slots"
    one = letter(FactKind.PAYMENT_REFUNDED, RecipientKind.PAYER, locale="de", name="<b>Lea</b>")
    mail = mail_of(replace(one, recipient_id="payer"))
    async with mail_sink() as sink, aiohttp.ClientSession(sink.page_url) as session:
        async with session.get("/") as empty:
            assert "None has arrived yet" in await empty.text()
        await Smtp(Followed(SmtpServer.parse(sink.smtp_url))).send(mail)
        async with session.get("/mails.json") as listed:
            [summary] = await listed.json()
        assert summary["to"] == ["lea@example.ch"]
        assert "zurückerstattet" in summary["text"]
        async with session.get("/") as page:
            assert "Rückerstattung" in await page.text()
            assert "'none'" in page.headers["Content-Security-Policy"]
        async with session.get("/1") as shown:
            text = await shown.text()
            assert '<iframe sandbox src="/1/html">' in text
            assert "<b>Lea" not in text
        async with session.get("/1/html") as html:
            assert "<h1" in await html.text()
        async with session.get("/1/source") as source:
            assert await source.read() == mail.content
        async with session.get("/2") as missing:
            assert missing.status == 404
        assert sink.arrived.maxlen == KEPT_MAX
