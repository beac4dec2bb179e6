"""What of a payment goes to one receiver, in its order: the first that waits, what came of a try, and the end."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.webhooks_out import delivery_rows
from services.orchestrator.webhooks_out.domain import (
    REST_FIRST,
    REST_MAX,
    RESTS_AFTER,
    TRIES_KEPT_MAX,
    Delivery,
    DeliveryState,
    Try,
)
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The first delivery of a lane that waits, and where it goes."""

    delivery: Delivery
    url: str
    secrets: Sequence[tuple[uuid.UUID, bytes]]
    """Those that sign now, the newest first, as they are kept."""
    wait: timedelta
    """Until it may be tried."""
    is_deleted: bool
    """Its subscription is."""
    is_superseded: bool
    """It is of the old form, which has no revision, and its receiver has taken something newer of the payment."""


class LaneStore:
    """Reads and writes, one statement a method. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, *, clock: Clock) -> None:
        self._held = held
        self._clock = clock

    async def head(self, work: Work) -> Head | None:
        """Return the first delivery of a lane that waits; None where none does."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(HEAD, self._clock.shift, work.tenant_id, *work.key, self._clock.now())
        if row is None:
            return None
        return Head(
            delivery=delivery_rows.delivery_of(row),
            url=row["url"],
            secrets=list(zip(row["secret_ids"], row["secrets"], strict=True)),
            wait=max(row["wait"], timedelta(0)),
            is_deleted=row["delete_time"] is not None,
            is_superseded=row["is_superseded"],
        )

    async def fact(self, tenant_id: str, delivery: Delivery) -> Fact | None:
        """Return the fact that a delivery tells of; None once it is forgotten."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(FACT, tenant_id, delivery.fact_id, delivery.payment_id)
        return None if row is None else _fact(tenant_id, row)

    async def put_body(self, tenant_id: str, delivery: Delivery, body: bytes) -> bytes:
        """Keep the body of a delivery, and return the one that is kept: the first that was made."""
        async with self._held.statement("hook.body") as connection:
            kept: bytes | None = await connection.fetchval(
                PUT_BODY, tenant_id, delivery.subscription_id, delivery.delivery_id, body, delivery.subject
            )
        return body if kept is None else kept

    async def record(
        self, tenant_id: str, delivery: Delivery, tried: Try, *, state: DeliveryState, delay: timedelta | None
    ) -> None:
        """Keep what came of a try, and how its receiver does by it; `delay` is the rest until the next one."""
        async with self._held.statement("hook.record") as connection:
            await connection.execute(
                RECORD,
                self._clock.shift,
                tenant_id,
                delivery.subscription_id,
                delivery.delivery_id,
                delivery_rows.try_to_json(tried),
                state,
                delay,
                self._clock.now(),
                state is DeliveryState.DELIVERED,
                delivery.subject,
            )

    async def cancel(self, work: Work) -> int:
        """End all of a lane that waits, and return how many those were."""
        async with self._held.statement("hook.cancel") as connection:
            ended = await connection.fetch(CANCEL, work.tenant_id, *work.key, self._clock.now())
        return len(ended)

    async def supersede(self, work: Work, delivery: Delivery) -> None:
        """End one that waits, as something newer was taken."""
        async with self._held.statement("hook.supersede") as connection:
            await connection.execute(SUPERSEDE, work.tenant_id, *work.key, delivery.delivery_id, self._clock.now())


def _fact(tenant_id: str, row: asyncpg.Record) -> Fact:
    return Fact(
        tenant_id=tenant_id,
        fact_id=row["fact_id"],
        kind=FactKind(row["kind"]),
        occur_time=row["occur_time"],
        payment_id=row["payment_id"],
        revision=row["revision"],
        payer_id=row["payer_id"],
        seller_ids=tuple(row["seller_ids"]),
        values=json.loads(row["values"]),
        payment=row["payment"],
    )


HEAD: Final = """
SELECT d.*, s.url, s.delete_time,
    s.form = 'LEGACY' AND EXISTS (SELECT FROM webhook_deliveries n WHERE n.tenant_id = $2 AND n.subscription_id = $3
        AND n.subject = $4 AND n.number > d.number AND n.state = 'DELIVERED') AS is_superseded,
    greatest(d.next_time, s.rest_until, CASE WHEN s.paused THEN now() + $1::interval + interval '1 minute' END,
        now() + $1::interval) - (now() + $1::interval) AS wait,
    ARRAY(SELECT k.secret_id FROM webhook_secrets k WHERE k.tenant_id = $2 AND k.subscription_id = $3
        AND (k.expire_time IS NULL OR k.expire_time > $5) ORDER BY k.create_time DESC, k.secret_id) AS secret_ids,
    ARRAY(SELECT k.wrapped_secret FROM webhook_secrets k WHERE k.tenant_id = $2 AND k.subscription_id = $3
        AND (k.expire_time IS NULL OR k.expire_time > $5) ORDER BY k.create_time DESC, k.secret_id) AS secrets
