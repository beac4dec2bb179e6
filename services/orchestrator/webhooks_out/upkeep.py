"""What is done to the tables of webhooks from time to time: gives up what nobody takes, forgets, wraps secrets anew."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final

from services.orchestrator.webhooks_out.domain import TRIED_FOR, DeliveryState
from services.orchestrator.webhooks_out.metrics import COUNTED_MAX, UNCOUNTED, Standing, WebhookMetrics
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.process.key_ring import KeyRing, Unreadable
from services.runtime.work.loops import repeating

KEPT: Final = timedelta(days=30)
"""How long a delivery is kept after its end, to be looked at and replayed."""
EVERY_S: Final = 600.0
BATCH: Final = 500
"""Rows of one statement, which takes some milliseconds."""
NOTHING: Final = timedelta(0)

_logger = logging.getLogger(__name__)


class Upkeep:
    """Does so, in batches."""

    def __init__(
        self, held: DirectConnections, ring: KeyRing | None, *, clock: Clock, metrics: WebhookMetrics = UNCOUNTED
    ) -> None:
        self._held = held
        self._ring = ring
        self._clock = clock
        self._metrics = metrics

    @asynccontextmanager
    async def tended(self, *, every_s: float = EVERY_S) -> AsyncIterator[None]:
        """Do it at once, and again and again while inside."""
        async with repeating(self.tend, name="webhook_upkeep", every_s=every_s):
            yield

    async def tend(self) -> None:
        """Do all of it once."""
        await self.give_up()
        await self.forget()
        await self.rewrap()

    async def give_up(self) -> int:
        """Give up what waited for longer than anything is tried, and return how much that was.

        A lane whose receiver rests most of the time may come to no try of its own by then. It is given up where its
        receiver failed both before its time was over and after it, or is paused: never because we ourselves were away.
        """
        ended = await self._in_batches("hook.give_up", GIVE_UP, self._clock.now(), TRIED_FOR)
        self._metrics.ended(DeliveryState.DEAD, count=ended)
        if ended:
            _logger.error("%d deliveries are dead letters: their receivers fail or are paused", ended)
        return ended

    async def forget(self) -> None:
        """Forget deliveries that ended long ago, then lanes and subscriptions that have none."""
        before = self._clock.now() - KEPT
        for statement in (FORGET, FORGET_LANES, FORGET_SUBSCRIPTIONS):
            await self._in_batches("hook.forget", statement, before)

    async def rewrap(self) -> None:
        """Wrap under the first key what others wrap, so that they may go from the settings."""
        if self._ring is None:
            return
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(WRAPPED_BY_OTHERS, self._ring.first_id, BATCH)
        for row in rows:
            about = (row["tenant_id"], row["subscription_id"], str(row["secret_id"]))
            try:
                secret = self._ring.unwrap(row["wrapped_secret"], *about)
            except Unreadable:
                _logger.error("no key in BATZEN_WEBHOOK_KEY opens a secret of %s", row["subscription_id"])
                continue
            wrapped = self._ring.wrap(secret, *about)
            of_secret = (row["tenant_id"], row["subscription_id"], row["secret_id"], row["wrapped_secret"])
            async with self._held.statement("hook.rewrap") as connection:
                await connection.execute(REWRAP, *of_secret, wrapped, self._ring.first_id)

    async def look(self) -> None:
        """Show how receivers do."""
        now = self._clock.now()
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(STANDINGS, COUNTED_MAX)
        self._metrics.stand(
            [
                Standing(
                    receiver=f"{row['tenant_id']}/{row['subscription_id']}",
                    waiting=row["waiting"],
                    oldest=max(NOTHING, now - row["oldest"]) if row["oldest"] else NOTHING,
                    dead=row["dead"],
                    failing=max(NOTHING, now - row["failing_time"]) if row["failing_time"] else NOTHING,
                )
                for row in rows
            ]
        )

    async def _in_batches(self, point: str, statement: str, *arguments: object) -> int:
        changed = 0
        while True:
            async with self._held.statement(point) as connection:
                rows = await connection.fetch(statement, *arguments, BATCH)
            changed += len(rows)
            if len(rows) < BATCH:
                return changed


GIVE_UP: Final = """
UPDATE webhook_deliveries SET state = 'DEAD', end_time = $1, next_time = NULL
WHERE state = 'WAITING' AND (tenant_id, subscription_id, subject, number) IN (
    SELECT d.tenant_id, d.subscription_id, d.subject, d.number
    FROM webhook_subscriptions s JOIN webhook_deliveries d USING (tenant_id, subscription_id)
    WHERE s.delete_time IS NULL AND d.state = 'WAITING' AND d.begin_time < $1::timestamptz - $2::interval
        AND (s.paused OR (s.failing_time <= d.begin_time + $2::interval
            AND s.last_failure_time >= d.begin_time + $2::interval))
    LIMIT $3)
