"""The table of calls: read here; written by the store of their subject, in the statement that saves the subject."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.gateway.call_log.call import Call, CallState, StoredCall
from services.runtime.database.connections import DirectConnections
from services.shared import refusals
from services.shared.refusals import Refusal

OPEN_LISTED_MAX: Final = 50
"""Of one payment, which has a few at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall:
    """A call that was begun and has no answer, as operators see it."""

    operation: str
    request_id: str
    is_unknown: bool
    """It was sent, and Stripe did not say what came of it."""
    tries: int
    problem: str
    create_time: datetime
    is_dead: bool
    """It was given up, and waits for an operator."""


class CallStore:
    """Reads calls. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections) -> None:
        self._connections = connections

    async def call(self, tenant_id: str, operation: str, request_id: uuid.UUID) -> StoredCall | None:
        """Return a call that was written down."""
        async with self._connections.statement("call.read") as connection:
            row = await connection.fetchrow(_CALL, tenant_id, operation, request_id)
        return _stored(row) if row is not None else None

    async def call_by_id(self, tenant_id: str, call_id: str) -> StoredCall | None:
        """Return a call that was written down."""
        async with self._connections.statement("call.read") as connection:
            row = await connection.fetchrow(_CALL_BY_ID, tenant_id, uuid.UUID(call_id))
        return _stored(row) if row is not None else None

    async def open_on(self, tenant_id: str, payment_id: str) -> list[OpenCall]:
        """Return the calls on a payment that have no answer, the oldest first."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(OPEN_ON, tenant_id, payment_id, OPEN_LISTED_MAX)
        return [
            OpenCall(
                operation=row["operation"],
                request_id=str(row["request_id"]),
                is_unknown=row["state"] == CallState.UNKNOWN,
                tries=row["tries"],
                problem=row["problem"] or "",
                create_time=row["create_time"],
                is_dead=row["dead_time"] is not None,
            )
            for row in rows
        ]

    async def unknown(self, tenant_id: str, *, sent_before: datetime) -> tuple[int, datetime | None]:
        """Return how many calls were sent before then and have no answer, and when the first of them was made."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(UNKNOWN, tenant_id, sent_before)
        return row["calls"], row["first_time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArguments:
    """What is written of a call; NULL throughout where there is none."""

    started: tuple[object, ...] = (None,) * 6
    """Id, state, parameters, generation, key time, rest."""
    answer: str | None = None
    tries: int | None = None
    send_time: datetime | None = None


def arguments(call: StoredCall | None, *, now: datetime) -> CallArguments:
    """Return what the statements that save a call take."""
    if call is None:
        return CallArguments()
    answer = refusals.to_json(call.refusal) if call.refusal is not None else call.answer
    rest = call.due_time - now if call.due_time is not None else None
    return CallArguments(
        started=(call.call_id, call.state, json.dumps(call.params), call.generation, call.key_time, rest),
        answer=None if answer is None else json.dumps(answer),
        tries=call.tries,
        send_time=call.send_time,
    )


def _stored(row: asyncpg.Record) -> StoredCall:
    state = CallState(row["state"])
    kept = json.loads(row["answer"] or "null")
    is_refused = state is CallState.REFUSED
    return Call(
        tenant_id=row["tenant_id"],
        call_id=row["call_id"],
        operation=row["operation"],
        request_id=row["request_id"],
        request_hash=row["request_hash"],
        subject_id=row["subject_id"],
        params=json.loads(row["params"]),
        state=state,
        answer=None if is_refused else kept,
        refusal=Refusal.from_json(kept) if is_refused else None,
        tries=row["tries"],
        due_time=row["due_time"],
        create_time=row["create_time"],
        generation=row["generation"],
        key_time=row["key_time"],
        send_time=row["send_time"],
    )


_COLUMNS: Final = """tenant_id, call_id, operation, request_id, request_hash, subject_id, params, state, answer, tries,
    due_time, create_time, generation, key_time, send_time"""

_CALL: Final = f"""
SELECT {_COLUMNS} FROM calls WHERE tenant_id = $1 AND operation = $2 AND request_id = $3
"""  # noqa: S608 our own column names

_CALL_BY_ID: Final = f"""
SELECT {_COLUMNS} FROM calls WHERE tenant_id = $1 AND call_id = $2
"""  # noqa: S608 our own column names

# By the index of those calls: there are as many as are on their way, and few beside them.
UNKNOWN: Final = """
SELECT count(*) AS calls, min(create_time) AS first_time FROM calls
WHERE tenant_id = $1 AND state IN ('STARTED', 'UNKNOWN') AND create_time < $2
"""

OPEN_ON: Final = """
SELECT operation, request_id, state, tries, problem, create_time, dead_time FROM calls
WHERE tenant_id = $1 AND subject_id = $2 AND subject_type = 'payment' AND state IN ('STARTED', 'UNKNOWN')
ORDER BY create_time, call_id LIMIT $3"""
