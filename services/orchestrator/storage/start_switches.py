"""The switch that stops new payments, and its history. `statements.START` looks at it itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.domain.start_switch import StartSwitch
from services.orchestrator.storage.statements import named
from services.runtime.database.connections import DirectConnections

TENANTS_MAX: Final = 100
"""Whose switch is shown as a figure."""


class StartSwitchStore:
    """Reads and writes it, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def turn(self, key: RequestKey, request_hash: bytes, switch: StartSwitch) -> StartSwitch:
        """Say how it stands from now on, and return that; for a repeat, what the first said.

        Raises `RequestIdReused` if the id was used with other content.
        """
        arguments = _TURN.arguments(
            tenant_id=key.tenant_id,
            caller=key.caller,
            method=key.method,
            request_id=key.request_id,
            request_hash=request_hash,
            paused=switch.paused,
            actor_id=switch.actor_id,
            reason=switch.reason,
            public_message=switch.public_message,
            expected_end_time=switch.expected_end_time,
            now=switch.create_time,
        )
        try:
            async with self._held.statement("starts.turn") as connection:
                if await connection.fetchrow(_TURN.text, *arguments) is not None:
                    return switch
        except asyncpg.UniqueViolationError:
            pass  # the same request came twice at once, and the other one was written
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(_TURNED, key.tenant_id, key.caller, key.method, key.request_id)
        if row is None or row["request_hash"] != request_hash:
            raise RequestIdReused(field="request_id")
        return _switch(row)

    async def page(self, tenant_id: str, *, before: int | None, limit: int) -> list[tuple[int, StartSwitch]]:
        """Return what was said, the newest first, each with its revision."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_PAGE, tenant_id, before, limit)
        return [(row["revision"], _switch(row)) for row in rows]

    async def paused(self) -> Mapping[str, bool]:
        """Return of each tenant that ever stopped them whether it stops them now."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch("SELECT tenant_id, paused FROM start_switches LIMIT $1", TENANTS_MAX)
        return {row["tenant_id"]: row["paused"] for row in rows}


def _switch(row: asyncpg.Record) -> StartSwitch:
    return StartSwitch(
        paused=row["paused"],
        actor_id=row["actor_id"],
        reason=row["reason"],
        create_time=row["create_time"],
        public_message=row["public_message"],
        expected_end_time=row["expected_end_time"],
    )


# The row of the tenant is locked by whoever turns it, so that the history's last is how it stands. The action says how
# it stood as the statement began.
_TURN: Final = named("""
WITH turned AS (
    INSERT INTO start_switches AS s (tenant_id, revision, paused, public_message, expected_end_time)
    SELECT :tenant_id, 1, :paused, :public_message, :expected_end_time::timestamptz
    WHERE NOT EXISTS (SELECT FROM start_switch_changes
        WHERE tenant_id = :tenant_id AND caller = :caller AND method = :method AND request_id = :request_id)
    ON CONFLICT ON CONSTRAINT start_switches_pkey DO UPDATE SET revision = s.revision + 1, paused = excluded.paused,
        public_message = excluded.public_message, expected_end_time = excluded.expected_end_time
    RETURNING revision),
action AS (
    INSERT INTO operator_actions (tenant_id, caller, method, request_id, request_hash, actor_id, reason, payment_id,
        asked, before, after, refusal, create_time)
    SELECT :tenant_id, :caller, :method, :request_id, :request_hash, :actor_id, :reason, '', said.after,
        coalesce((SELECT jsonb_build_object('paused', paused, 'public_message', public_message, 'expected_end_time',
            expected_end_time) FROM start_switches WHERE tenant_id = :tenant_id), '{}'), said.after, '',
        :now::timestamptz
    FROM turned, jsonb_build_object('paused', :paused::boolean, 'public_message', :public_message::text,
        'expected_end_time', :expected_end_time::timestamptz) AS said (after))
INSERT INTO start_switch_changes (tenant_id, revision, caller, method, request_id, request_hash, paused, actor_id,
    reason, public_message, expected_end_time, create_time)
SELECT :tenant_id, revision, :caller, :method, :request_id, :request_hash, :paused, :actor_id, :reason,
    :public_message, :expected_end_time, :now::timestamptz FROM turned
RETURNING revision
""")

_TURNED: Final = """
SELECT * FROM start_switch_changes WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4"""

_PAGE: Final = """
SELECT * FROM start_switch_changes WHERE tenant_id = $1 AND ($2::bigint IS NULL OR revision < $2)
ORDER BY revision DESC LIMIT $3"""
