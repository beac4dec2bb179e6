"""Makes the trouble of a plan."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import asyncpg

from tests.status.history.harness import plan
from tests.status.history.harness.cluster import DATABASE_IS_AWAY, Cluster, Road
from tests.status.history.harness.plan import Trouble
from tests.status.history.harness.world import World
from tests.status.history.reports import Attempt, Unknown, now_us
from tests.status.history.stored import content, snapshot_message

LATENCY_MAX_S: Final = 0.2
CUT_BYTES_MAX: Final = 5_000
FLOOD_MIN: Final = 40
FLOOD_MORE: Final = 120
FLOOD_BYTES: Final = 3_000


class Troubles:
    """Trouble as it is made, and what was written by it."""

    def __init__(
        self,
        cluster: Cluster,
        crews: Sequence[Sequence[Road]],
        world: World,
        chance: random.Random,
        *,
        late: Sequence[str],
        long: Sequence[str],
    ) -> None:
        """`late` are payments that nobody else writes, `long` those that slow readers watch."""
        self.attempts: list[Attempt] = []
        self._cluster = cluster
        self._crews = crews
        self._world = world
        self._chance = chance
        self._late = late
        self._long = long
        self._writing = {payment_id: asyncio.Lock() for payment_id in late}

    async def make(self, troubles: Sequence[Trouble]) -> None:
        """Make all of it, each at its time; return when all of it is over and mended."""
        begin = asyncio.get_running_loop().time()

        async def one(trouble: Trouble) -> None:
            await asyncio.sleep(max(0.0, begin + trouble.at_s - asyncio.get_running_loop().time()))
            self._world.told[f"trouble: {trouble.kind}"] += 1
            await self._make(trouble)

        async with asyncio.TaskGroup() as group:
            for trouble in troubles:
                group.create_task(one(trouble))
        for road in self._roads():
            road.link.heal()
        await self._cluster.is_whole()

    async def _make(self, trouble: Trouble) -> None:
        cluster, lasts_s = self._cluster, trouble.lasts_s
        away_s = min(lasts_s, plan.AWAY_MAX_S)
        match trouble.kind:
            case plan.KILL:
                await cluster.kill(trouble.replica, away_s=away_s)
            case plan.DRAIN:
                await cluster.drain(trouble.replica, away_s=away_s)
            case plan.FREEZE:
                await cluster.freeze(trouble.replica, lasts_s=lasts_s)
            case plan.RESTART:
                await cluster.restart_database(away_s=away_s)
            case plan.CRASH:
                await cluster.crash_database()
            case plan.BACKENDS:
                cut = await cluster.cut_backends(share=max(0.2, trouble.size), chance=self._chance)
                self._world.told["connections to the database that were cut"] += cut
            case plan.LATE | plan.NEVER:
                payment_id = self._chance.choice(self._late)
                async with self._writing[payment_id]:
                    await self._transaction(payment_id, lasts_s=lasts_s, commits=trouble.kind == plan.LATE)
            case plan.FLOOD:
                moves = round(FLOOD_MIN + trouble.size * FLOOD_MORE)
                await self._transaction(self._chance.choice(self._long), moves=moves, reason_bytes=FLOOD_BYTES)
            case _:
                await self._on_links(trouble)

    def _roads(self) -> list[Road]:
        return [road for crew in self._crews for road in crew]

    async def _on_links(self, trouble: Trouble) -> None:
        crews = self._crews if trouble.crew is None else [self._crews[trouble.crew]]
        links = [crew[trouble.replica].link for crew in crews]
        for link in links:
            match trouble.kind:
                case plan.CUT:
                    link.cut(round(trouble.size * CUT_BYTES_MAX))
                case plan.RESET:
                    link.reset()
                case plan.SILENT:
                    link.fall_silent()
                case plan.CLOSED:
                    link.is_closed = True
                    link.reset()
                case plan.SLOW:
                    link.latency_s = trouble.size * LATENCY_MAX_S
        await asyncio.sleep(trouble.lasts_s)
        for link in links:
            if trouble.kind == plan.SILENT and trouble.size < 0.5:  # what was under way is lost
                link.reset()
            link.heal()

    async def _transaction(
        self, payment_id: str, *, moves: int = 1, reason_bytes: int = 0, lasts_s: float = 0.0, commits: bool = True
    ) -> None:
        """Write transitions as a replica would that tells nobody, and take a while to commit, or never do."""
        async with self._cluster.admin() as connection:
            with suppress(*DATABASE_IS_AWAY):  # it may end meanwhile
                transaction = connection.transaction()
                await transaction.start()
                await self._write(connection, payment_id, moves=moves, reason_bytes=reason_bytes)
                await asyncio.sleep(lasts_s)
                await (transaction.commit() if commits else transaction.rollback())

    async def _write(self, connection: asyncpg.Connection, payment_id: str, *, moves: int, reason_bytes: int) -> None:
        request_ids = [uuid.UUID(int=self._chance.getrandbits(128)) for _ in range(moves)]
        attempts = [self._chance.randrange(1, 2**31) for _ in range(moves)]
        asked_us = now_us()
        for row in await connection.fetch(_MOVE, payment_id, request_ids, attempts, reason_bytes):
            self.attempts.append(
                Attempt(
                    payment_id=payment_id,
                    request_id=str(row["request_id"]),
                    expected_revision=row["revision"] - 1,
                    snapshot=content(snapshot_message(row["snapshot"])),
                    asked_us=asked_us,
                    ended_us=now_us(),
                    outcome=Unknown(code="SQL"),
                )
            )


_MOVE: Final = """
WITH before AS (
  SELECT *, greatest(update_time, clock_timestamp()) AS moment FROM payments WHERE payment_id = $1 FOR UPDATE
), moves AS (
  SELECT number, request_id,
         jsonb_set(jsonb_set(snapshot, '{attempt}', to_jsonb(attempt)), '{reason}', to_jsonb(repeat('x', $4)))
           AS snapshot
  FROM before, unnest($2::uuid[], $3::bigint[]) WITH ORDINALITY AS asked (request_id, attempt, number)
), moved AS (
  UPDATE payments p
  SET revision = b.revision + cardinality($2), update_time = b.moment,
      snapshot = (SELECT snapshot FROM moves ORDER BY number DESC LIMIT 1)
  FROM before b WHERE p.tenant_id = b.tenant_id AND p.payment_id = b.payment_id
)
INSERT INTO transitions (tenant_id, payment_id, open_month, revision, request_id, state, snapshot, record_time)
SELECT b.tenant_id, b.payment_id, b.open_month, b.revision + m.number, m.request_id, b.state, m.snapshot, b.moment
FROM before b, moves m
RETURNING revision, request_id, snapshot
"""
