"""Writes down whom facts are told: rows in the app and mails that are due, in the transaction that keeps the facts."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.facts.sink import AfterCommit
from services.orchestrator.notifications.domain import OptOut, Recipient, Told, concerned, told
from services.orchestrator.notifications.kinds import Channel
from services.orchestrator.notifications.metrics import UNCOUNTED, NotificationMetrics
from services.orchestrator.notifications.policies import current_policy
from services.runtime.rpc import call_context


class NotificationSink:
    """Tells people. Each is told each fact once: facts come here once, and the rows are unique besides."""

    def __init__(
        self,
        *,
        now: Callable[[], datetime],
        tell: Callable[[str, Collection[Recipient]], None] = lambda *_: None,
        metrics: NotificationMetrics = UNCOUNTED,
    ) -> None:
        """`tell` is told who has something new, once that is committed."""
        self._now = now
        self._tell = tell
        self._metrics = metrics

    async def take(self, connection: asyncpg.Connection, facts: Sequence[Fact]) -> AfterCommit | None:
        """Write down who is told what."""
        recipients = {recipient for _, _, recipient in concerned(facts)}
        if not recipients:
            return None
        tenant_id, now = facts[0].tenant_id, self._now()
        policy = await current_policy(connection, tenant_id)
        wanted = told(facts, policy, await _opt_outs(connection, tenant_id, recipients), now=now)
        shown = [one for one in wanted if Channel.IN_APP in one.channels]
        await _show(connection, tenant_id, shown, now)
        await _mail(connection, tenant_id, [one for one in wanted if Channel.MAIL in one.channels], now)

        def committed() -> None:
            self._metrics.told(wanted)
            self._tell(tenant_id, {one.recipient for one in shown})

        return committed


async def _opt_outs(connection: asyncpg.Connection, tenant_id: str, recipients: set[Recipient]) -> set[OptOut]:
    kinds, ids = zip(*((one.kind, one.id) for one in recipients), strict=True)
    rows = await connection.fetch(OPT_OUTS, tenant_id, list(kinds), list(ids))
    return {
        OptOut(
            Recipient.of(row["recipient_kind"], row["recipient_id"]),
            FactKind(row["kind"]),
            Channel(row["channel"]),
        )
        for row in rows
        if row["kind"] in FactKind.__members__  # one of a later release is told by none of ours
    }


async def _show(connection: asyncpg.Connection, tenant_id: str, wanted: Sequence[Told], now: datetime) -> None:
    """Give each recipient's its next numbers, under the lock of the recipient's row."""
    if not wanted:
        return
    of_recipient: dict[Recipient, list[Told]] = defaultdict(list)
    for one in wanted:
        of_recipient[one.recipient].append(one)
    # In one order everywhere, so that two who tell the same recipients wait for each other and never in a ring.
    ordered = sorted(of_recipient, key=lambda one: (one.kind, one.id))
    rows = await connection.fetch(
        TAKE_NUMBERS,
        tenant_id,
        [one.kind for one in ordered],
        [one.id for one in ordered],
        [len(of_recipient[one]) for one in ordered],
    )
    last = {Recipient.of(row["recipient_kind"], row["recipient_id"]): row["last_number"] for row in rows}
    numbers: list[int] = []
    numbered: list[Told] = []
    for recipient, its in of_recipient.items():
        first = last[recipient] - len(its) + 1
        numbers += range(first, first + len(its))
        numbered += its
    await connection.execute(SHOW, tenant_id, now, *_columns(numbered), numbers)


async def _mail(connection: asyncpg.Connection, tenant_id: str, wanted: Sequence[Told], now: datetime) -> None:
    if wanted:
        await connection.execute(MAIL, tenant_id, now, *_columns(wanted), call_context.origin())


def _columns(wanted: Sequence[Told]) -> list[list[object]]:
    rows = [
        (
            one.recipient.kind,
            one.recipient.id,
            one.fact.fact_id,
            one.fact.kind,
            one.fact.payment_id,
            json.dumps(dict(one.fact.values)),
            one.fact.occur_time,
        )
        for one in wanted
    ]
    return [list(column) for column in zip(*rows, strict=True)]


OPT_OUTS: Final = """
SELECT o.recipient_kind, o.recipient_id, o.kind, o.channel
FROM unnest($2::text[], $3::text[]) AS r (recipient_kind, recipient_id)
    JOIN notification_opt_outs o ON o.tenant_id = $1 AND o.recipient_kind = r.recipient_kind
        AND o.recipient_id = r.recipient_id"""

TAKE_NUMBERS: Final = """
INSERT INTO notification_recipients AS r (tenant_id, recipient_kind, recipient_id, last_number)
SELECT $1, n.recipient_kind, n.recipient_id, n.count
FROM unnest($2::text[], $3::text[], $4::bigint[]) WITH ORDINALITY AS n (recipient_kind, recipient_id, count, place)
ORDER BY n.place
ON CONFLICT ON CONSTRAINT notification_recipients_pkey DO UPDATE SET last_number = r.last_number + excluded.last_number
RETURNING r.recipient_kind, r.recipient_id, r.last_number"""

SHOW: Final = """
INSERT INTO notifications (tenant_id, number, recipient_kind, recipient_id, fact_id, kind, payment_id, "values",
    occur_time, create_time)
SELECT $1, t.number, t.recipient_kind, t.recipient_id, t.fact_id, t.kind, t.payment_id, t."values"::jsonb,
    t.occur_time, $2
FROM unnest($3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::timestamptz[], $10::bigint[])
    AS t (recipient_kind, recipient_id, fact_id, kind, payment_id, "values", occur_time, number)
ON CONFLICT ON CONSTRAINT notifications_fact DO NOTHING"""

MAIL: Final = """
INSERT INTO mails (tenant_id, recipient_kind, recipient_id, fact_id, kind, payment_id, "values", occur_time,
    create_time, due_time, trace_context)
SELECT $1, t.recipient_kind, t.recipient_id, t.fact_id, t.kind, t.payment_id, t."values"::jsonb, t.occur_time, $2,
    now(), $10
FROM unnest($3::text[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
    AS t (recipient_kind, recipient_id, fact_id, kind, payment_id, "values", occur_time)
ON CONFLICT ON CONSTRAINT mails_pkey DO NOTHING"""
