"""Finds the payments that do not move, by everything that would show it."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Final

import asyncpg

from services.orchestrator.domain.policies import PARKED_AFTER_TRIES
from services.orchestrator.domain.stuck import (
    LOOKED_AT_MAX,
    OPEN_AFTER,
    OVERDUE_AFTER,
    STEP_LATE_AFTER,
    UNKNOWN_AFTER,
    Stuck,
    StuckCause,
    StuckFilter,
    StuckReason,
)
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock

Position = tuple[datetime, str]
"""Since when a payment is stuck, and its id: where a page ends."""
_SERIOUS: Final = tuple(StuckReason)


class StuckStore:
    """Reads them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, *, clock: Clock) -> None:
        self._held = held
        self._clock = clock

    async def page(self, tenant_id: str, wanted: StuckFilter, *, after: Position | None, limit: int) -> list[Stuck]:
        """Return payments, those that are stuck for longest first."""
        now = self._clock.now()
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(
                STUCK,
                tenant_id,
                now,
                self._clock.shift,
                LOOKED_AT_MAX,
                wanted.reason,
                now - wanted.age_min,
                *(after or (None, None)),
                limit,
                UNKNOWN_AFTER,
                OPEN_AFTER,
                STEP_LATE_AFTER,
                OVERDUE_AFTER,
            )
        return [_stuck(row) for row in rows]


def _stuck(row: asyncpg.Record) -> Stuck:
    causes = [
        StuckCause(reason=StuckReason(reason), since_time=datetime.fromisoformat(since), step=step)
        for reason, since, step in json.loads(row["causes"])
    ]
    return Stuck(
        payment_id=row["payment_id"],
        causes=tuple(sorted(causes, key=lambda one: _SERIOUS.index(one.reason))),
        failures=row["failures"],
        last_error=row["problem"] or "",
        next_try_time=row["due_time"],
    )


# Each branch goes by an index that has what waits alone. When a payment began to wait is said by what waits; of one
# that failed again and again by its attention, of an unknown outcome by when its revision was heard.
STUCK: Final = f"""
WITH found AS (
    (SELECT p.payment_id, 'PARKED' AS reason, coalesce(i.raise_time, p.create_time) AS since, '' AS step
    FROM payments p LEFT JOIN attention_items i ON i.tenant_id = p.tenant_id AND i.payment_id = p.payment_id
        AND i.reason = 'STUCK' AND i.resolve_time IS NULL
    WHERE p.tenant_id = $1 AND p.failures >= {PARKED_AFTER_TRIES} LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'TRANSITION_REFUSED', min(create_time), string_agg(fact || ' (' || refusal || ')', ', ')
    FROM (SELECT payment_id, create_time, fact, refusal FROM transitions
        WHERE tenant_id = $1 AND refusal IS NOT NULL AND given_up_by IS NULL ORDER BY create_time LIMIT $4) AS t
    GROUP BY payment_id)
    UNION ALL
    (SELECT p.payment_id, 'OUTCOME_UNKNOWN', coalesce(f.update_time, p.create_time), ''
    FROM payments p LEFT JOIN followed_payments f ON f.tenant_id = p.tenant_id AND f.payment_id = p.payment_id
    WHERE p.tenant_id = $1 AND p.latest_snapshot ->> 'reason' = 'OUTCOME_UNKNOWN'
        AND coalesce(f.update_time, p.create_time) <= $2::timestamptz - $10::interval LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'QUOTE_DEAD', dead_time, quote_state FROM quote_outbox
    WHERE tenant_id = $1 AND dead_time IS NOT NULL ORDER BY dead_time LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'REQUEST_OPEN', create_time, method FROM requests
    WHERE tenant_id = $1 AND state <> 'DONE' AND create_time <= $2::timestamptz - $11::interval LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'NOT_RECORDED', create_time, fact FROM transitions
    WHERE tenant_id = $1 AND refusal IS NULL AND create_time <= $2::timestamptz - $11::interval LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'STEP_LATE', next_time, next_step FROM payments
    WHERE tenant_id = $1 AND next_step IN ('CHARGE', 'CAPTURE', 'RELEASE', 'WARN_HOLD')
        AND next_time <= $2::timestamptz - $12::interval ORDER BY next_time LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'OVERDUE', due_time, coalesce(next_step, '') FROM payments
    WHERE tenant_id = $1 AND work_class = 'MONEY' AND due_time <= now() + $3::interval - $13::interval
        AND held_until <= now() + $3::interval ORDER BY due_time LIMIT $4)
    UNION ALL
    (SELECT payment_id, 'OVERDUE', due_time, coalesce(next_step, '') FROM payments
    WHERE tenant_id = $1 AND work_class = 'EXPIRY' AND due_time <= now() + $3::interval - $13::interval
        AND held_until <= now() + $3::interval ORDER BY due_time LIMIT $4)),
stuck AS (
    SELECT payment_id, min(since) AS since, json_agg(json_build_array(reason, since, step)) AS causes
    FROM found GROUP BY payment_id HAVING $5 = '' OR bool_or(reason = $5))
SELECT s.payment_id, s.since, s.causes, p.failures, p.problem, p.due_time
FROM stuck s JOIN payments p ON p.tenant_id = $1 AND p.payment_id = s.payment_id
WHERE p.stage <> 'REFUSED' AND s.since <= $6::timestamptz
    AND ($7::timestamptz IS NULL OR (s.since, s.payment_id) > ($7, $8::text))
ORDER BY s.since, s.payment_id LIMIT $9"""  # noqa: S608 our own number
