"""What was sent to whom, and what came of it: listed, and sent again when an operator says so."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import DependencyUnavailable
from services.orchestrator.domain.errors import WebhookDeliveryNotFound, WebhookSubscriptionNotFound
from services.orchestrator.webhooks_out import actions, delivery_rows, lanes
from services.orchestrator.webhooks_out.actions import Action
from services.orchestrator.webhooks_out.domain import TEST, Delivery, DeliveryState, Try
from services.orchestrator.webhooks_out.sending import Outcome
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.statements import due_now

REPLAYED_MAX: Final = 1_000
"""Of a period, at once: a statement of some ten milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which deliveries: what is None or empty narrows nothing."""

    subscription_id: str = ""
    payment_id: str = ""
    state: DeliveryState | None = None
    from_time: datetime | None = None
    to_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The deliveries of a subscription that were made in a time."""

    subscription_id: str
    from_time: datetime
    to_time: datetime
    delivered_too: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What is sent again."""

    count: int
    next_time: datetime | None = None
    """When the first that is left of the period was made; None where none is."""


class DeliveryLog:
    """Reads and replays. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, *, clock: Clock) -> None:
        self._held = held
        self._clock = clock

    async def page(
        self, tenant_id: str, wanted: Wanted, *, before: tuple[datetime, uuid.UUID] | None, limit: int
    ) -> list[Delivery]:
        """Return deliveries, the newest first, from before the place of one on."""
        time, delivery_id = before if before is not None else (None, None)
        narrowed = (wanted.subscription_id, wanted.payment_id, wanted.state, wanted.from_time, wanted.to_time)
        async with self._held.statement(None) as connection:
            found = await connection.fetch(PAGE, tenant_id, *narrowed, time, delivery_id, limit)
        return [delivery_rows.delivery_of(row) for row in found]

    async def tested(self, tenant_id: str, delivery_id: uuid.UUID) -> Delivery | None:
        """Return a test event that was sent; None where there was none."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(TESTED, tenant_id, delivery_id)
        return None if row is None else delivery_rows.delivery_of(row)

    async def keep_test(self, tenant_id: str, delivery: Delivery, tried: Try) -> None:
        """Keep a test event and what came of it; it says how its receiver does, unless there was no room to send it."""
        is_delivered = delivery.state is DeliveryState.DELIVERED
        is_try = tried.outcome != Outcome.RECEIVER_BUSY
        of_delivery = (delivery.subscription_id, delivery.subject, delivery.delivery_id, delivery.kind, delivery.body)
        of_try = (delivery_rows.try_to_json(tried), delivery.state, delivery.create_time, is_delivered, is_try)
        async with self._held.statement("hook.test") as connection:
            await connection.execute(KEEP_TEST, self._clock.shift, tenant_id, *of_delivery, *of_try)

    async def replay(self, action: Action, what: Sequence[uuid.UUID] | Period) -> Replayed:
        """Have deliveries sent again, those of a payment in their order; for a repeat, return what the first did.

        Raises `WebhookDeliveryNotFound`, `WebhookSubscriptionNotFound`.
        """
        for _ in range(2):
            try:
                async with self._held.transaction("hook.replay") as connection:
                    return await self._replay(connection, action, what)
            except asyncpg.UniqueViolationError:
                continue  # the same request came twice at once, and the other one was kept
        raise DependencyUnavailable(dependency="database")

    async def _replay(
        self, connection: asyncpg.Connection, action: Action, what: Sequence[uuid.UUID] | Period
    ) -> Replayed:
        known = await actions.answer_of(connection, action)
        if known is not None:
            next_time = known["next_time"]
            return Replayed(
                count=int(str(known["count"])), next_time=datetime.fromisoformat(str(next_time)) if next_time else None
            )
        tenant_id, next_time = action.key.tenant_id, None
        if isinstance(what, Period):
            ids, next_time = await _of_period(connection, tenant_id, what)
        else:
            ids = list(dict.fromkeys(what))
        again = await connection.fetch(AGAIN, tenant_id, ids, action.time, TEST)
        if len(again) != len(ids):
            raise WebhookDeliveryNotFound
        if any(row["is_deleted"] for row in again):
            raise WebhookSubscriptionNotFound
        of_each = sorted({(row["subscription_id"], row["subject"]) for row in again})
        of_lanes = ([subscription_id for subscription_id, _ in of_each], [subject for _, subject in of_each])
        await connection.execute(DEMAND, self._clock.shift, tenant_id, *of_lanes)
        after = {"count": len(ids), "next_time": next_time and next_time.isoformat()}
        asked = {"period": _said(what)} if isinstance(what, Period) else {"delivery_ids": [str(one) for one in ids]}
        await actions.keep(connection, action, asked=asked, after=after)
        return Replayed(count=len(ids), next_time=next_time)


async def _of_period(
    connection: asyncpg.Connection, tenant_id: str, period: Period
) -> tuple[list[uuid.UUID], datetime | None]:
    """Return the deliveries of a period that are replayed, and when the first that is left was made."""
    if await connection.fetchval(IS_THERE, tenant_id, period.subscription_id) is None:
        raise WebhookSubscriptionNotFound
    states = [DeliveryState.DEAD, *([DeliveryState.DELIVERED] if period.delivered_too else [])]
    of_period = (period.subscription_id, period.from_time, period.to_time, states, TEST, REPLAYED_MAX + 1)
    found = await connection.fetch(OF_PERIOD, tenant_id, *of_period)
    if len(found) <= REPLAYED_MAX:
        return [row["delivery_id"] for row in found], None
    # Those of one instant are all replayed, or none: the next call begins with it.
    left: datetime = found[-1]["create_time"]
    taken = [row["delivery_id"] for row in found if row["create_time"] < left]
    return (taken, left) if taken else ([row["delivery_id"] for row in found[:-1]], left)


def _said(period: Period) -> dict[str, object]:
    return {
        "subscription_id": period.subscription_id,
        "from_time": period.from_time.isoformat(),
        "to_time": period.to_time.isoformat(),
        "delivered_too": period.delivered_too,
    }


PAGE: Final = """
SELECT d.* FROM webhook_deliveries d
WHERE d.tenant_id = $1 AND ($2 = '' OR d.subscription_id = $2) AND ($3 = '' OR d.payment_id = $3)
    AND ($4::text IS NULL OR d.state = $4) AND ($5::timestamptz IS NULL OR d.create_time >= $5)
    AND ($6::timestamptz IS NULL OR d.create_time < $6)
    AND ($7::timestamptz IS NULL OR (d.create_time, d.delivery_id) < ($7, $8::uuid))
