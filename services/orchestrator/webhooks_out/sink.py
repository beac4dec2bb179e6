"""Writes a delivery of each fact for each receiver that wants it, in the transaction that keeps the fact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.facts.sink import AfterCommit
from services.orchestrator.webhooks_out import bodies
from services.orchestrator.webhooks_out.domain import Form, Receiver, delivery_id, subject_of
from services.orchestrator.webhooks_out.metrics import UNCOUNTED, WebhookMetrics
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.statements import due_now

_New = tuple[str, str, Fact, bytes | None]
"""Receiver, subject, fact, and its body where the fact alone says it."""


class WebhookSink:
    """Takes facts."""

    def __init__(self, *, clock: Clock, metrics: WebhookMetrics = UNCOUNTED) -> None:
        self._clock = clock
        self._metrics = metrics

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        """Write down what is to be sent. The lanes are locked first, so that numbers grow in the order of commits."""
        if not facts:
            return None
        tenant_id = facts[0].tenant_id
        new = _deliveries(await receivers(connection, tenant_id), facts)
        if not new:
            return None
        counts = Counter((subscription_id, subject) for subscription_id, subject, _, _ in new)
        lanes = sorted(counts)
        now = self._clock.now()
        rows = await connection.fetch(
            DEMAND,
            self._clock.shift,
            tenant_id,
            [subscription_id for subscription_id, _ in lanes],
            [subject for _, subject in lanes],
            [counts[lane] for lane in lanes],
            now,
            call_context.origin(),
        )
        numbers = {(row["subscription_id"], row["subject"]): row["last_number"] for row in rows}
        for lane in lanes:
            numbers[lane] -= counts[lane]
        columns: list[tuple[object, ...]] = []
        for subscription_id, subject, fact, body in new:
            lane = subscription_id, subject
            numbers[lane] += 1
            its_id = delivery_id(subscription_id, fact)
            said = fact.kind, fact.payment_id, fact.revision, fact.fact_id, body
            columns.append((*lane, numbers[lane], its_id, *said))
        await connection.execute(ADD, tenant_id, *map(list, zip(*columns, strict=True)), now)
        return lambda: self._metrics.made(len(new))


def _deliveries(receivers: Sequence[Receiver], facts: Sequence[Fact]) -> list[_New]:
    """Return what is to be sent, in the order of the facts; a body is made once for all who are sent the same."""
    new: list[_New] = []
    for fact in facts:
        wanting = [receiver for receiver in receivers if receiver.wants(fact.kind)]
        full = bodies.full(fact) if any(receiver.form is Form.FULL for receiver in wanting) else None
        for receiver in wanting:
            if receiver.form is Form.FULL:
                new.append((receiver.subscription_id, subject_of(fact), fact, full))
            elif bodies.has_legacy_form(fact):
                new.append((receiver.subscription_id, subject_of(fact), fact, None))
    return new


async def receivers(connection: asyncpg.Connection, tenant_id: str) -> list[Receiver]:
    """Return who is sent something of a tenant."""
    return [receiver_of(row) for row in await connection.fetch(RECEIVERS, tenant_id)]


def receiver_of(row: asyncpg.Record) -> Receiver:
    """Return the receiver of a row; kinds of another release are passed over."""
    return Receiver(
        subscription_id=row["subscription_id"],
        url=row["url"],
        kinds=frozenset(FactKind(kind) for kind in row["kinds"] if kind in FactKind.__members__),
        form=Form(row["form"]),
        paused=row["paused"],
    )


RECEIVERS: Final = """
SELECT subscription_id, url, kinds, form, paused FROM webhook_subscriptions
WHERE tenant_id = $1 AND delete_time IS NULL ORDER BY subscription_id"""

# A lane that is worked on is due again when that ends; one that waits for its next try goes on waiting.
DEMAND: Final = f"""
INSERT INTO webhook_lanes AS l (tenant_id, subscription_id, subject, last_number, use_time, due_time, trace_context)
SELECT $2, n.subscription_id, n.subject, n.count, $6, now() + $1::interval, $7
FROM unnest($3::text[], $4::text[], $5::bigint[]) AS n (subscription_id, subject, count)
ORDER BY n.subscription_id, n.subject
ON CONFLICT ON CONSTRAINT webhook_lanes_pkey DO UPDATE SET last_number = l.last_number + excluded.last_number,
    use_time = excluded.use_time,
    due_time = CASE WHEN l.held_until > '-infinity' THEN {due_now("$1::interval", "l")}
        ELSE coalesce(l.due_time, excluded.due_time) END,
    trace_context = CASE WHEN l.due_time IS NULL THEN excluded.trace_context ELSE l.trace_context END
RETURNING l.subscription_id, l.subject, l.last_number"""  # noqa: S608 our own names

ADD: Final = """
INSERT INTO webhook_deliveries (tenant_id, subscription_id, subject, number, delivery_id, kind, payment_id, revision,
    fact_id, body, create_time, begin_time)
SELECT $1, n.subscription_id, n.subject, n.number, n.delivery_id, n.kind, n.payment_id, n.revision, n.fact_id, n.body,
    $11, $11
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::uuid[],
    $10::bytea[]) AS n (subscription_id, subject, number, delivery_id, kind, payment_id, revision, fact_id, body)
ON CONFLICT ON CONSTRAINT webhook_deliveries_delivery_id DO NOTHING"""
