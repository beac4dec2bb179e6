"""Who was told what of the demo's payments, and whether that is right: people by mail, a system by webhooks."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from aiohttp import web
from rich.console import Console
from rich.table import Table
from rich.text import Text

from batzen import webhooks
from batzen.client import Client, new_request_id
from batzen.orchestrator.v1 import mails_pb2, notifications_pb2, webhooks_pb2
from local.demo_view import WIDTH_MAX
from local.mail_sink import Arrived, MailSink
from local.ports import HOST
from local.record import Record

ACTOR_ID: Final = "demo"
SUBSCRIPTION: Final = "reservations"
LOOK_EVERY_S: Final = 0.2
LOOKS_MAX: Final = 100
"""20 s: for what is told of the last payment to arrive."""
PAGE: Final = 200
OUTDATED: Final = "OUTDATED"
"""Of a mail that was not true any more when it was to leave: payments of the demo move quicker than mails."""
RECIPIENTS: Final = ("payer", "seller", "operator")


@dataclass(slots=True)
class Receiver:
    """A system of the platform's that is sent what happens: it takes what is signed for it."""

    url: str = ""
    secrets: list[str] = field(default_factory=list)
    events: list[webhooks.WebhookEvent] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.Response:
        """Take a webhook, or refuse what does not come from the suite."""
        try:
            self.events.append(webhooks.verified(await request.read(), request.headers, secrets=self.secrets))
        except webhooks.WebhookRefused as refusal:
            self.refused.append(refusal.reason)
            return web.Response(status=400)
        return web.Response(status=204)

    async def subscribe(self, operator: Client) -> None:
        """Have the suite send it everything."""
        request = webhooks_pb2.PutWebhookSubscriptionRequest(
            request_id=new_request_id(),
            subscription_id=SUBSCRIPTION,
            url=self.url,
            actor_id=ACTOR_ID,
            reason="the demo shows what a system of the platform is sent",
        )
        self.secrets.append((await operator.orchestrator_ops.PutWebhookSubscription(request)).secret)

    def revisions(self, payment_id: str) -> list[int]:
        """Return the revisions of a payment that it was sent, each once, in the order of their arrival."""
        payments = [one.payment for one in self.events if one.type == "payment.moved"]
        found = (one.revision for one in payments if one is not None and one.payment_id == payment_id)
        return list(dict.fromkeys(found))


@asynccontextmanager
async def receiver() -> AsyncIterator[Receiver]:
    """Serve one on a free port of this machine while inside."""
    made = Receiver()
    application = web.Application()
    application.add_routes([web.post("/hooks", made.take)])
    runner = web.AppRunner(application, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, HOST, 0).start()
        made.url = f"http://{HOST}:{runner.addresses[0][1]}/hooks"
        yield made
    finally:
        await runner.cleanup()


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told."""

    mails: Sequence[mails_pb2.Mail]
    """That were to be sent, with what became of each."""
    arrived: Sequence[Arrived]
    heard: dict[str, list[int]]
    """The revisions of each payment that the platform's system was sent, in the order of their arrival."""
    records: Sequence[Record]
    event_count: int
    refused: Sequence[str]

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, in words; nothing if all is."""
        return [*self._of_mails(), *self._of_events()]

    def _of_mails(self) -> Iterable[str]:
        for one in self.mails:
            if one.state != mails_pb2.MAIL_STATE_SENT and one.end_reason != OUTDATED:
                state, reason = mails_pb2.MailState.Name(one.state), one.end_reason or one.problem
                yield f"A mail about {one.payment_id or one.recipient_id} ({one.kind}) is {state}: {reason}."
        sent = sum(one.state == mails_pb2.MAIL_STATE_SENT for one in self.mails)
        different = len({one.message["Message-ID"] for one in self.arrived})
        if different != sent:
            yield f"{sent} mails were sent, and {different} arrived."
        told = {(one.payment_id, one.kind) for one in self.mails if one.end_reason != OUTDATED}
        for record in self.records:
            payment = record.payment
            if payment.snapshot.amounts.captured_minor and (payment.payment_id, "PAYMENT_RECEIVED") not in told:
                yield f"Nobody was told that {payment.payment_id} was paid."
            if payment.snapshot.amounts.refunded_minor and (payment.payment_id, "PAYMENT_REFUNDED") not in told:
                yield f"Nobody was told that money of {payment.payment_id} went back."

    def _of_events(self) -> Iterable[str]:
        if self.refused:
            yield f"The platform's system refused {len(self.refused)} webhooks: {', '.join(sorted(set(self.refused)))}."
        for payment_id, revisions in self.heard.items():
            if revisions != list(range(1, len(revisions) + 1)):
                yield f"Of {payment_id} the platform's system heard the revisions {revisions}."
        for record in self.records:
            payment = record.payment
            if len(self.heard.get(payment.payment_id, ())) < payment.revision:
                yield f"Of {payment.payment_id} the platform's system did not hear revision {payment.revision}."


async def told(operator: Client, mails: MailSink, system: Receiver, records: Sequence[Record]) -> Told:
    """Let what is on its way arrive, for a time, and return what was told then."""
    found = await _told(operator, mails, system, records)
    for _ in range(LOOKS_MAX):
        if not found.problems:
            break
        await asyncio.sleep(LOOK_EVERY_S)
        found = await _told(operator, mails, system, records)
    return found


async def _told(operator: Client, mails: MailSink, system: Receiver, records: Sequence[Record]) -> Told:
    opened = [record for record in records if record.payment.payment_id]
    return Told(
        mails=await _mails(operator),
        arrived=tuple(mails.arrived),
        heard={one.payment.payment_id: system.revisions(one.payment.payment_id) for one in opened},
        records=opened,
        event_count=len(system.events),
        refused=tuple(system.refused),
    )


async def _mails(operator: Client) -> list[mails_pb2.Mail]:
    found: list[mails_pb2.Mail] = []
    request = mails_pb2.ListMailsRequest(page_size=PAGE)
    while True:
        page = await operator.orchestrator_ops.ListMails(request)
        found += page.mails
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


def show_told(console: Console, what: Told) -> None:
    """Print who was told what, and what is wrong with it if something is."""
    width = min(console.width, WIDTH_MAX)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for name in ("mail", *RECIPIENTS):
        table.add_column(name, justify="left" if name == "mail" else "right")
    for kind, counts in _by_kind(what).items():
        table.add_row(_words(kind), *(str(counts[name] or "") for name in RECIPIENTS))
    console.print()
    console.print(Text("Who was told", style="bold"))
    console.print(table, width=width)
    said = (
        f"{what.event_count} webhooks reached a system of the platform, signed, those of each payment in their order."
    )
    console.print(Text(said, style="dim"), width=width)
    for problem in what.problems:
        console.print(Text(f"✗ {problem}", style="red"), width=width)


def told_document(what: Told) -> dict[str, Any]:
    """Return it for programs."""
    return {
        "ok": not what.problems,
        "problems": what.problems,
        "mails": {kind: dict(counts) for kind, counts in _by_kind(what).items()},
        "webhook_count": what.event_count,
    }


def _by_kind(what: Told) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = {}
    for one in what.mails:
        if one.end_reason == OUTDATED:
            continue
        who = notifications_pb2.NotificationRecipient.Name(one.recipient).removeprefix("NOTIFICATION_RECIPIENT_")
        found.setdefault(one.kind, Counter())[who.lower()] += 1
    return dict(sorted(found.items()))


def _words(kind: str) -> str:
    return kind.lower().replace("_", " ")
