"""Sends the mails that are due: each at least once, and as the same mail each time.

A mail is marked as sent after a server took it. A process that dies between the two, or an answer that does not come,
leaves a mail that is sent again: with the same Message-ID, by which servers and mail programs tell that they have it.
It is not marked before, since then one that no server took would be lost.

How its recipient is reached is asked at each try, and kept nowhere: who is erased meanwhile gets no mail. One who is
not known is asked for again for a while, as an address may come after the money.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol
from urllib.parse import quote

from services.orchestrator.mail.catalogue import WITH_RECEIPT
from services.orchestrator.mail.domain import Contact, Letter, Sender, language_of
from services.orchestrator.mail.message import AddressUnfit, Mail, mail_of
from services.orchestrator.mail.metrics import UNCOUNTED, MailMetrics, Outcome
from services.orchestrator.mail.outdated import is_outdated
from services.orchestrator.mail.smtp import MailboxRefused, MailNotTaken
from services.orchestrator.mail.store import MailState, MailStore, NotSent, PendingMail
from services.orchestrator.mail.unsubscribe_tokens import Declined, UnsubscribeTokens
from services.orchestrator.mail.wording import zone_of
from services.orchestrator.notifications.domain import NotificationPolicy
from services.orchestrator.notifications.kinds import RecipientKind, telling
from services.receipts.model import Receipt
from services.receipts.wording import ReceiptWording
from services.runtime import crash_points
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind

RETRY: Final = RetryPolicy(tries_max=50, first_delay=timedelta(seconds=30), delay_max=timedelta(hours=1))
"""Some two days, as mail servers do among themselves; then it waits for an operator."""
KNOWN_WITHIN: Final = timedelta(minutes=15)
"""How long after its fact a payer who is not known yet may become so: who pays on a hosted page gives their address
there, and a customer who was deleted at Stripe is made anew."""
ASKED_AGAIN_AFTER: Final = timedelta(minutes=3)
PAYMENT_PLACE: Final = "{payment_id}"
TOKEN_PLACE: Final = "{token}"  # noqa: S105 where one goes

_logger = logging.getLogger(__name__)


class Contacts(Protocol):
    """Knows how payers and sellers are reached."""

    async def contact(self, recipient_kind: RecipientKind, recipient_id: str) -> Contact | None:
        """Return how somebody is reached; None if nobody is known by that id, or no address of them is."""
        ...


class Server(Protocol):
    """Takes mails."""

    async def send(self, mail: Mail) -> None:
        """Hand a mail in. Raises `MailboxRefused` or `MailNotTaken`."""
        ...


class Receipts(Protocol):
    """Knows what was paid, and what went back."""

    async def then(self, tenant_id: str, payment: bytes, words: ReceiptWording, *, issuer: str) -> Receipt | None:
        """Return the receipt of a payment as one of its revisions left it; None where nothing was taken."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Return:
    """As what mails are sent, whoever's they are."""

    address: str
    name: str
    """Where a tenant's policy has none."""


