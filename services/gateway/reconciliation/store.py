"""Tables of reconciliations. A step is kept by one statement: how far it came, what it counted and what it found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.errors import RequestIdReused
from services.gateway.errors import PageTokenInvalid, ReconciliationNotFound
from services.gateway.reconciliation.domain import Finding, Kind, Stage
from services.gateway.reconciliation.position import Position, Span
from services.gateway.reconciliation.run import Counted, Run
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.shared import codec
from services.shared.paging import position_in, token_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What the findings of a run, or of several, come to."""

    kind: Kind
    currency_code: str
    count: int
    """That stand."""
    remainder_minor: int
    """What they come to, each without its sign."""
    repaired_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A finding, and when it was found."""

    finding: Finding
    find_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What came of one step."""

    position: Position | None
    counted: Counted
    findings: Sequence[Finding] = ()
    mended: Sequence[Finding] = ()
    """Those of the step before, after what could be mended was."""
    cut_short: str = ""


class ReconciliationStore:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, connections: DirectConnections, *, clock: Clock) -> None:
        self._connections = connections
        self._clock = clock

    async def begin(self, run: Run) -> None:
        """Keep a run and make it due, unless it is known. Raises RequestIdReused if it is another one."""
        async with self._connections.statement("reconciliation.begin") as connection:
            await connection.execute(
                _BEGIN, run.tenant_id, run.reconciliation_id, run.request_hash, run.actor_id, run.span.since,
                run.span.until, run.repairs, _position_json(run.position), run.create_time, self._clock.shift,
            )  # fmt: skip
        if (await self.require(run.tenant_id, run.reconciliation_id)).request_hash != run.request_hash:
            raise RequestIdReused(field="request_id")

    async def require(self, tenant_id: str, reconciliation_id: str) -> Run:
        """Return a run. Raises ReconciliationNotFound."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(_RUN, tenant_id, reconciliation_id)
        if row is None:
            raise ReconciliationNotFound(field="reconciliation_id")
        return _run(row)

    async def keep(self, run: Run, step: Step) -> bool:
        """Keep what came of a step; False if somebody else kept that step first: then nothing of this one is."""
        async with self._connections.statement("reconciliation.step") as connection:
            kept = await connection.fetchval(
                _KEEP, run.tenant_id, run.reconciliation_id, run.steps, _position_json(step.position),
                json.dumps(step.counted), step.cut_short,
                _findings_json(step.findings), _findings_json(step.mended),
                self._clock.shift, step.position is None,
            )  # fmt: skip
        return bool(kept)

    async def of_step(self, run: Run, number: int) -> list[Finding]:
        """Return what was found in one step."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_OF_STEP, run.tenant_id, run.reconciliation_id, number)
        return [_finding(row) for row in rows]

    async def tallies(self, tenant_id: str, reconciliation_id: str) -> list[Tally]:
        """Return what a run's findings come to, by kind and currency."""
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_TALLIES, tenant_id, reconciliation_id)
        return [
            Tally(
                kind=Kind(row["kind"]),
                currency_code=row["currency_code"],
                count=row["standing"],
                remainder_minor=int(row["remainder_minor"]),
                repaired_count=row["repaired"],
            )
            for row in rows
        ]

    async def findings(
        self, tenant_id: str, reconciliation_id: str, *, size: int, page_token: str
    ) -> tuple[list[Found], str]:
        """Return findings of a run in the order in which they were found, and the token of the next page."""
        walk, after = f"findings {tenant_id} {reconciliation_id}", (-1, 0)
        if page_token:
            after = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid)
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_FINDINGS, tenant_id, reconciliation_id, *after, size + 1)
        last = rows[size - 1] if len(rows) > size else None
        token = token_for(f"{last['step']} {last['place']}", walk=walk) if last is not None else ""
        return [Found(finding=_finding(row), find_time=row["find_time"]) for row in rows[:size]], token

    async def last_finished(self, tenant_id: str) -> Run | None:
        """Return the run that came to its end last, having compared everything; None if there is none."""
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(_LAST_FINISHED, tenant_id)
        return _run(row) if row is not None else None

    async def account_time(self, tenant_id: str) -> datetime | None:
        """Return since when there is something to compare: since an account at Stripe is the tenant's; None without."""
        async with self._connections.statement(None) as connection:
            since: datetime | None = await connection.fetchval(_ACCOUNT_TIME, tenant_id)
        return since


def _position_json(position: Position | None) -> str | None:
    return None if position is None else json.dumps(codec.to_json(position))


def _findings_json(findings: Sequence[Finding]) -> str:
    return json.dumps([asdict(one) | {"place": number} for number, one in enumerate(findings, start=1)])


def _parsed(position: str) -> tuple[int, int]:
    step, place = position.split(" ")
    return int(step), int(place)


