"""The policies of notifications, every one that was ever put; the newest of a tenant holds."""

from __future__ import annotations

import json
from typing import Final

import asyncpg

from services.errors import DependencyUnavailable, RequestIdReused
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.notifications.domain import NotificationPolicy, PolicyRecord
from services.runtime.database.connections import DirectConnections
from services.shared import codec

TRIES_MAX: Final = 5
"""Of a revision that another operator takes at the same moment."""

WITHOUT: Final = NotificationPolicy()
"""What holds where none was put."""


class NotificationPolicyStore:
    """Reads and writes them, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def current(self, tenant_id: str) -> NotificationPolicy:
        """Return what holds now."""
        async with self._held.statement(None) as connection:
            return await current_policy(connection, tenant_id)

    async def put(self, key: RequestKey, request_hash: bytes, record: PolicyRecord) -> PolicyRecord:
        """Keep what holds from now on, and return that; for a repeat, what the first put.

        Raises `RequestIdReused` if the id was used with other content.
        """
        policy = json.dumps(codec.to_json(record.policy))
        of_request = (key.tenant_id, key.caller, key.request_id)
        for _ in range(TRIES_MAX):
            try:
                async with self._held.statement("notifications.policy") as connection:
                    if await connection.fetchval(
                        PUT, *of_request, request_hash, policy, record.actor_id, record.reason, record.create_time
                    ):
                        return record
            except asyncpg.UniqueViolationError:
                pass  # another one was put at the same moment, or this very one
            async with self._held.statement(None) as connection:
                row = await connection.fetchrow(WAS_PUT, *of_request)
            if row is not None:
                if row["request_hash"] != request_hash:
                    raise RequestIdReused(field="request_id")
                return _record(row)
        raise DependencyUnavailable(dependency="database")

    async def page(self, tenant_id: str, *, before: int | None, limit: int) -> list[tuple[int, PolicyRecord]]:
        """Return what was put, the newest first, each with its revision."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(PAGE, tenant_id, before, limit)
        return [(row["revision"], _record(row)) for row in rows]


async def current_policy(connection: asyncpg.Connection, tenant_id: str) -> NotificationPolicy:
    """Return what holds now, on a connection that somebody has."""
    stored = await connection.fetchval(CURRENT, tenant_id)
    return WITHOUT if stored is None else _policy(stored)


def _policy(stored: str) -> NotificationPolicy:
    """Read a policy without what a later release says of its own kinds: else it would stop all that is told here."""
    policy = json.loads(stored)
    known = [one for one in policy.get("switches", ()) if one["kind"] in FactKind.__members__]
    return codec.from_json(NotificationPolicy, policy | {"switches": known})


def _record(row: asyncpg.Record) -> PolicyRecord:
    return PolicyRecord(
        policy=_policy(row["policy"]),
        actor_id=row["actor_id"],
        reason=row["reason"],
        create_time=row["create_time"],
    )


CURRENT: Final = """
SELECT policy FROM notification_policies WHERE tenant_id = $1 ORDER BY revision DESC LIMIT 1"""

# What an operator did is kept with it; addresses are no part of that, which is kept for ever.
PUT: Final = """
WITH put AS (
    INSERT INTO notification_policies (tenant_id, revision, policy, caller, request_id, request_hash, actor_id, reason,
        create_time)
    SELECT $1, (SELECT coalesce(max(revision), 0) + 1 FROM notification_policies WHERE tenant_id = $1), $5::jsonb, $2,
        $3, $4, $6, $7, $8
    WHERE NOT EXISTS (SELECT FROM notification_policies WHERE tenant_id = $1 AND caller = $2 AND request_id = $3)
    RETURNING revision),
action AS (
    INSERT INTO operator_actions (tenant_id, caller, method, request_id, request_hash, actor_id, reason, payment_id,
        asked, before, after, refusal, create_time)
    SELECT $1, $2, 'PutNotificationPolicy', $3, $4, $6, $7, '', said.after,
        coalesce((SELECT policy - 'operator_addresses' FROM notification_policies WHERE tenant_id = $1
            ORDER BY revision DESC LIMIT 1), '{}'),
        said.after, '', $8
    FROM put, (SELECT $5::jsonb - 'operator_addresses' AS after) AS said)
SELECT true FROM put"""

WAS_PUT: Final = """
SELECT * FROM notification_policies WHERE tenant_id = $1 AND caller = $2 AND request_id = $3"""

PAGE: Final = """
SELECT * FROM notification_policies WHERE tenant_id = $1 AND ($2::bigint IS NULL OR revision < $2)
ORDER BY revision DESC LIMIT $3"""
