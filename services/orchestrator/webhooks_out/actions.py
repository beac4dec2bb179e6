"""What operators did to webhooks, kept for ever: each request once, with what came of it for its repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.orchestrator.domain.plan import RequestKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """What an operator asks for."""

    key: RequestKey
    request_hash: bytes
    actor_id: str
    reason: str
    time: datetime


async def answer_of(connection: asyncpg.Connection, action: Action) -> Mapping[str, object] | None:
    """Return what came of the same request before, None if it is new. Raises `RequestIdReused`."""
    key = action.key
    row = await connection.fetchrow(KNOWN, key.tenant_id, key.caller, key.method, key.request_id)
    if row is None:
        return None
    if row["request_hash"] != action.request_hash:
        raise RequestIdReused(field="request_id")
    answer: Mapping[str, object] = json.loads(row["after"])
    return answer


async def keep(
    connection: asyncpg.Connection, action: Action, *, before: Mapping[str, object], after: Mapping[str, object]
) -> None:
    """Keep it in the transaction of what was done. Raises asyncpg's error where the same request was kept meanwhile."""
    key = action.key
    of_request = (key.tenant_id, key.caller, key.method, key.request_id, action.request_hash)
    told = (action.actor_id, action.reason, json.dumps(before), json.dumps(after), action.time)
    await connection.execute(KEEP, *of_request, *told)


KNOWN: Final = """
SELECT request_hash, after FROM operator_actions
WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4"""

KEEP: Final = """
INSERT INTO operator_actions (tenant_id, caller, method, request_id, request_hash, actor_id, reason, payment_id, before,
    after, create_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, '', $8, $9, $10)"""
