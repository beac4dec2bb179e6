"""Writes a delivery of each fact for each receiver that wants it, in the transaction that keeps the fact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.facts.sink import AfterCommit
from services.orchestrator.webhooks_out.domain import Form, Receiver, delivery_id, subject_of
from services.orchestrator.webhooks_out.metrics import UNCOUNTED, WebhookMetrics
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work.statements import due_now

BodyOf = Callable[[Fact, Form], bytes | None]
"""Makes the body of a fact in a form; None where that has none."""

_New = tuple[str, str, Fact, bytes]
"""Receiver, subject, fact, body."""


class WebhookSink:
    """Takes facts."""

    def __init__(self, body_of: BodyOf, *, clock: Clock, metrics: WebhookMetrics = UNCOUNTED) -> None:
        self._body_of = body_of
        self._clock = clock
        self._metrics = metrics

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        """Write down what is to be sent. The lanes are locked first, so that numbers grow in the order of commits."""
        if not facts:
            return None
        tenant_id = facts[0].tenant_id
        new = self._deliveries(await receivers(connection, tenant_id), facts)
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
            numbers[subscription_id, subject] += 1
            number, its_id = numbers[subscription_id, subject], delivery_id(subscription_id, fact)
            columns.append((subscription_id, subject, number, its_id, fact.kind, fact.payment_id, fact.revision, body))
        await connection.execute(ADD, tenant_id, *map(list, zip(*columns, strict=True)), now)
        return lambda: self._metrics.made(len(new))

    def _deliveries(self, receivers: Sequence[Receiver], facts: Sequence[Fact]) -> list[_New]:
        """Return what is to be sent, in the order of the facts; a body is made once for each form."""
        new: list[_New] = []
        for fact in facts:
            bodies: dict[Form, bytes | None] = {}
            for receiver in receivers:
                if not receiver.wants(fact.kind):
                    continue
                if receiver.form not in bodies:
                    bodies[receiver.form] = self._body_of(fact, receiver.form)
                body = bodies[receiver.form]
                if body is not None:
                    new.append((receiver.subscription_id, subject_of(fact), fact, body))
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
    body, create_time, begin_time)
SELECT $1, n.subscription_id, n.subject, n.number, n.delivery_id, n.kind, n.payment_id, n.revision, n.body, $10, $10
FROM unnest($2::text[], $3::text[], $4::bigint[], $5::uuid[], $6::text[], $7::text[], $8::bigint[], $9::bytea[])
    AS n (subscription_id, subject, number, delivery_id, kind, payment_id, revision, body)
ON CONFLICT ON CONSTRAINT webhook_deliveries_delivery_id DO NOTHING"""