FROM webhook_deliveries d JOIN webhook_subscriptions s USING (tenant_id, subscription_id)
WHERE d.tenant_id = $2 AND d.subscription_id = $3 AND d.subject = $4 AND d.state = 'WAITING'
ORDER BY d.number LIMIT 1"""

FACT: Final = "SELECT * FROM facts WHERE tenant_id = $1 AND fact_id = $2 AND payment_id = $3"

PUT_BODY: Final = """
UPDATE webhook_deliveries SET body = coalesce(body, $4)
WHERE tenant_id = $1 AND subscription_id = $2 AND delivery_id = $3 AND subject = $5 RETURNING body"""

# A try that ended after a longer one changed nothing of what that came to: delivered stays delivered.
_KEEP_TRY: Final = f"""
UPDATE webhook_deliveries d SET try_count = d.try_count + 1,
    tries = CASE WHEN jsonb_array_length(d.tries) >= {TRIES_KEPT_MAX} THEN d.tries - 0 ELSE d.tries END
        || jsonb_build_array($5::jsonb),
    state = CASE WHEN $9::boolean OR d.state = 'WAITING' THEN $6 ELSE d.state END,
    end_time = CASE WHEN ($9 OR d.state = 'WAITING') AND $6 <> 'WAITING' THEN $8::timestamptz ELSE d.end_time END,
    next_time = now() + $1::interval + $7::interval
WHERE d.tenant_id = $2 AND d.subscription_id = $3 AND d.delivery_id = $4 AND d.subject = $10"""  # noqa: S608

_RESTS: Final = f"s.failures + 1 >= {RESTS_AFTER} AND coalesce(s.rest_until, '-infinity') <= now() + $1::interval"
_REST: Final = f"""least(interval '{REST_FIRST.total_seconds()} seconds' * (1 << least(s.rests, 16)),
            interval '{REST_MAX.total_seconds()} seconds')"""


def tried(time: str, is_delivered: str, *, is_try: str = "true") -> str:
    """Return the statement of how a receiver does by a try, `$2` and `$3` name it; a success changes only a failure."""
    return f"""
UPDATE webhook_subscriptions s SET
    failures = CASE WHEN {is_delivered}::boolean THEN 0 ELSE s.failures + 1 END,
    failing_time = CASE WHEN {is_delivered} THEN NULL ELSE coalesce(s.failing_time, {time}::timestamptz) END,
    last_failure_time = CASE WHEN {is_delivered} THEN s.last_failure_time ELSE {time} END,
    rests = CASE WHEN {is_delivered} THEN 0 WHEN {_RESTS} THEN s.rests + 1 ELSE s.rests END,
    rest_until = CASE WHEN {is_delivered} THEN NULL WHEN {_RESTS} THEN now() + $1::interval + {_REST}
        ELSE s.rest_until END
WHERE s.tenant_id = $2 AND s.subscription_id = $3 AND {is_try} AND (NOT {is_delivered} OR s.failures > 0)"""  # noqa: S608


RECORD: Final = f"WITH tried AS ({tried('$8', '$9')}) {_KEEP_TRY}"

CANCEL: Final = """
UPDATE webhook_deliveries SET state = 'CANCELED', end_time = $4, next_time = NULL
WHERE tenant_id = $1 AND subscription_id = $2 AND subject = $3 AND state = 'WAITING' RETURNING true"""

SUPERSEDE: Final = """
UPDATE webhook_deliveries SET state = 'CANCELED', end_time = $5, next_time = NULL
WHERE tenant_id = $1 AND subscription_id = $2 AND subject = $3 AND delivery_id = $4 AND state = 'WAITING'"""

RESTS: Final = """EXISTS (SELECT FROM webhook_subscriptions s WHERE s.tenant_id = g.tenant_id
    AND s.subscription_id = g.turn AND s.delete_time IS NULL AND (s.paused OR s.rest_until > {now}))"""
"""Whose lanes are not begun now: for the engine."""