RETURNING true"""

FORGET: Final = """
DELETE FROM webhook_deliveries WHERE (tenant_id, subscription_id, subject, number) IN (
    SELECT tenant_id, subscription_id, subject, number FROM webhook_deliveries
    WHERE end_time < $1 AND state <> 'WAITING' ORDER BY end_time LIMIT $2)
RETURNING true"""

FORGET_LANES: Final = """
DELETE FROM webhook_lanes l
WHERE l.due_time IS NULL AND l.held_until = '-infinity' AND (l.tenant_id, l.subscription_id, l.subject) IN (
    SELECT w.tenant_id, w.subscription_id, w.subject FROM webhook_lanes w
    WHERE w.use_time < $1 AND w.due_time IS NULL AND w.held_until = '-infinity' AND NOT EXISTS (
        SELECT FROM webhook_deliveries d WHERE d.tenant_id = w.tenant_id AND d.subscription_id = w.subscription_id
            AND d.subject = w.subject)
    ORDER BY w.use_time LIMIT $2)
RETURNING true"""

FORGET_SUBSCRIPTIONS: Final = """
DELETE FROM webhook_subscriptions WHERE (tenant_id, subscription_id) IN (
    SELECT s.tenant_id, s.subscription_id FROM webhook_subscriptions s
    WHERE s.delete_time < $1 AND NOT EXISTS (SELECT FROM webhook_deliveries d
        WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id)
    LIMIT $2)
RETURNING true"""

WRAPPED_BY_OTHERS: Final = """
SELECT * FROM webhook_secrets WHERE wrapping_key_id <> $1 ORDER BY create_time LIMIT $2"""

REWRAP: Final = """
UPDATE webhook_secrets SET wrapped_secret = $5, wrapping_key_id = $6
WHERE tenant_id = $1 AND subscription_id = $2 AND secret_id = $3 AND wrapped_secret = $4"""

# Who failed the longest comes last: receivers beyond those with series of their own show what the last one says.
STANDINGS: Final = """
SELECT s.tenant_id, s.subscription_id, CASE WHEN s.delete_time IS NULL THEN s.failing_time END AS failing_time,
    (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.tenant_id = s.tenant_id
        AND d.subscription_id = s.subscription_id AND d.state = 'WAITING' LIMIT $1) w) AS waiting,
    (SELECT count(*) FROM (SELECT FROM webhook_deliveries d WHERE d.tenant_id = s.tenant_id
        AND d.subscription_id = s.subscription_id AND d.state = 'DEAD' AND d.kind <> 'TEST' LIMIT $1) w) AS dead,
    CASE WHEN s.delete_time IS NULL AND NOT s.paused THEN (SELECT min(d.begin_time) FROM webhook_deliveries d
        WHERE d.tenant_id = s.tenant_id AND d.subscription_id = s.subscription_id AND d.state = 'WAITING') END AS oldest
FROM (SELECT * FROM webhook_subscriptions ORDER BY failing_time, tenant_id, subscription_id LIMIT 1000) s
ORDER BY s.failing_time DESC NULLS FIRST, s.tenant_id, s.subscription_id"""
