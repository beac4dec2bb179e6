"""Builds what sends mails from its parts."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.orchestrator.mail.metrics import WAITING_COUNTED_MAX, MailMetrics
from services.orchestrator.mail.outbox import Contacts, MailOutbox, Receipts
from services.orchestrator.mail.settings import MailSettings
from services.orchestrator.mail.smtp import Smtp
from services.orchestrator.mail.store import MailStore
from services.orchestrator.mail.unsubscribe_tokens import UnsubscribeTokens
from services.orchestrator.webhooks_out.actions import Action
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import OFF, Meter
from services.runtime.process.clock import Clock

NO_MAILS = MailSettings(server=None, ca=None, sent_by=None, unsubscribe_keys=None)
"""Where nothing is said of mails."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mails:
    """What sends them."""

    outbox: MailOutbox
    store: MailStore
    replay: Callable[[Action], Awaitable[int]]
    """Has those that were given up tried again."""
    look: Callable[[], Awaitable[None]]
    """Looks up what waits, and shows it."""


def unsubscribe_tokens(settings: MailSettings) -> UnsubscribeTokens | None:
    """Return what makes and reads the links by which mails are declined; None where they have none."""
    return None if settings.unsubscribe_keys is None else UnsubscribeTokens(settings.unsubscribe_keys)


def mails(
    held: DirectConnections,
    contacts: Contacts,
    settings: MailSettings = NO_MAILS,
    *,
    receipts: Receipts | None = None,
    clock: Clock,
    meter: Meter = OFF,
) -> Mails:
    """Return what sends mails."""
    store, metrics = MailStore(held), MailMetrics(meter)
    if settings.server is None:
        _logger.warning("no mail is sent: BATZEN_SMTP_URL is not set")

    async def look() -> None:
        metrics.waits(await store.waiting(at_most=WAITING_COUNTED_MAX), now=clock.now())

    async def replay(action: Action) -> int:
        return await store.replay(action, shift=clock.shift)

    return Mails(
        outbox=MailOutbox(
            store,
            contacts,
            server=None if settings.server is None else Smtp(settings.server, ca=settings.ca),
            sent_by=settings.sent_by,
            tokens=unsubscribe_tokens(settings),
            receipts=receipts,
            now=clock.now,
            metrics=metrics,
        ),
        store=store,
        replay=replay,
        look=look,
    )
