"""What operators did, collected from the tables that keep it; each says who, when, and what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from services.gateway.errors import PageTokenInvalid
from services.runtime.database.connections import DirectConnections
from services.shared.paging import position_in, token_for

Place = tuple[datetime, str, str]
"""When it was asked for, by which call, and what it made: where a page ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """One of them."""

    method: str
    subject_id: str
    actor_id: str
    reason: str
    payment_id: str
    asked_json: str
    outcome_json: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionFilter:
    """Which are looked for; what is empty narrows nothing."""

    payment_id: str = ""
    actor_id: str = ""


class ActionList:
    """Reads them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, *, nobody: str) -> None:
        """Leave out what `nobody` did: the actor of what is run by the clock."""
        self._connections = connections
        self._nobody = nobody

    async def page(
        self, tenant_id: str, wanted: ActionFilter, *, size: int, page_token: str
    ) -> tuple[Sequence[Action], str]:
        """Return what was done, the newest first, and the token of the next page."""
        walk, before = f"actions {tenant_id} {wanted}", None
        if page_token:
            before = position_in(page_token, walk=walk, parse=_place, invalid=PageTokenInvalid)
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(
                PAGE, tenant_id, *(before or (None,) * 3), size + 1, wanted.payment_id, wanted.actor_id, self._nobody
            )
        found = [
            Action(
                method=row["method"],
                subject_id=row["subject_id"],
                actor_id=row["actor_id"],
                reason=row["reason"],
                payment_id=row["payment_id"],
                asked_json=row["asked"],
                outcome_json=row["outcome"],
                create_time=row["create_time"],
            )
            for row in rows[:size]
        ]
        return found, token_for(_position(found[-1]), walk=walk) if len(rows) > size else ""


def _position(last: Action) -> str:
    return f"{last.create_time.isoformat()} {last.method} {last.subject_id}"


def _place(position: str) -> Place:
    """Read a place in the list; raises ValueError for what is none."""
    created, method, subject_id = position.split(" ", 2)
    return datetime.fromisoformat(created), method, subject_id


PAGE: Final = """
SELECT * FROM (
    SELECT 'ReplayDeadLetters' AS method, request_id::text AS subject_id, actor_id, '' AS reason, '' AS payment_id,
        jsonb_build_object('dead_letter_ids', dead_letter_ids) AS asked,
        jsonb_build_object('outcomes', outcomes) AS outcome, create_time
    FROM replays WHERE tenant_id = $1
    UNION ALL
    SELECT 'ErasePayer', request_id::text, actor_id, '', '', jsonb_build_object('payer_id', payer_id),
        jsonb_build_object('end_time', end_time), create_time
    FROM erasures WHERE tenant_id = $1
    UNION ALL
    SELECT 'Reconcile', reconciliation_id, actor_id, '', '',
        jsonb_build_object('since', since, 'until', until, 'repairs', repairs),
        jsonb_build_object('finish_time', finish_time), create_time
    FROM reconciliations WHERE tenant_id = $1 AND actor_id <> $8
    UNION ALL
    SELECT 'WriteOffReceivable', movement_id, mirrored ->> 'actor_id', coalesce(mirrored ->> 'note', ''), payment_id,
        jsonb_build_object('seller_id', seller_id),
        jsonb_build_object('amount_minor', mirrored -> 'amount_minor', 'currency_code', mirrored -> 'currency_code'),
        create_time
    FROM movements WHERE tenant_id = $1 AND kind = 'WRITE_OFF'
    UNION ALL
    SELECT 'AcceptDispute', dispute_id, mirrored ->> 'accept_actor_id', '', payment_id, '{}',
        jsonb_build_object('state', state), coalesce((mirrored ->> 'accept_time')::timestamptz, create_time)
    FROM disputes WHERE tenant_id = $1 AND coalesce(mirrored ->> 'accept_actor_id', '') <> '') AS done
WHERE ($2::timestamptz IS NULL OR (create_time, method, subject_id) < ($2, $3::text, $4::text))
    AND ($6 = '' OR payment_id = $6) AND ($7 = '' OR actor_id = $7)
ORDER BY create_time DESC, method DESC, subject_id DESC LIMIT $5"""
