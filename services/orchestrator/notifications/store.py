"""What each was told in the app: listed, marked as read, and read on after a number; and what each opted out of."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.orchestrator.domain.errors import NotificationNotFound
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.notifications.domain import OptOut, Recipient
from services.orchestrator.notifications.kinds import Channel
from services.runtime.database.connections import DirectConnections

UNREAD_COUNTED_MAX: Final = 1_000
MARKED_AT_ONCE: Final = 1_000
"""Rows of one statement, some milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What one recipient was told."""

    number: int
    """Of the recipient: 1, 2, …"""
    recipient: Recipient
    kind: str
    payment_id: str
    values: Mapping[str, str]
    occur_time: datetime
    read_time: datetime | None


class NotificationStore:
    """Reads and writes them, a tenant's and a recipient's own. Raises `DependencyUnavailable`."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def page(
        self, tenant_id: str, recipient: Recipient, *, before: int | None, unread_only: bool, limit: int
    ) -> list[Notification]:
        """Return what was told, the newest first, before a number."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(PAGE, tenant_id, recipient.kind, recipient.id, before, unread_only, limit)
        return [_notification(row) for row in rows]

    async def after(self, tenant_id: str, recipient: Recipient, number: int, *, limit: int) -> list[Notification]:
        """Return what was told after a number, the oldest first."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(AFTER, tenant_id, recipient.kind, recipient.id, number, limit)
        return [_notification(row) for row in rows]

    async def last_numbers(self, recipients: Collection[tuple[str, Recipient]]) -> dict[tuple[str, Recipient], int]:
        """Return the last number of each recipient of a tenant; of one who was never told anything there is none."""
        by_key = {(tenant_id, str(one.kind), one.id): (tenant_id, one) for tenant_id, one in recipients}
        tenants, kinds, ids = zip(*by_key, strict=True)
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(LAST, list(tenants), list(kinds), list(ids))
        return {
            by_key[row["tenant_id"], row["recipient_kind"], row["recipient_id"]]: row["last_number"] for row in rows
        }

    async def unread_count(self, tenant_id: str, recipient: Recipient) -> int:
        """Return how many are not read, so many at most."""
        async with self._held.statement(None) as connection:
            return int(await connection.fetchval(UNREAD, tenant_id, recipient.kind, recipient.id, UNREAD_COUNTED_MAX))

    async def mark(self, tenant_id: str, recipient: Recipient, number: int, *, now: datetime) -> Notification:
        """Mark one as read; one that is read stays as it was. Raises `NotificationNotFound`."""
        async with self._held.statement("notifications.mark") as connection:
            row = await connection.fetchrow(MARK, tenant_id, recipient.kind, recipient.id, number, now)
        if row is None:
            raise NotificationNotFound(field="notification_id")
        return _notification(row)

    async def mark_all(self, tenant_id: str, recipient: Recipient, up_to: int, *, now: datetime) -> None:
        """Mark all as read up to one, which is the recipient's. Raises `NotificationNotFound`."""
        async with self._held.statement(None) as connection:
            if not await connection.fetchval(IS_THERE, tenant_id, recipient.kind, recipient.id, up_to):
                raise NotificationNotFound(field="up_to_notification_id")
        marked = MARKED_AT_ONCE
        while marked == MARKED_AT_ONCE:
            async with self._held.statement("notifications.mark_all") as connection:
                rows = await connection.fetch(
                    MARK_ALL, tenant_id, recipient.kind, recipient.id, up_to, now, MARKED_AT_ONCE
                )
            marked = len(rows)

    async def opt_outs(self, tenant_id: str, recipient: Recipient) -> set[OptOut]:
        """Return what a recipient does not want to be told."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(OPT_OUTS_OF, tenant_id, recipient.kind, recipient.id)
        return {
            OptOut(recipient, FactKind(row["kind"]), Channel(row["channel"]))
            for row in rows
            if row["kind"] in FactKind.__members__  # one of a later release is told by none of ours
        }

    async def set_opt_outs(
        self, tenant_id: str, recipient: Recipient, *, out: Sequence[OptOut], back: Sequence[OptOut], now: datetime
    ) -> None:
        """Note what a recipient does not want to be told any more, and what they want to be told again."""
        key = (tenant_id, recipient.kind, recipient.id)
        async with self._held.transaction("notifications.opt") as connection:
            await _opt(connection, OPT_BACK, key, back)
            await _opt(connection, OPT_OUT, key, out, now)


async def _opt(
    connection: asyncpg.Connection,
    statement: str,
    key: tuple[str, str, str],
    which: Sequence[OptOut],
    *arguments: object,
) -> None:
    if which:
        await connection.execute(
            statement, *key, [one.kind for one in which], [one.channel for one in which], *arguments
        )


def _notification(row: asyncpg.Record) -> Notification:
    return Notification(
        number=row["number"],
        recipient=Recipient.of(row["recipient_kind"], row["recipient_id"]),
        kind=row["kind"],
        payment_id=row["payment_id"],
        values=json.loads(row["values"]),
        occur_time=row["occur_time"],
        read_time=row["read_time"],
    )


PAGE: Final = """
SELECT * FROM notifications
WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND ($4::bigint IS NULL OR number < $4)
    AND (NOT $5 OR read_time IS NULL)
ORDER BY number DESC LIMIT $6"""

AFTER: Final = """
SELECT * FROM notifications
WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND number > $4
ORDER BY number LIMIT $5"""

LAST: Final = """
SELECT r.* FROM unnest($1::text[], $2::text[], $3::text[]) AS w (tenant_id, recipient_kind, recipient_id)
    JOIN notification_recipients r USING (tenant_id, recipient_kind, recipient_id)"""

UNREAD: Final = """
SELECT count(*) FROM (SELECT FROM notifications
    WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND read_time IS NULL LIMIT $4) AS n"""

IS_THERE: Final = """
SELECT EXISTS (SELECT FROM notifications
    WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND number = $4)"""

MARK: Final = """
UPDATE notifications SET read_time = coalesce(read_time, $5)
WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND number = $4 RETURNING *"""

MARK_ALL: Final = """
UPDATE notifications SET read_time = $5
WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3 AND number IN (
    SELECT number FROM notifications WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3
        AND number <= $4 AND read_time IS NULL
    ORDER BY number LIMIT $6)
RETURNING true"""

OPT_OUTS_OF: Final = """
SELECT kind, channel FROM notification_opt_outs WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3"""

OPT_OUT: Final = """
INSERT INTO notification_opt_outs (tenant_id, recipient_kind, recipient_id, kind, channel, create_time)
SELECT $1, $2, $3, o.kind, o.channel, $6 FROM unnest($4::text[], $5::text[]) AS o (kind, channel)
ON CONFLICT ON CONSTRAINT notification_opt_outs_pkey DO NOTHING"""

OPT_BACK: Final = """
DELETE FROM notification_opt_outs WHERE tenant_id = $1 AND recipient_kind = $2 AND recipient_id = $3
    AND (kind, channel) IN (SELECT * FROM unnest($4::text[], $5::text[]))"""

FORGET: Final = """
DELETE FROM notifications WHERE (tenant_id, recipient_kind, recipient_id, number) IN (
    SELECT tenant_id, recipient_kind, recipient_id, number FROM notifications
    WHERE create_time < $1::timestamptz - interval '275 days' ORDER BY create_time LIMIT $2)
RETURNING true"""
"""After a year: 275 days later than facts and requests are forgotten."""
