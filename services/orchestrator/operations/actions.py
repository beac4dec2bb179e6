"""What operators did. What they do to a payment is kept by the statement that answers them (`SAVE_ACTION`)."""

from __future__ import annotations

from typing import Final

import asyncpg

from services.orchestrator.domain.operator_action import ActionFilter, DoneAction
from services.orchestrator.domain.plan import RequestKey
from services.runtime.database.connections import DirectConnections


async def keep_action(connection: asyncpg.Connection, action: DoneAction) -> bool:
    """Keep what an operator did, in the transaction that did it; a repeat of the same request adds nothing.

    False where something was done under its request's id before.
    """
    key = action.key
    done: str = await connection.execute(
        KEEP,
        key.tenant_id,
        key.caller,
        key.method,
        key.request_id,
        action.request_hash,
        action.actor_id,
        action.reason,
        action.payment_id,
        action.asked_json,
        action.before_json,
        action.after_json,
        action.refusal,
        action.create_time,
    )
    return done == "INSERT 0 1"


class ActionStore:
    """Reads them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def page(self, tenant_id: str, wanted: ActionFilter, *, before: int | None, limit: int) -> list[DoneAction]:
        """Return what was done, the newest first."""
        if wanted.payment_id:
            statement, narrowed = OF_PAYMENT, (wanted.payment_id, wanted.actor_id)
        elif wanted.actor_id:
            statement, narrowed = OF_ACTOR, (wanted.actor_id, "")
        else:
            statement, narrowed = OF_ALL, ("", "")
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(statement, tenant_id, before, limit, *narrowed)
        return [_action(row) for row in rows]


def _action(row: asyncpg.Record) -> DoneAction:
    return DoneAction(
        key=RequestKey(
            tenant_id=row["tenant_id"], caller=row["caller"], method=row["method"], request_id=row["request_id"]
        ),
        request_hash=row["request_hash"],
        actor_id=row["actor_id"],
        create_time=row["create_time"],
        reason=row["reason"],
        payment_id=row["payment_id"],
        asked_json=row["asked"],
        before_json=row["before"],
        after_json=row["after"],
        refusal=row["refusal"],
        action_id=row["action_id"],
    )


KEEP: Final = """
INSERT INTO operator_actions (tenant_id, caller, method, request_id, request_hash, actor_id, reason, payment_id, asked,
    before, after, refusal, create_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT ON CONSTRAINT operator_actions_request DO NOTHING"""

_PAGE: Final = """
    AND ($2::bigint IS NULL OR action_id < $2) ORDER BY action_id DESC LIMIT $3"""
OF_ALL: Final = f"""
SELECT * FROM operator_actions WHERE tenant_id = $1 AND $4 = '' AND $5 = ''{_PAGE}"""  # noqa: S608 our own text
OF_PAYMENT: Final = f"""
SELECT * FROM operator_actions
WHERE tenant_id = $1 AND payment_id = $4 AND payment_id <> '' AND ($5 = '' OR actor_id = $5){_PAGE}"""  # noqa: S608 our own text
OF_ACTOR: Final = f"""
SELECT * FROM operator_actions WHERE tenant_id = $1 AND actor_id = $4 AND $5 = ''{_PAGE}"""  # noqa: S608 our own text
