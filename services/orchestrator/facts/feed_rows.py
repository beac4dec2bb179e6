"""How far each tenant's payments were followed, and what was heard of each: the rows, each statement with its fence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from services.orchestrator.facts.domain import Fact
from services.orchestrator.facts.rules import Known, Revision, Seen, hear, reminder_time
from services.orchestrator.facts.sink import MoveSink
from services.orchestrator.facts.store import FactStore
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.shared import codec

PAYMENTS: Final = "payments"
"""The one feed that a tenant has today."""


class FeedLost(Exception):
    """Another process follows the feed by now."""


class Gap(Exception):
    """Of some payments, revisions between what was heard last and what came now were not heard."""

    def __init__(self, heard: dict[str, int]) -> None:
        super().__init__(f"missing after {heard}")
        self.heard = heard
        """The last revision that was heard of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far a tenant was followed."""

    cursor: str = ""
    list_token: str = ""
    list_cursor: str = ""

    @property
    def is_listing(self) -> bool:
        """Whether all payments are to be listed before the feed goes on."""
        return not self.cursor or bool(self.list_cursor)


class FeedRows:
    """Reads and writes them. Raises `DependencyUnavailable` when the database is away."""

    def __init__(
        self,
        held: DirectConnections,
        facts: FactStore,
        *,
        moves: MoveSink,
        reminded_before: timedelta,
        clock: Clock,
    ) -> None:
        self._held = held
        self._facts = facts
        self._moves = moves
        self._reminded_before = reminded_before
        self._clock = clock

    async def find_tenants(self) -> int:
        """Have each tenant followed that has a payment; return how many are new."""
        async with self._held.statement("feeds.find") as connection:
            return len(await connection.fetch(FIND_TENANTS, PAYMENTS, self._clock.now()))

    async def place(self, tenant_id: str, *, fence: int) -> Place:
        """Return how far a tenant was followed. Raises `FeedLost`."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(READ, tenant_id, PAYMENTS, fence)
        if row is None:
            raise FeedLost
        return Place(cursor=row["cursor"], list_token=row["list_token"], list_cursor=row["list_cursor"])

    async def heard(self, tenant_id: str, payment_ids: Sequence[str]) -> Known:
        """Return what was heard of each payment last; of one that was not heard of there is nothing."""
        async with self._held.statement(None) as connection:
            return await _known(connection, tenant_id, payment_ids)

    async def begin_anew(self, tenant_id: str, *, fence: int) -> None:
        """Have all payments listed before the feed goes on."""
        async with self._held.statement("feeds.begin_anew") as connection:
            await connection.execute(BEGIN_ANEW, tenant_id, PAYMENTS, fence)

    async def advance(
        self,
        tenant_id: str,
        place: Place | None,
        revisions: Sequence[Revision],
        *,
        fence: int,
        heard_time: datetime | None = None,
        is_complete: bool = False,
    ) -> None:
        """Keep what revisions say, in their order, and how far the feed has come by that; None: as far as before.

        One transaction, so that each revision counts once. Raises `FeedLost`, and `Gap` unless the revisions are all
        there are (`is_complete`).
        """
        async with self._held.transaction("feeds.advance") as connection:
            moved = await connection.fetchval(
                ADVANCE,
                tenant_id,
                PAYMENTS,
                fence,
                place is not None,
                place.cursor if place else "",
                place.list_token if place else "",
                place.list_cursor if place else "",
                heard_time,
            )
            if not moved:
                raise FeedLost
            facts = await self._hear(connection, tenant_id, revisions, is_complete=is_complete)
            kept = await self._facts.keep_within(connection, tenant_id, facts)
        self._facts.committed(kept)

    async def seen(self, tenant_id: str, payment_id: str) -> Seen | None:
        """Return what was heard of a payment last."""
        async with self._held.statement(None) as connection:
            known = await _known(connection, tenant_id, [payment_id])
        return known[payment_id][1] if payment_id in known else None

    async def count(self) -> int:
        """Return how many feeds there are."""
        async with self._held.statement(None) as connection:
            return int(await connection.fetchval(COUNT))

    async def behind_s(self) -> float:
        """Return for how long the feed that is furthest behind has not heard what status recorded."""
        async with self._held.statement(None) as connection:
            heard_time = await connection.fetchval(FURTHEST)
        return 0.0 if heard_time is None else max(0.0, (self._clock.now() - heard_time).total_seconds())

    async def _hear(
        self, connection: asyncpg.Connection, tenant_id: str, revisions: Sequence[Revision], *, is_complete: bool
    ) -> Sequence[Fact]:
        if not revisions:
            return ()
        known = await _known(connection, tenant_id, sorted({one.payment_id for one in revisions}))
        heard = hear(tenant_id, known, revisions)
        if heard.gaps and not is_complete:
            raise Gap(heard.gaps)
        if heard.last:
            await connection.execute(FOLLOW, tenant_id, self._clock.now(), *self._columns(list(heard.last.values())))
        if heard.moves:
            await self._moves.take(connection, tenant_id, heard.moves)
        return heard.facts

    def _columns(self, last: Sequence[Revision]) -> list[list[object]]:
        rows = [
            (
                one.payment_id,
                one.revision,
                json.dumps(codec.to_json(one.seen)),
                reminder_time(one, before=self._reminded_before),
            )
            for one in last
        ]
        return [list(column) for column in zip(*rows, strict=True)]


