"""What is to follow from what is known, and does not: a seller without its part, an observation without a delivery.

What waits for something that is known, such as the day a seller is paid or money of the platform's, is in transit.
What is found is made due again where that was asked for: it is nothing that would not be done by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.gateway.mirror.payment import MirroredPayment
from services.gateway.mirror.store import Store
from services.gateway.reconciliation.domain import SETTLED_WITHIN, Finding, Kind, Stage, Sums
from services.gateway.reconciliation.position import Position
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.store import Step
from services.gateway.settlement.domain import Movement
from services.gateway.sync.reader import MirrorReader
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import WorkClass
from services.runtime.work.statements import demand

SLICE: Final = 100
"""Payments of one step."""
DELIVERED_WITHIN: Final = timedelta(hours=1)
"""A delivery takes seconds, or waits as long as the orchestrator is away."""
DELIVERIES_MAX: Final = 1_000
"""Of one run; the rest is found by the next."""
NOT_SETTLED: Final = "The seller has not what it is to have, and nothing is known that this waits for."
NOT_DUE: Final = "The seller has not what it is to have, and nothing is due that would change that."
WOKEN: Final = "Made due: each step of a settlement follows from what is true, and is made once."
NOT_DELIVERED: Final = "The orchestrator does not know what the gateway does."
AGAIN: Final = "Made due: a delivery says what is true now, and is taken once by its version."


class StandingComparison:
    """Takes one step through what is to follow."""

    def __init__(
        self,
        connections: DirectConnections,
        payments: Store,
        reader: MirrorReader,
        *,
        clock: Clock,
        wake: Callable[[WorkClass], None],
    ) -> None:
        self._connections = connections
        self._payments = payments
        self._reader = reader
        self._clock = clock
        self._wake = wake

    async def settlement(self, run: Run, position: Position) -> Step:
        """Look through the payments of the day that follow: has each seller what it is to have?"""
        day = run.span.day(position.day)
        since = position.time or day.since
        rows = await self._fetch(_CAPTURED, run.tenant_id, since, day.until, position.after, SLICE)
        ids = list(dict.fromkeys(row["payment_id"] for row in rows))
        since_of = {
            row["payment_id"]: row["create_time"] for row in await self._fetch(_SETTLEMENTS, run.tenant_id, ids)
        }
        sums = Sums()
        findings: list[Finding] = []
        for payment in await self._payments.read_many(run.tenant_id, ids):
            findings += self._unsettled(payment, since_of.get(payment.payment_id), sums)
        if findings and run.repairs:
            findings = [await self._woken(run, one) for one in findings]
        is_done = len(rows) < SLICE
        onwards = position.next_stage(run.span.days)
        if not is_done:
            onwards = replace(position, time=rows[-1]["record_time"], after=rows[-1]["fact"])
        return Step(position=onwards, counted=run.with_sums(position.stage, sums), findings=findings)

    async def deliveries(self, run: Run, position: Position) -> Step:
        """Look for what the orchestrator was not told, whatever it is of."""
        old = self._clock.now() - DELIVERED_WITHIN
        rows = await self._fetch(_UNDELIVERED, run.tenant_id, old, DELIVERIES_MAX)
        findings = [
            Finding(
                kind=Kind.NOT_DELIVERED,
                stage=Stage.DELIVERIES,
                stripe_id=row["payment_id"],
                figure="captured",
                currency_code=row["currency_code"],
                ours_minor=0,
                theirs_minor=row["captured_minor"],
                payment_id=row["payment_id"],
                detail=NOT_DELIVERED,
                repair_reason=AGAIN if run.repairs else "",
            )
            for row in rows
            if row["captured_minor"]
        ]
        if rows and run.repairs:
            ids = [row["payment_id"] for row in rows]
            async with self._connections.statement("reconciliation.redeliver") as connection:
                await connection.execute(_REDELIVER, self._clock.shift, run.tenant_id, ids)
            self._wake(WorkClass.DELIVERIES)
        return Step(position=position.next_stage(run.span.days), counted=run.counted, findings=findings)

    def _unsettled(self, payment: MirroredPayment, since: datetime | None, sums: Sums) -> Iterator[Finding]:
        if payment.missing is None:
            return
        late = since is not None and since < self._clock.now() - SETTLED_WITHIN
        moves = {(one.attempt, one.seller_id) for one in payment.steps(self._clock.now()) if isinstance(one, Movement)}
        for one in payment.steps(None, only_made=True):
            position = next(at for at in payment.positions(one.attempt) if at.seller_id == one.seller_id)
            if not position.due_minor:
                continue
            if since is None or (late and (one.attempt, one.seller_id) in moves):
                yield Finding(
                    kind=Kind.NOT_SETTLED,
                    stage=Stage.SETTLEMENT,
                    stripe_id=payment.intents[one.attempt].charge_id,
                    figure=one.seller_id,
                    currency_code=payment.currency_code,
                    ours_minor=position.target_minor,
                    theirs_minor=position.moved_minor,
                    payment_id=payment.payment_id,
                    detail=NOT_SETTLED if since is not None else NOT_DUE,
                )
            else:
                sums.transit(payment.currency_code, position.due_minor)

    async def _woken(self, run: Run, finding: Finding) -> Finding:
        """Have a payment settled: what is saved of it makes it due, and it is taken at once."""
        await self._reader.resync(run.tenant_id, finding.payment_id, origin="reconciliation", with_movements=True)
        async with self._connections.statement("reconciliation.wake") as connection:
            await connection.execute(_SETTLE, self._clock.shift, run.tenant_id, finding.payment_id)
        self._wake(WorkClass.MONEY)
        return replace(finding, repair_reason=WOKEN)

    async def _fetch(self, statement: str, *arguments: object) -> Sequence[asyncpg.Record]:
        async with self._connections.statement(None) as connection:
            return list(await connection.fetch(statement, *arguments))


_CAPTURED: Final = """
SELECT e.payment_id, e.record_time, e.fact FROM ledger_entries e
WHERE e.tenant_id = $1 AND e.record_time >= $2 AND e.record_time < $3 AND (e.record_time, e.fact) > ($2, $4)
    AND e.fact ^@ 'captured:' AND e.place = 1
ORDER BY e.record_time, e.fact LIMIT $5"""

_SETTLEMENTS: Final = """
SELECT s.payment_id, s.create_time FROM settlements s WHERE s.tenant_id = $1 AND s.payment_id = ANY($2::text[])"""

_SETTLE: Final = f"""
UPDATE settlements SET {demand("$1::interval", "settlements")}
WHERE tenant_id = $2 AND payment_id = $3"""  # noqa: S608 our own names

_UNDELIVERED: Final = """
SELECT d.payment_id, p.currency_code,
    coalesce((p.observation #>> '{amounts,captured_minor}')::bigint, 0) AS captured_minor
FROM deliveries d JOIN payments p ON p.tenant_id = d.tenant_id AND p.payment_id = d.payment_id
WHERE d.tenant_id = $1 AND d.delivered_version < d.wanted_version AND d.record_time < $2
    AND (d.due_time IS NOT NULL OR d.dead_time IS NOT NULL)
LIMIT $3"""

_REDELIVER: Final = f"""
UPDATE deliveries SET {demand("$1::interval", "deliveries")}
WHERE tenant_id = $2 AND payment_id = ANY($3::text[])"""  # noqa: S608 our own names
