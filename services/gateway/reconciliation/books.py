"""What the ledger is in itself: each fact balanced, nothing unclassified, and nothing in clearing for too long.

It is looked through in slices of so many entries, by the time of entry, so that no statement grows with the ledger.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.gateway.ledger.closings import Closings
from services.gateway.reconciliation.domain import IN_TRANSIT_MAX, Finding, Kind, Stage, Sums
from services.gateway.reconciliation.position import Position, Span
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.store import Step
from services.runtime.database.connections import DirectConnections

SLICE: Final = 5_000
"""Entries of one step."""
CLEARING_BEFORE: Final = timedelta(days=31)
"""So long before the span what is still in clearing is looked for, too."""
UNBALANCED: Final = (
    "The entries of the fact do not come to zero: somebody has changed the ledger past its database's rules."
)
UNCLASSIFIED: Final = "No rule books it."
CLOSED_OTHERWISE: Final = "The day was closed with another amount than its entries come to."
CARRIED_OTHERWISE: Final = "The closing does not follow from the one before."
OLD: Final = "It is in clearing for more than 3 days: one of its two sides never came, or came to another amount."


class BookComparison:
    """Takes one step through our own books."""

    def __init__(self, connections: DirectConnections, closings: Closings, *, now: Callable[[], datetime]) -> None:
        self._connections = connections
        self._closings = closings
        self._now = now

    async def ledger(self, run: Run, position: Position) -> Step:
        """Look through the entries of the day that follow."""
        day = run.span.day(position.day)
        since = position.time or day.since
        until = await self._until(_SLICE, run, since, day.until)
        rows = await self._fetch(_UNBALANCED, run.tenant_id, since, until)
        findings = [_finding(Kind.LEDGER_UNBALANCED, Stage.LEDGER, row, UNBALANCED) for row in rows]
        rows = await self._fetch(_UNCLASSIFIED, run.tenant_id, since, until)
        findings += [_finding(Kind.UNCLASSIFIED, Stage.LEDGER, row, UNCLASSIFIED) for row in rows]
        if until >= day.until:
            findings += await self._closed(run, day)
        return _step(run, position, is_done=until >= day.until, until=until, findings=findings, sums=Sums())

    async def clearing(self, run: Run, position: Position) -> Step:
        """Look through what entered clearing: what is settled is at zero, of each object and in each currency."""
        whole = Span(since=run.span.since - CLEARING_BEFORE, until=run.span.until)
        since = position.time or whole.since
        until = await self._until(_CLEARING_SLICE, run, since, whole.until)
        findings: list[Finding] = []
        sums = Sums()
        old = self._now() - IN_TRANSIT_MAX
        for row in await self._fetch(_CLEARING, run.tenant_id, since, until, whole.since):
            if row["ours_minor"] == 0:
                sums.match(row["currency_code"], row["moved_minor"])
            elif row["first_time"] > old:
                sums.transit(row["currency_code"], row["ours_minor"])
            else:
                findings.append(_finding(Kind.CLEARING_OLD, Stage.CLEARING, row, OLD))
        return _step(run, position, is_done=until >= whole.until, until=until, findings=findings, sums=sums)

    async def _closed(self, run: Run, day: Span) -> list[Finding]:
        """Return what the closings of the days that ended in a span say otherwise than the entries do."""
        last = (day.until - timedelta(days=1)).date()
        gaps = await self._closings.gaps(run.tenant_id, first=day.since.date(), last=last)
        return [
            Finding(
                kind=Kind.CLOSING,
                stage=Stage.LEDGER,
                stripe_id=f"{one.day} {one.account}:{one.seller_id or one.country}".removesuffix(":"),
                figure=figure,
                currency_code=one.currency_code,
                ours_minor=ours_minor,
                theirs_minor=theirs_minor,
                detail=detail,
            )
            for one in gaps
            for figure, ours_minor, theirs_minor, detail in (
                ("closing", one.closed_minor, one.booked_minor, CLOSED_OTHERWISE),
                ("carried over", one.gap_minor, 0, CARRIED_OTHERWISE),
            )
            if ours_minor != theirs_minor
        ]

    async def _until(self, statement: str, run: Run, since: datetime, until: datetime) -> datetime:
        """Return until when a slice goes: entries of one time are in one slice."""
        async with self._connections.statement(None) as connection:
            found: datetime | None = await connection.fetchval(statement, run.tenant_id, since, until, SLICE)
        return until if found is None else found + timedelta(microseconds=1)

    async def _fetch(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        async with self._connections.statement(None) as connection:
            return list(await connection.fetch(statement, *arguments))


def _step(run: Run, position: Position, *, is_done: bool, until: datetime, findings: list[Finding], sums: Sums) -> Step:
    return Step(
        position=position.next_stage(run.span.days) if is_done else replace(position, time=until),
        counted=run.with_sums(position.stage, sums),
        findings=findings,
    )


def _finding(kind: Kind, stage: Stage, row: asyncpg.Record, detail: str) -> Finding:
    return Finding(
        kind=kind,
        stage=stage,
        stripe_id=row["stripe_id"],
        figure="balance",
        currency_code=row["currency_code"],
        ours_minor=row["ours_minor"],
        theirs_minor=0,
        payment_id=row["payment_id"],
        detail=detail,
    )


_SLICE: Final = """
SELECT e.record_time FROM ledger_entries e WHERE e.tenant_id = $1 AND e.record_time >= $2 AND e.record_time < $3
ORDER BY e.record_time OFFSET $4 LIMIT 1"""

_UNBALANCED: Final = """
WITH facts AS MATERIALIZED (
    SELECT DISTINCT e.fact FROM ledger_entries e
    WHERE e.tenant_id = $1 AND e.record_time >= $2 AND e.record_time < $3)
