"""The mails that are to be sent, and what became of them: the rows as work, beside what a policy and opt-outs say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from services.orchestrator.facts.domain import FactKind
from services.orchestrator.facts.rules import Seen
from services.orchestrator.notifications.domain import NotificationPolicy
from services.orchestrator.notifications.kinds import Channel, RecipientKind
from services.orchestrator.notifications.policies import current_policy
from services.orchestrator.webhooks_out.actions import Action, answer_of, keep
from services.runtime.database.connections import DirectConnections
from services.runtime.work.kinds import Work
from services.shared import codec


class MailState(StrEnum):
    """What became of a mail."""

    WAITING = "WAITING"
    SENT = "SENT"
    REFUSED = "REFUSED"
    SKIPPED = "SKIPPED"


GIVEN_UP: Final = "GIVEN_UP"
"""How one stands that waits for an operator."""
REPLAYED_MAX: Final = 1_000
"""By one request: a statement of some ten milliseconds."""


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
    """What it says is not so any more, or what it announces has happened meanwhile."""


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
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """The mails that are not sent yet."""

    count: int
    oldest_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MailRow:
    """A mail as it stands, for operators."""

    fact_id: UUID
    kind: str
    recipient_kind: RecipientKind
    recipient_id: str
    payment_id: str
    state: str
    end_reason: str
    failures: int
    problem: str
    create_time: datetime
    end_time: datetime | None
    next_time: datetime | None

    @property
    def place(self) -> str:
        """Say where a list goes on after it."""
        return json.dumps([self.create_time.isoformat(), str(self.fact_id), self.recipient_kind, self.recipient_id])


def read_place(text: str) -> tuple[datetime, UUID, str, str]:
    """Read where a list goes on; raises ValueError where it is no place."""
    time, fact_id, recipient_kind, recipient_id = json.loads(text)
    return datetime.fromisoformat(time), UUID(fact_id), str(recipient_kind), str(recipient_id)


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
            create_time=row["create_time"],
        )

    async def payment(self, mail: PendingMail) -> bytes | None:
        """Return the payment as the fact of a mail has it; None of what no revision said, and once it was forgotten."""
        async with self._held.statement(None) as connection:
            payment: bytes | None = await connection.fetchval(PAYMENT, mail.tenant_id, mail.payment_id, mail.fact_id)
        return payment

    async def seen(self, mail: PendingMail) -> Seen | None:
        """Return what was heard of the payment of a mail last; None where it is of none that is followed."""
        async with self._held.statement(None) as connection:
            seen: str | None = await connection.fetchval(HEARD, mail.tenant_id, mail.payment_id)
        return None if seen is None else codec.from_json(Seen, json.loads(seen))

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

    async def page(
        self,
        tenant_id: str,
        *,
        payment_id: str,
        state: str,
        before: tuple[datetime, UUID, str, str] | None,
        limit: int,
    ) -> list[MailRow]:
        """Return mails, the newest first; what is empty narrows nothing."""
        place = before or (None, None, "", "")
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(PAGE, tenant_id, payment_id, state, limit, *place)
        return [
            MailRow(**{**row, "recipient_kind": RecipientKind(row["recipient_kind"])})  # the columns are its fields
            for row in rows
        ]

    async def replay(self, action: Action, *, shift: timedelta) -> int:
        """Have up to `REPLAYED_MAX` that were given up tried again, the oldest first; return how many those were.

        A repeat of the request returns the same, and has nothing tried.
        """
        tenant_id = action.key.tenant_id
        async with self._held.transaction("mail.replay") as connection:
            known = await answer_of(connection, action)
            if known is not None:
                return int(str(known["replayed"]))
            replayed = len(await connection.fetch(REPLAY, tenant_id, shift, REPLAYED_MAX))
            await keep(connection, action, after={"replayed": replayed})
        return replayed


PAGE: Final = f"""
SELECT fact_id, kind, recipient_kind, recipient_id, payment_id,
    CASE WHEN dead_time IS NULL THEN state ELSE '{GIVEN_UP}' END AS state, end_reason, failures,
    coalesce(problem, '') AS problem, create_time, end_time, due_time AS next_time
FROM mails
WHERE tenant_id = $1 AND ($2 = '' OR payment_id = $2)
    AND ($3 = '' OR CASE WHEN dead_time IS NULL THEN state ELSE '{GIVEN_UP}' END = $3)
    AND ($5::timestamptz IS NULL OR (create_time, fact_id, recipient_kind, recipient_id) < ($5, $6::uuid, $7, $8))
ORDER BY create_time DESC, fact_id DESC, recipient_kind DESC, recipient_id DESC LIMIT $4"""  # noqa: S608 our own words

REPLAY: Final = """
UPDATE mails SET due_time = now() + $2::interval, dead_time = NULL, failures = 0, lapses = 0
WHERE tenant_id = $1 AND (fact_id, recipient_kind, recipient_id) IN (
    SELECT fact_id, recipient_kind, recipient_id FROM mails WHERE tenant_id = $1 AND dead_time IS NOT NULL
    ORDER BY dead_time LIMIT $3 FOR UPDATE)
RETURNING true"""

PENDING: Final = """
SELECT fact_id, recipient_kind, recipient_id, kind, payment_id, "values", occur_time, create_time FROM mails
WHERE tenant_id = $1 AND fact_id = $2::text::uuid AND recipient_kind = $3 AND recipient_id = $4 AND state = 'WAITING'"""

PAYMENT: Final = "SELECT payment FROM facts WHERE tenant_id = $1 AND payment_id = $2 AND fact_id = $3"

HEARD: Final = "SELECT seen FROM followed_payments WHERE tenant_id = $1 AND payment_id = $2"

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
