"""Keeps facts, each once, and in the same transaction what follows from each that is new."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact
from services.orchestrator.facts.metrics import UNCOUNTED, FactMetrics
from services.orchestrator.facts.sink import AfterCommit, FactSink
from services.runtime.database.connections import DirectConnections
from services.runtime.work.kinds import WorkClass

WOKEN: Final = (WorkClass.MAILS, WorkClass.HOOKS)
"""What facts make due."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What was kept in a transaction."""

    new: Sequence[Fact] = ()
    after_commit: Sequence[AfterCommit] = ()


class FactStore:
    """Keeps them. Raises `DependencyUnavailable` when the database is away: then nothing was kept, or all of it."""

    def __init__(
        self,
        held: DirectConnections,
        *,
        sinks: Sequence[FactSink],
        now: Callable[[], datetime],
        wake: Callable[[WorkClass], None],
        metrics: FactMetrics = UNCOUNTED,
    ) -> None:
        self._held = held
        self._sinks = tuple(sinks)
        self._now = now
        self._wake = wake
        self._metrics = metrics

    async def keep(self, tenant_id: str, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Keep facts of a tenant, and return those that are new; for the others nothing happens."""
        if not facts:
            return ()
        async with self._held.transaction("facts.keep") as connection:
            kept = await self.keep_within(connection, tenant_id, facts)
        self.committed(kept)
        return kept.new

    async def keep_within(self, connection: asyncpg.Connection, tenant_id: str, facts: Sequence[Fact]) -> Kept:
        """Do so in the transaction of `connection`; whoever began it says `committed` once it is."""
        by_id = {fact.fact_id: fact for fact in facts}
        if any(fact.tenant_id != tenant_id for fact in facts):
            raise ValueError("Facts of one tenant are kept at once.")
        if not by_id:
            return Kept()
        rows = await connection.fetch(KEEP, tenant_id, *_columns(list(by_id.values())), self._now())
        are_new = {row["fact_id"] for row in rows}
        new = [fact for fact in by_id.values() if fact.fact_id in are_new]
        if not new:
            return Kept()
        after_commit = [await sink.take(connection, new) for sink in self._sinks]
        return Kept(new=new, after_commit=[act for act in after_commit if act is not None])

    def committed(self, kept: Kept) -> None:
        """Count what was new and is committed, and begin in this process what it made due."""
        if not kept.new:
            return
        self._metrics.kept(kept.new)
        for work_class in WOKEN:
            self._wake(work_class)
        for act in kept.after_commit:
            act()


def _columns(facts: Sequence[Fact]) -> list[list[object]]:
    rows = [
        (
            fact.fact_id,
            fact.kind,
            fact.payment_id,
            fact.revision,
            fact.payer_id,
            json.dumps(list(fact.seller_ids)),
            json.dumps(dict(fact.values)),
            fact.payment,
            fact.occur_time,
        )
        for fact in facts
    ]
    return [list(column) for column in zip(*rows, strict=True)]


# Whoever keeps the same fact at the same time waits until the other is committed, and finds it kept then.
KEEP: Final = """
INSERT INTO facts (tenant_id, fact_id, kind, payment_id, revision, payer_id, seller_ids, "values", payment, occur_time,
    create_time)
SELECT $1, f.fact_id, f.kind, f.payment_id, f.revision, f.payer_id,
    ARRAY(SELECT jsonb_array_elements_text(f.seller_ids::jsonb)), f."values"::jsonb, f.payment, f.occur_time, $11
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[], $9::bytea[],
    $10::timestamptz[]) WITH ORDINALITY
    AS f (fact_id, kind, payment_id, revision, payer_id, seller_ids, "values", payment, occur_time, place)
ORDER BY f.place
ON CONFLICT ON CONSTRAINT facts_pkey DO NOTHING
RETURNING fact_id"""

FORGET: Final = """
DELETE FROM facts WHERE (tenant_id, fact_id) IN (
    SELECT tenant_id, fact_id FROM facts WHERE create_time < $1 ORDER BY create_time LIMIT $2)
RETURNING true"""