ORDER BY d.create_time DESC, d.delivery_id DESC LIMIT $9"""

TESTED: Final = "SELECT d.* FROM webhook_deliveries d WHERE d.tenant_id = $1 AND d.delivery_id = $2"

KEEP_TEST: Final = f"""
WITH tried AS ({lanes.tried("$10", "$11", is_try="$12::boolean")})
INSERT INTO webhook_deliveries (tenant_id, subscription_id, subject, number, delivery_id, kind, payment_id, revision,
    body, state, create_time, begin_time, end_time, try_count, tries)
VALUES ($2, $3, $4, 1, $5, $6, '', 0, $7, $9, $10, $10, $10, 1, jsonb_build_array($8::jsonb))
ON CONFLICT ON CONSTRAINT webhook_deliveries_delivery_id DO NOTHING"""  # noqa: S608 our own names

IS_THERE: Final = """
SELECT true FROM webhook_subscriptions WHERE tenant_id = $1 AND subscription_id = $2 AND delete_time IS NULL"""

OF_PERIOD: Final = """
SELECT delivery_id, create_time FROM webhook_deliveries
WHERE tenant_id = $1 AND subscription_id = $2 AND create_time >= $3 AND create_time < $4 AND state = ANY($5::text[])
    AND kind <> $6
ORDER BY create_time, delivery_id LIMIT $7"""

AGAIN: Final = """
UPDATE webhook_deliveries d SET state = 'WAITING', begin_time = $3, next_time = NULL, end_time = NULL
FROM webhook_subscriptions s
WHERE d.tenant_id = $1 AND d.delivery_id = ANY($2::uuid[]) AND d.kind <> $4
    AND s.tenant_id = d.tenant_id AND s.subscription_id = d.subscription_id
RETURNING d.subscription_id, d.subject, s.delete_time IS NOT NULL AS is_deleted"""

DEMAND: Final = f"""
WITH wanted AS MATERIALIZED (
    SELECT l.subscription_id, l.subject FROM webhook_lanes l
    JOIN unnest($3::text[], $4::text[]) AS n (subscription_id, subject) USING (subscription_id, subject)
    WHERE l.tenant_id = $2 ORDER BY l.subscription_id, l.subject FOR UPDATE OF l)
UPDATE webhook_lanes l SET due_time = {due_now("$1::interval", "l")} FROM wanted w
WHERE l.tenant_id = $2 AND l.subscription_id = w.subscription_id AND l.subject = w.subject"""  # noqa: S608 our own names