def _run(row: asyncpg.Record) -> Run:
    return Run(
        tenant_id=row["tenant_id"],
        reconciliation_id=row["reconciliation_id"],
        request_hash=row["request_hash"],
        actor_id=row["actor_id"],
        span=Span(since=row["since"], until=row["until"]),
        repairs=row["repairs"],
        steps=row["steps"],
        position=None if row["position"] is None else codec.from_json(Position, json.loads(row["position"])),
        counted={
            stage: {currency_code: (four[0], four[1], four[2], four[3]) for currency_code, four in found.items()}
            for stage, found in json.loads(row["sums"]).items()
        },
        cut_short=row["cut_short"],
        problem=row["problem"] or "",
        create_time=row["create_time"],
        finish_time=row["finish_time"],
    )


def _finding(row: asyncpg.Record) -> Finding:
    return Finding(
        kind=Kind(row["kind"]),
        stage=Stage(row["stage"]),
        **{name: row[name] for name in _COPIED},
    )


_COPIED: Final = (
    "stripe_id",
    "figure",
    "currency_code",
    "ours_minor",
    "theirs_minor",
    "payment_id",
    "detail",
    "repaired",
    "repair_reason",
)


_COLUMNS: Final = """tenant_id, reconciliation_id, request_hash, actor_id, since, until, repairs, steps, position, sums,
    cut_short, problem, create_time, finish_time"""

_BEGIN: Final = """
INSERT INTO reconciliations (tenant_id, reconciliation_id, request_hash, actor_id, since, until, repairs, position,
    create_time, due_time)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + $10::interval)
ON CONFLICT ON CONSTRAINT reconciliations_pkey DO NOTHING"""

_RUN: Final = f"""
SELECT {_COLUMNS} FROM reconciliations WHERE tenant_id = $1 AND reconciliation_id = $2"""  # noqa: S608 our own columns

_LAST_FINISHED: Final = f"""
SELECT {_COLUMNS} FROM reconciliations WHERE tenant_id = $1 AND finish_time IS NOT NULL AND cut_short = ''
ORDER BY finish_time DESC LIMIT 1"""  # noqa: S608 our own columns

_ACCOUNT_TIME: Final = """
SELECT pin_time FROM stripe_accounts WHERE tenant_id = $1"""

_KEEP: Final = """
WITH moved AS (
    UPDATE reconciliations SET steps = steps + 1, position = $4, sums = $5, cut_short = $6,
        finish_time = CASE WHEN $10::boolean THEN now() + $9::interval END
    WHERE tenant_id = $1 AND reconciliation_id = $2 AND steps = $3
    RETURNING 1),
found AS (
    INSERT INTO reconciliation_findings (tenant_id, reconciliation_id, step, place, kind, stage, stripe_id, figure,
        currency_code, ours_minor, theirs_minor, payment_id, detail, repaired, repair_reason, find_time)
    SELECT $1, $2, $3, f.place, f.kind, f.stage, f.stripe_id, f.figure, f.currency_code, f.ours_minor, f.theirs_minor,
        f.payment_id, f.detail, f.repaired, f.repair_reason, now() + $9::interval
    FROM moved, jsonb_to_recordset($7::jsonb) AS f (place integer, kind text, stage text, stripe_id text, figure text,
        currency_code text, ours_minor bigint, theirs_minor bigint, payment_id text, detail text, repaired boolean,
        repair_reason text)
    ON CONFLICT ON CONSTRAINT reconciliation_findings_once DO NOTHING),
mended AS (
    UPDATE reconciliation_findings r SET repaired = m.repaired, repair_reason = m.repair_reason
    FROM moved, jsonb_to_recordset($8::jsonb) AS m (kind text, stage text, stripe_id text, figure text,
        currency_code text, repaired boolean, repair_reason text)
    WHERE r.tenant_id = $1 AND r.reconciliation_id = $2 AND r.kind = m.kind AND r.stage = m.stage
        AND r.stripe_id = m.stripe_id AND r.figure = m.figure AND r.currency_code = m.currency_code)
SELECT count(*) FROM moved"""

_TALLIES: Final = """
SELECT kind, currency_code, count(*) FILTER (WHERE NOT repaired) AS standing,
    coalesce(sum(abs(ours_minor - theirs_minor)) FILTER (WHERE NOT repaired), 0) AS remainder_minor,
    count(*) FILTER (WHERE repaired) AS repaired
FROM reconciliation_findings WHERE tenant_id = $1 AND reconciliation_id = $2
GROUP BY kind, currency_code ORDER BY kind, currency_code"""

_OF_STEP: Final = """
SELECT kind, stage, stripe_id, figure, currency_code, ours_minor, theirs_minor, payment_id, detail, repaired,
    repair_reason
FROM reconciliation_findings WHERE tenant_id = $1 AND reconciliation_id = $2 AND step = $3 ORDER BY place"""

_FINDINGS: Final = """
SELECT kind, stage, stripe_id, figure, currency_code, ours_minor, theirs_minor, payment_id, detail, repaired,
    repair_reason, find_time, step, place
FROM reconciliation_findings
WHERE tenant_id = $1 AND reconciliation_id = $2 AND (step, place) > ($3::bigint, $4::integer)
ORDER BY step, place LIMIT $5"""
