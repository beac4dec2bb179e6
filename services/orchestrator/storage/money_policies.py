"""The policies of money, every one that was ever put. `statements.START` takes the one that holds with the payment."""

from __future__ import annotations

import json
from typing import Final

import asyncpg

from services.errors import DependencyUnavailable, RequestIdReused
from services.orchestrator.domain.money_policy import MoneyPolicy, PolicyRecord
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.storage.statements import named
from services.runtime.database.connections import DirectConnections
from services.shared import codec

TRIES_MAX: Final = 5
"""Of a revision that another operator takes at the same moment."""


class MoneyPolicyStore:
    """Reads and writes them, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def put(self, key: RequestKey, request_hash: bytes, record: PolicyRecord) -> PolicyRecord:
        """Keep what holds from now on, and return that; for a repeat, what the first put.

        Raises `RequestIdReused` if the id was used with other content.
        """
        arguments = _PUT.arguments(
            tenant_id=key.tenant_id,
            caller=key.caller,
            method=key.method,
            request_id=key.request_id,
            request_hash=request_hash,
            session_type=record.session_type,
            policy=json.dumps(codec.to_json(record.policy)),
            actor_id=record.actor_id,
            reason=record.reason,
            now=record.create_time,
        )
        for _ in range(TRIES_MAX):
            try:
                async with self._held.statement("policy.put") as connection:
                    if await connection.fetchrow(_PUT.text, *arguments) is not None:
                        return record
            except asyncpg.UniqueViolationError:
                pass  # another one was put at the same moment, or this very one
            async with self._held.statement(None) as connection:
                row = await connection.fetchrow(_WAS_PUT, key.tenant_id, key.caller, key.request_id)
            if row is not None:
                if row["request_hash"] != request_hash:
                    raise RequestIdReused(field="request_id")
                return _record(row)
        raise DependencyUnavailable(dependency="database")

    async def page(self, tenant_id: str, *, before: int | None, limit: int) -> list[tuple[int, PolicyRecord]]:
        """Return what was put, the newest first, each with its revision."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_PAGE, tenant_id, before, limit)
        return [(row["revision"], _record(row)) for row in rows]


def _record(row: asyncpg.Record) -> PolicyRecord:
    return PolicyRecord(
        session_type=row["session_type"],
        policy=codec.from_json(MoneyPolicy, json.loads(row["policy"])),
        actor_id=row["actor_id"],
        reason=row["reason"],
        create_time=row["create_time"],
    )


_PUT: Final = named("""
WITH put AS (
INSERT INTO money_policies (tenant_id, revision, session_type, policy, caller, request_id, request_hash, actor_id,
    reason, create_time)
SELECT :tenant_id, (SELECT coalesce(max(revision), 0) + 1 FROM money_policies WHERE tenant_id = :tenant_id),
    :session_type, :policy::jsonb, :caller, :request_id, :request_hash, :actor_id, :reason, :now::timestamptz
WHERE NOT EXISTS (SELECT FROM money_policies
    WHERE tenant_id = :tenant_id AND caller = :caller AND request_id = :request_id)
RETURNING revision),
action AS (
    INSERT INTO operator_actions (tenant_id, caller, method, request_id, request_hash, actor_id, reason, payment_id,
        asked, before, after, refusal, create_time)
    SELECT :tenant_id, :caller, :method, :request_id, :request_hash, :actor_id, :reason, '', said.after,
        coalesce((SELECT jsonb_build_object('session_type', session_type, 'policy', policy) FROM money_policies
            WHERE tenant_id = :tenant_id AND session_type = :session_type ORDER BY revision DESC LIMIT 1), '{}'),
        said.after, '', :now::timestamptz
    FROM put, jsonb_build_object('session_type', :session_type::text, 'policy', :policy::jsonb) AS said (after))
SELECT revision FROM put
""")

_WAS_PUT: Final = """
SELECT * FROM money_policies WHERE tenant_id = $1 AND caller = $2 AND request_id = $3"""

_PAGE: Final = """
SELECT * FROM money_policies WHERE tenant_id = $1 AND ($2::bigint IS NULL OR revision < $2)
ORDER BY revision DESC LIMIT $3"""
