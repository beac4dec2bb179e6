"""What was given up is done again when an operator says so: what is named, or what a filter finds. Decisions are kept.

What happens if the process dies:
- before the decision is kept: nothing was done;
- after that: a repeat of the request makes due what it chose, whatever its filter finds by then; what is due already,
  or done, stays so.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from services.errors import RequestIdReused
from services.gateway.errors import DeadLetterNotFound
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work import dead_letters as letters
from services.runtime.work.dead_letters import Filter
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import WorkKind

REPLAYED_AT_ONCE_MAX: Final = 100
WAIT_MAX_S: Final = 10.0
"""How long a replay is waited for when no deadline says less; what takes longer goes on without anybody waiting."""
ANSWER_MARGIN_S: Final = 0.5
POLL_S: Final = 0.05
STILL_TRIED: Final = "It is still being tried."


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a replay; without a problem it went through."""

    dead_letter_id: str
    problem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """What came of all that was chosen."""

    outcomes: Sequence[Outcome]
    more_waiting: bool
    """The filter finds more than what was chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What to do again: what is named, or the oldest that a filter finds."""

    dead_letter_ids: Sequence[str] = ()
    filter: Filter | None = None
    limit: int = REPLAYED_AT_ONCE_MAX


class Replays:
    """Has done again what the engine of this service has given up."""

    def __init__(self, connections: DirectConnections, work: Engine, *, clock: Clock) -> None:
        self._connections = connections
        self._work = work
        self._clock = clock

    async def replay(
        self, tenant_id: str, choice: Choice, *, request_id: uuid.UUID, request_hash: bytes, actor_id: str
    ) -> Replay:
        """Try dead letters again, now, with fresh tries, and return what came of each, in the order chosen.

        A repeat returns what the first call found; after a crash it goes on where that stopped.
        """
        kept = await self._kept(tenant_id, request_id)
        if kept is None:
            ids, more_waiting = await self._chosen(tenant_id, choice)
            kept = await self._keep(tenant_id, request_id, request_hash, actor_id, ids, more_waiting)
        if kept["request_hash"] != request_hash:
            raise RequestIdReused(field="request_id")
        if kept["outcomes"] is not None:
            outcomes = [Outcome(**one) for one in json.loads(kept["outcomes"])]
            return Replay(outcomes=outcomes, more_waiting=kept["more_waiting"])
        ids = kept["dead_letter_ids"]
        problems = await self._again(tenant_id, [self._row_of(one) for one in ids])
        outcomes = [
            Outcome(dead_letter_id=dead_letter_id, problem=problem)
            for dead_letter_id, problem in zip(ids, problems, strict=True)
        ]
        if STILL_TRIED not in problems:
            await self._end(tenant_id, request_id, outcomes)
        return Replay(outcomes=outcomes, more_waiting=kept["more_waiting"])

    async def _chosen(self, tenant_id: str, choice: Choice) -> tuple[list[str], bool]:
        """Return what is to be done again, and whether more is found; raises DeadLetterNotFound for what is none."""
        if choice.filter is None:
            for place, (kind, key) in enumerate([self._row_of(one) for one in choice.dead_letter_ids]):
                if not (await self._state(tenant_id, kind, key))["is_dead"]:
                    raise DeadLetterNotFound(field=f"dead_letter_ids[{place}]")
            return list(choice.dead_letter_ids), False
        found = await letters.dead_letters(
            self._connections,
            self._work.kinds,
            tenant_id=tenant_id,
            after=None,
            limit=choice.limit + 1,
            chosen=choice.filter,
        )
        return [letter.dead_letter_id for letter in found[: choice.limit]], len(found) > choice.limit

    async def _again(self, tenant_id: str, rows: Sequence[tuple[WorkKind, tuple[str, ...]]]) -> list[str]:
        """Make each due, and return what went wrong with it; they are done beside each other."""
        for kind, key in rows:
            await letters.replay(self._connections, kind, key, tenant_id=tenant_id, shift=self._clock.shift)
            self._work.wake(kind.work_class)
        until = asyncio.get_running_loop().time() + _patience_s()
        return await asyncio.gather(*(self._outcome(tenant_id, kind, key, until=until) for kind, key in rows))

    def _row_of(self, dead_letter_id: str) -> tuple[WorkKind, tuple[str, ...]]:
        """Return what an id names; raises DeadLetterNotFound for what was never an id of ours."""
        read = letters.read_id(dead_letter_id)
        kind = next((one for one in self._work.kinds if read is not None and one.name == read[0]), None)
        if read is None or kind is None or len(read[1]) != len(kind.key):
            raise DeadLetterNotFound(field="dead_letter_ids")
        if "uuid" in kind.key.values():
            try:
                uuid.UUID(read[1][0])
            except ValueError:
                raise DeadLetterNotFound(field="dead_letter_ids") from None
        return kind, read[1]

    async def _outcome(self, tenant_id: str, kind: WorkKind, key: tuple[str, ...], *, until: float) -> str:
        while True:
            state = await self._state(tenant_id, kind, key)
            if state["is_done"]:
                return ""
            if state["failures"]:
                return state["problem"] or "unknown"
            if asyncio.get_running_loop().time() >= until:
                return STILL_TRIED
            await asyncio.sleep(POLL_S)

    async def _state(self, tenant_id: str, kind: WorkKind, key: tuple[str, ...]) -> dict[str, Any]:
        same = " AND ".join(
            f"{column} = ${place}::text::{type}" for place, (column, type) in enumerate(kind.key.items(), start=2)
        )
        async with self._connections.statement(None) as connection:
            row = await connection.fetchrow(
                f"""SELECT failures, problem, dead_time IS NOT NULL AS is_dead,
                        dead_time IS NULL AND due_time IS NULL AS is_done
                    FROM {kind.table} WHERE tenant_id = $1 AND {same}""",  # noqa: S608 our own names
                tenant_id,
                *key,
            )
        return dict(row) if row is not None else {"failures": 0, "problem": None, "is_dead": False, "is_done": True}

    async def _kept(self, tenant_id: str, request_id: uuid.UUID) -> asyncpg.Record | None:
        async with self._connections.statement(None) as connection:
            return await connection.fetchrow(
                "SELECT request_hash, outcomes, dead_letter_ids, more_waiting FROM replays"
                " WHERE tenant_id = $1 AND request_id = $2",
                tenant_id,
                request_id,
            )

    async def _keep(  # noqa: PLR0917 the columns
        self,
        tenant_id: str,
        request_id: uuid.UUID,
        request_hash: bytes,
        actor_id: str,
        ids: Sequence[str],
        more_waiting: bool,
    ) -> asyncpg.Record:
        async with self._connections.statement("replay.begin") as connection:
            await connection.execute(
                """INSERT INTO replays (tenant_id, request_id, request_hash, actor_id, dead_letter_ids, more_waiting,
                       create_time)
                   VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT ON CONSTRAINT replays_pkey DO NOTHING""",
                tenant_id,
                request_id,
                request_hash,
                actor_id,
                list(ids),
                more_waiting,
                self._clock.now(),
            )
        kept = await self._kept(tenant_id, request_id)
        assert kept is not None, "it was just written"  # noqa: S101
        return kept

    async def _end(self, tenant_id: str, request_id: uuid.UUID, outcomes: Sequence[Outcome]) -> None:
        said = [{"dead_letter_id": one.dead_letter_id, "problem": one.problem} for one in outcomes]
        async with self._connections.statement("replay.end") as connection:
            await connection.execute(
                "UPDATE replays SET outcomes = $3 WHERE tenant_id = $1 AND request_id = $2 AND outcomes IS NULL",
                tenant_id,
                request_id,
                json.dumps(said),
            )


def _patience_s() -> float:
    remaining_s = call_context.time_remaining()
    return WAIT_MAX_S if remaining_s is None else min(WAIT_MAX_S, remaining_s - ANSWER_MARGIN_S)