async def _known(
    connection: asyncpg.Connection, tenant_id: str, payment_ids: Sequence[str]
) -> dict[str, tuple[int, Seen]]:
    rows = await connection.fetch(SEEN, tenant_id, list(payment_ids))
    return {row["payment_id"]: (row["revision"], codec.from_json(Seen, json.loads(row["seen"]))) for row in rows}


FIND_TENANTS: Final = """
WITH RECURSIVE tenants (tenant_id) AS (
    (SELECT tenant_id FROM payments ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.tenant_id FROM payments p WHERE p.tenant_id > tenants.tenant_id ORDER BY p.tenant_id LIMIT 1)
    FROM tenants WHERE tenants.tenant_id IS NOT NULL)
INSERT INTO feeds (tenant_id, name, create_time, due_time)
SELECT t.tenant_id, $1, $2, now() FROM tenants t
WHERE t.tenant_id IS NOT NULL
    AND NOT EXISTS (SELECT FROM feeds f WHERE f.tenant_id = t.tenant_id AND f.name = $1)
ON CONFLICT ON CONSTRAINT feeds_pkey DO NOTHING
RETURNING tenant_id"""

READ: Final = """
SELECT cursor, list_token, list_cursor FROM feeds WHERE tenant_id = $1 AND name = $2 AND fence = $3"""

BEGIN_ANEW: Final = """
UPDATE feeds SET cursor = '', list_token = '', list_cursor = '' WHERE tenant_id = $1 AND name = $2 AND fence = $3"""

# The row's lock keeps another process out until the commit, and the fence whoever holds it no more.
ADVANCE: Final = """
UPDATE feeds SET failures = 0, lapses = 0, heard_time = greatest(heard_time, $8),
    cursor = CASE WHEN $4 THEN $5 ELSE cursor END, list_token = CASE WHEN $4 THEN $6 ELSE list_token END,
    list_cursor = CASE WHEN $4 THEN $7 ELSE list_cursor END
WHERE tenant_id = $1 AND name = $2 AND fence = $3
RETURNING true"""

COUNT: Final = """
SELECT count(*) FROM feeds"""

FURTHEST: Final = """
SELECT min(coalesce(heard_time, create_time)) FROM feeds"""

SEEN: Final = """
SELECT payment_id, revision, seen FROM followed_payments WHERE tenant_id = $1 AND payment_id = ANY ($2::text[])"""

FOLLOW: Final = """
INSERT INTO followed_payments (tenant_id, payment_id, revision, seen, due_time, update_time)
SELECT $1, f.payment_id, f.revision, f.seen::jsonb, f.due_time, $2
FROM unnest($3::text[], $4::bigint[], $5::text[], $6::timestamptz[]) AS f (payment_id, revision, seen, due_time)
ON CONFLICT ON CONSTRAINT followed_payments_pkey DO UPDATE SET revision = excluded.revision, seen = excluded.seen,
    due_time = excluded.due_time, update_time = excluded.update_time"""
