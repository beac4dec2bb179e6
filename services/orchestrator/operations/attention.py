"""Attention items: what needs an operator, and who looks after it."""

from __future__ import annotations

import json
import uuid
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.orchestrator.domain.attention_item import Acknowledgment, AttentionItem, ItemFilter
from services.orchestrator.domain.errors import AttentionNotFound, AttentionResolved
from services.orchestrator.domain.operator_action import DoneAction
from services.orchestrator.domain.plan import RequestKey
from services.orchestrator.operations.actions import keep_action
from services.runtime.database.connections import DirectConnections
from services.shared.states import Cause

Position = tuple[datetime, uuid.UUID]
"""When an item was raised, and its id: where a page ends."""


class AttentionStore:
    """Reads and acknowledges them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections) -> None:
        self._held = held

    async def page(
        self, tenant_id: str, wanted: ItemFilter, *, before: Position | None, limit: int
    ) -> list[AttentionItem]:
        """Return items, the newest first."""
        statement = OF_PAYMENT if wanted.payment_id else OF_ALL if wanted.with_resolved else OPEN
        arguments = (
            tenant_id,
            *(before or (None, None)),
            limit,
            wanted.payment_id,
            wanted.reason,
            wanted.with_resolved,
            wanted.unacknowledged_only,
        )
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(statement, *arguments)
        return [_item(row) for row in rows]

    async def acknowledge(self, key: RequestKey, request_hash: bytes, said: Acknowledgment) -> AttentionItem:
        """Note who looks after an item; for a repeat, return it as it stands.

        Raises `AttentionNotFound`, `AttentionResolved`, and `RequestIdReused` if the id was used with other content.
        """
        async with self._held.transaction("attention.acknowledge") as connection:
            row = await connection.fetchrow(LOCK, key.tenant_id, said.item_id)
            if row is None:
                raise AttentionNotFound
            item = _item(row)
            known = await connection.fetchval(
                WAS_DONE, key.tenant_id, item.payment_id, key.caller, key.method, key.request_id
            )
            if known is not None and known != request_hash:
                raise RequestIdReused(field="request_id")
            if known is not None:
                return item
            if item.resolve_time is not None:
                raise AttentionResolved
            after = await connection.fetchrow(
                ACKNOWLEDGE, key.tenant_id, item.payment_id, said.item_id, said.time, said.actor_id, said.note
            )
            action = DoneAction(
                key=key,
                request_hash=request_hash,
                actor_id=said.actor_id,
                create_time=said.time,
                reason=said.note,
                payment_id=item.payment_id,
                asked_json=json.dumps({"item_id": str(item.item_id), "reason": item.reason, "detail": item.detail}),
                before_json=json.dumps({"acknowledged_by": item.acknowledged_by, "note": item.note}),
                after_json=json.dumps({"acknowledged_by": said.actor_id, "note": said.note}),
            )
            if not await keep_action(connection, action):  # its id was used about another payment
                raise RequestIdReused(field="request_id")
            return _item(after)


def _item(row: asyncpg.Record) -> AttentionItem:
    return AttentionItem(
        item_id=row["item_id"],
        payment_id=row["payment_id"],
        reason=row["reason"],
        detail=row["detail"],
        raise_time=row["raise_time"],
        raise_revision=row["raise_revision"],
        change_time=row["change_time"],
        acknowledge_time=row["acknowledge_time"],
        acknowledged_by=row["acknowledged_by"],
        note=row["note"],
        resolve_time=row["resolve_time"],
        resolve_revision=row["resolve_revision"],
        resolve_cause=Cause(row["resolve_cause"]) if row["resolve_cause"] else None,
    )


_NARROWED: Final = """
    AND ($2::timestamptz IS NULL OR (raise_time, item_id) < ($2, $3::uuid))
    AND ($5 = '' OR payment_id = $5) AND ($6 = '' OR reason = $6) AND ($7 OR resolve_time IS NULL)
    AND (NOT $8 OR acknowledge_time IS NULL)
ORDER BY raise_time DESC, item_id DESC LIMIT $4"""
OPEN: Final = f"""
SELECT * FROM attention_items WHERE tenant_id = $1 AND resolve_time IS NULL{_NARROWED}"""  # noqa: S608 our own text
OF_ALL: Final = f"""
SELECT * FROM attention_items WHERE tenant_id = $1{_NARROWED}"""  # noqa: S608 our own text
OF_PAYMENT: Final = f"""
SELECT * FROM attention_items WHERE tenant_id = $1 AND payment_id = $5{_NARROWED}"""  # noqa: S608 our own text

LOCK: Final = """
SELECT * FROM attention_items WHERE tenant_id = $1 AND item_id = $2 FOR UPDATE"""

WAS_DONE: Final = """
SELECT request_hash FROM operator_actions
WHERE tenant_id = $1 AND payment_id = $2 AND caller = $3 AND method = $4 AND request_id = $5"""

ACKNOWLEDGE: Final = """
UPDATE attention_items SET acknowledge_time = $4, acknowledged_by = $5, note = $6
WHERE tenant_id = $1 AND payment_id = $2 AND item_id = $3
RETURNING *"""
