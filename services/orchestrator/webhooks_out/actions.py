"""What operators did to webhooks, kept for ever: each request once, with what came of it for its repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.orchestrator.domain.operator_action import DoneAction
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.operations.actions import keep_action


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
    connection: asyncpg.Connection,
    action: Action,
    *,
    after: Mapping[str, object],
    asked: Mapping[str, object] = MappingProxyType({}),
    before: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Keep it in the transaction of what was done."""
    done = DoneAction(
        key=action.key,
        request_hash=action.request_hash,
        actor_id=action.actor_id,
        create_time=action.time,
        reason=action.reason,
        asked_json=json.dumps(dict(asked)),
        before_json=json.dumps(dict(before)),
        after_json=json.dumps(dict(after)),
    )
    await keep_action(connection, done)


KNOWN: Final = """
SELECT request_hash, after FROM operator_actions
WHERE tenant_id = $1 AND caller = $2 AND method = $3 AND request_id = $4"""
