"""The mails that are to be sent, and what became of them: the rows as work, beside what a policy and opt-outs say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.notifications.domain import NotificationPolicy
from services.orchestrator.notifications.kinds import Channel, RecipientKind
from services.orchestrator.notifications.policies import current_policy
from services.runtime.database.connections import DirectConnections
from services.runtime.work.kinds import Work


class MailState(StrEnum):
    """What became of a mail."""

    WAITING = "WAITING"
    SENT = "SENT"
    REFUSED = "REFUSED"
    SKIPPED = "SKIPPED"


class NotSent(StrEnum):
    """Why a mail was not sent, for good."""

    NO_SERVER = "NO_SERVER"
    """No mail server was set."""
    NO_CONTACT = "NO_CONTACT"
    """Nobody is known by that id any more, or no address of them is."""
    ADDRESS_UNFIT = "ADDRESS_UNFIT"
    """What is given as their address is none that mails are sent to."""
    ADDRESS_REFUSED = "ADDRESS_REFUSED"
    """The server says that the address takes no mail."""
    DECLINED = "DECLINED"
    """They do not want mails of this kind any more."""
    OUTDATED = "OUTDATED"
    """What it announces has happened meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingMail:
    """A mail that is to be sent."""

    tenant_id: str
    fact_id: UUID
    recipient_kind: RecipientKind
    recipient_id: str
    kind: FactKind
    payment_id: str
    values: Mapping[str, str]
    occur_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The mails that are not sent yet."""

    count: int
    oldest_time: datetime | None


class MailStore:
    """Reads and writes them, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def pending(self, work: Work) -> PendingMail | None:
        """Return the mail of a row; None if something became of it already."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(PENDING, work.tenant_id, *work.key)
        if row is None:
            return None
        return PendingMail(
            tenant_id=work.tenant_id,
            fact_id=row["fact_id"],
            recipient_kind=RecipientKind(row["recipient_kind"]),
            recipient_id=row["recipient_id"],
            kind=FactKind(row["kind"]),
            payment_id=row["payment_id"],
            values=json.loads(row["values"]),
            occur_time=row["occur_time"],
        )

    async def policy(self, tenant_id: str) -> NotificationPolicy:
        """Return how a tenant tells."""
        async with self._held.statement(None) as connection:
            return await current_policy(connection, tenant_id)

    async def is_declined(self, mail: PendingMail) -> bool:
        """Whether its recipient does not want mails of its kind."""
        async with self._held.statement(None) as connection:
            found = await connection.fetchval(
                DECLINED, mail.tenant_id, mail.recipient_kind, mail.recipient_id, mail.kind, Channel.MAIL
            )
        return found is not None

    async def ended(self, mail: PendingMail, state: MailState, *, reason: str = "", now: datetime) -> bool:
        """Write down what became of a mail, whoever has it by now; False where that stands there already."""
        async with self._held.statement("mail.end") as connection:
            status = await connection.execute(
                END, mail.tenant_id, mail.fact_id, mail.recipient_kind, mail.recipient_id, state, reason, now
            )
        return bool(status == "UPDATE 1")

    async def waiting(self, *, at_most: int) -> Waiting:
        """Return how many wait, and since when the first does; those that were given up are not counted."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(WAITING, at_most)
        return Waiting(count=row["count"], oldest_time=row["oldest_time"])


PENDING: Final = """
SELECT fact_id, recipient_kind, recipient_id, kind, payment_id, "values", occur_time FROM mails
WHERE tenant_id = $1 AND fact_id = $2::text::uuid AND recipient_kind = $3 AND recipient_id = $4 AND state = 'WAITING'"""

DECLINED: Final = """
SELECT true FROM notification_opt_outs
WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND kind = $4 AND channel = $5"""

# Whatever its fence: what a server took is not sent again by who came after.
END: Final = """
UPDATE mails SET state = $5, end_reason = $6, end_time = $7
WHERE tenant_id = $1 AND fact_id = $2 AND recipient_kind = $3 AND recipient_id = $4 AND state = 'WAITING'"""

WAITING: Final = """
SELECT count(*)::int AS count, min(create_time) AS oldest_time FROM (
    SELECT create_time FROM mails WHERE state = 'WAITING' AND dead_time IS NULL ORDER BY create_time LIMIT $1) w"""

FORGET: Final = """
DELETE FROM mails WHERE (tenant_id, fact_id, recipient_kind, recipient_id) IN (
    SELECT tenant_id, fact_id, recipient_kind, recipient_id FROM mails
    WHERE create_time < $1 AND due_time IS NULL AND dead_time IS NULL ORDER BY create_time LIMIT $2)
RETURNING true"""