SELECT e.fact AS stripe_id, e.currency_code, sum(e.amount_minor)::bigint AS ours_minor, max(e.payment_id) AS payment_id
FROM facts JOIN ledger_entries e ON e.tenant_id = $1 AND e.fact = facts.fact
GROUP BY e.fact, e.currency_code HAVING sum(e.amount_minor) <> 0 LIMIT 1000"""

_UNCLASSIFIED: Final = """
SELECT e.fact AS stripe_id, e.currency_code, sum(e.amount_minor)::bigint AS ours_minor, max(e.payment_id) AS payment_id
FROM ledger_entries e
WHERE e.tenant_id = $1 AND e.account = 'unclassified' AND e.record_time >= $2 AND e.record_time < $3
GROUP BY e.fact, e.currency_code HAVING sum(e.amount_minor) <> 0 LIMIT 1000"""

_CLEARING_SLICE: Final = """
SELECT e.record_time FROM ledger_entries e
WHERE e.tenant_id = $1 AND e.account = 'stripe_clearing' AND e.record_time >= $2 AND e.record_time < $3
ORDER BY e.record_time OFFSET $4 LIMIT 1"""

# Each object is counted once: where its first entry is, or at the begin where that is before.
_CLEARING: Final = """
WITH moved AS MATERIALIZED (
    SELECT DISTINCT e.stripe_id FROM ledger_entries e
    WHERE e.tenant_id = $1 AND e.account = 'stripe_clearing' AND e.record_time >= $2 AND e.record_time < $3)
SELECT e.stripe_id, e.currency_code, sum(e.amount_minor)::bigint AS ours_minor,
    coalesce(sum(e.amount_minor) FILTER (WHERE e.amount_minor > 0), 0)::bigint AS moved_minor,
    max(e.payment_id) AS payment_id, min(e.record_time) AS first_time
FROM moved JOIN ledger_entries e
    ON e.tenant_id = $1 AND e.account = 'stripe_clearing' AND e.stripe_id = moved.stripe_id
GROUP BY e.stripe_id, e.currency_code
HAVING min(e.record_time) FILTER (WHERE e.record_time >= $4) >= $2"""