class MailOutbox:
    """Sends what is due."""

    def __init__(
        self,
        store: MailStore,
        contacts: Contacts,
        *,
        server: Server | None,
        sent_by: Return | None,
        tokens: UnsubscribeTokens | None,
        receipts: Receipts | None = None,
        now: Callable[[], datetime],
        metrics: MailMetrics = UNCOUNTED,
    ) -> None:
        """Without a server no mail is sent; without tokens none can be declined by a link."""
        self._receipts = receipts
        self._store = store
        self._contacts = contacts
        self._server = server
        self._sent_by = sent_by
        self._tokens = tokens
        self._now = now
        self._metrics = metrics
        self.kind = WorkKind(
            name="mails",
            work_class=WorkClass.MAILS,
            table="mails",
            key={"fact_id": "uuid", "recipient_kind": "text", "recipient_id": "text"},
            retry=RETRY,
            handler=self.send,
            about="w.kind",
        )
        """The mails as work."""

    async def send(self, work: Work) -> None:
        """Send one, unless nobody is to get it any more. Raises `MailNotTaken` where it is to be tried again."""
        mail = await self._store.pending(work)
        if mail is None:
            return
        if self._server is None or self._sent_by is None:
            await self._skip(mail, NotSent.NO_SERVER)
            return
        if (reason := await self._unwanted(mail)) is not None:
            await self._skip(mail, reason)
            return
        policy = await self._store.policy(mail.tenant_id)
        contact = await self._contact(mail, policy)
        if contact is None:
            if mail.recipient_kind is not RecipientKind.OPERATOR and self._now() - mail.create_time < KNOWN_WITHIN:
                raise RetryLater(ASKED_AGAIN_AFTER)
            await self._skip(mail, NotSent.NO_CONTACT)
            return
        letter = self._letter(mail, contact, policy, self._sent_by)
        await self._hand_in(mail, replace(letter, receipt=await self._receipt(mail, letter)), self._server)

    async def _unwanted(self, mail: PendingMail) -> NotSent | None:
        if is_outdated(mail.kind, mail.values, await self._store.seen(mail), now=self._now()):
            return NotSent.OUTDATED
        if _may_be_declined(mail) and await self._store.is_declined(mail):
            return NotSent.DECLINED
        return None

    async def _contact(self, mail: PendingMail, policy: NotificationPolicy) -> Contact | None:
        if mail.recipient_kind is RecipientKind.OPERATOR:
            addresses = policy.operator_addresses
            return Contact(addresses=addresses, locale=policy.locale) if addresses else None
        return await crash_points.call("mail.contact", self._contacts.contact(mail.recipient_kind, mail.recipient_id))

    async def _receipt(self, mail: PendingMail, letter: Letter) -> Receipt | None:
        """Return the receipt that a payer gets with a mail, as it was at what the mail tells of."""
        is_payers = mail.recipient_kind is RecipientKind.PAYER and mail.kind in WITH_RECEIPT
        if self._receipts is None or not is_payers:
            return None
        payment = await self._store.payment(mail)
        if payment is None:
            return None
        language, locale = language_of(letter.to.locale, letter.sender.locale)
        words = ReceiptWording(language, locale=locale, zone=zone_of(letter.sender.time_zone).key)
        asked = self._receipts.then(mail.tenant_id, payment, words, issuer=letter.sender.name)
        return await crash_points.call("mail.receipt", asked)

    async def _hand_in(self, mail: PendingMail, letter: Letter, server: Server) -> None:
        began = time.monotonic()
        try:
            await crash_points.call("mail.send", server.send(mail_of(letter)))
        except AddressUnfit:
            await self._skip(mail, NotSent.ADDRESS_UNFIT)
            return
        except MailboxRefused as refused:
            _logger.warning("a mail to a %s was refused for good: %s", mail.recipient_kind.lower(), refused)
            self._metrics.tried(Outcome.REFUSED)
            await self._store.ended(mail, MailState.REFUSED, reason=NotSent.ADDRESS_REFUSED, now=self._now())
            return
        except MailNotTaken:
            self._metrics.tried(Outcome.NOT_TAKEN)
            raise
        self._metrics.tried(Outcome.SENT)
        self._metrics.took(time.monotonic() - began)
        await self._store.ended(mail, MailState.SENT, now=self._now())

    async def _skip(self, mail: PendingMail, reason: NotSent) -> None:
        self._metrics.tried(Outcome.SKIPPED)
        await self._store.ended(mail, MailState.SKIPPED, reason=reason, now=self._now())

    def _letter(self, mail: PendingMail, contact: Contact, policy: NotificationPolicy, sent_by: Return) -> Letter:
        is_operator = mail.recipient_kind is RecipientKind.OPERATOR
        return Letter(
            fact_id=mail.fact_id,
            kind=mail.kind,
            recipient_kind=mail.recipient_kind,
            recipient_id=mail.recipient_id,
            to=contact,
            sender=Sender(
                name=policy.sender_name or sent_by.name,
                address=sent_by.address,
                locale=policy.locale,
                time_zone=policy.time_zone or "UTC",
            ),
            occur_time=mail.occur_time,
            payment_id=mail.payment_id,
            values=mail.values,
            link=_link(policy.operator_url if is_operator else policy.payment_url, mail.payment_id),
            unsubscribe_url=self._unsubscribe_url(mail, policy),
        )

    def _unsubscribe_url(self, mail: PendingMail, policy: NotificationPolicy) -> str:
        if self._tokens is None or not policy.unsubscribe_url or not _may_be_declined(mail):
            return ""
        token = self._tokens.make(
            Declined(
                tenant_id=mail.tenant_id,
                recipient_kind=mail.recipient_kind,
                recipient_id=mail.recipient_id,
                kind=mail.kind,
            )
        )
        return policy.unsubscribe_url.replace(TOKEN_PLACE, token)


def _may_be_declined(mail: PendingMail) -> bool:
    told = telling(mail.kind, mail.recipient_kind)
    return told is not None and not told.is_mandatory


def _link(url: str, payment_id: str) -> str:
    """Return where a payment is seen; nothing where a mail is about none, and the place needs one."""
    if not payment_id and PAYMENT_PLACE in url:
        return ""
    return url.replace(PAYMENT_PLACE, quote(payment_id, safe=""))
