"""What was given up, for operators: listed with what it is about, and done again. Each decision is kept."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.errors import RequestIdReused
from services.gateway.errors import DeadLetterNotFound, PageTokenInvalid
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.rpc import call_context
from services.runtime.work import dead_letters as letters
from services.runtime.work.dead_letters import DeadLetter
from services.runtime.work.engine import Engine
from services.runtime.work.kinds import WorkKind
from services.shared import fields
from services.shared.paging import position_in, token_for

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 200
REPLAYED_AT_ONCE_MAX: Final = 100
WAIT_MAX_S: Final = 10.0
"""How long a replay is waited for when no deadline says less; what takes longer goes on without anybody waiting."""
ANSWER_MARGIN_S: Final = 0.5
POLL_S: Final = 0.05
STILL_TRIED: Final = "It is still being tried."


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What a dead letter is about."""

    payment_id: str = ""
    subject_id: str = ""
    subject_type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a replay; without a problem it went through."""

    dead_letter_id: str
    problem: str


class DeadLetters:
    """Lists and replays what the engine of this service has given up."""

    def __init__(self, connections: DirectConnections, work: Engine, *, clock: Clock) -> None:
        self._connections = connections
        self._work = work
        self._clock = clock

    async def page(
        self, tenant_id: str, *, page_size: int, page_token: str
    ) -> tuple[list[tuple[DeadLetter, Subject]], str]:
        """Return dead letters with what they are about, the oldest first, and the token of the next page."""
        size = fields.page_size(page_size, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
        walk, after = f"dead letters {tenant_id}", None
        if page_token:
            after = position_in(page_token, walk=walk, parse=_parsed, invalid=PageTokenInvalid)
        found = await letters.dead_letters(
            self._connections, self._work.kinds, tenant_id=tenant_id, after=after, limit=size + 1
        )
        page = found[:size]
        subjects = await self._subjects(tenant_id, page)
        token = token_for(_position(page[-1]), walk=walk) if len(found) > size else ""
        return [(letter, subjects.get(letter.dead_letter_id, Subject())) for letter in page], token

    async def replay(
        self,
        tenant_id: str,
        dead_letter_ids: Sequence[str],
        *,
        request_id: uuid.UUID,
        request_hash: bytes,
        actor_id: str,
    ) -> list[Outcome]:
        """Try dead letters again, now, with fresh tries, and return what came of each, in the order asked.

        A repeat returns what the first call found; after a crash it goes on where that stopped.
        """
        kept = await self._kept(tenant_id, request_id)
        rows = [self._row_of(dead_letter_id) for dead_letter_id in dead_letter_ids]
        if kept is None:
            for place, (kind, key) in enumerate(rows):
                if not (await self._state(tenant_id, kind, key))["is_dead"]:
                    raise DeadLetterNotFound(field=f"dead_letter_ids[{place}]")
            kept = await self._keep(tenant_id, request_id, request_hash, actor_id, dead_letter_ids)
        if kept["request_hash"] != request_hash:
            raise RequestIdReused(field="request_id")
        if kept["outcomes"] is not None:
            return [Outcome(**one) for one in json.loads(kept["outcomes"])]
        for kind, key in rows:
            await letters.replay(self._connections, kind, key, tenant_id=tenant_id, shift=self._clock.shift)
            self._work.wake(kind.work_class)
        until = asyncio.get_running_loop().time() + _patience_s()
        problems = await asyncio.gather(*(self._outcome(tenant_id, kind, key, until=until) for kind, key in rows))
        outcomes = [
            Outcome(dead_letter_id=dead_letter_id, problem=problem)
            for dead_letter_id, problem in zip(dead_letter_ids, problems, strict=True)
        ]
        if STILL_TRIED not in problems:
            await self._end(tenant_id, request_id, outcomes)
        return outcomes

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

    async def _subjects(self, tenant_id: str, page: Sequence[DeadLetter]) -> dict[str, Subject]:
        keys = {kind.name: [one.key[0] for one in page if one.kind == kind.name] for kind in self._work.kinds}
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_SUBJECTS, tenant_id, keys["events"], keys["calls"], keys["deliveries"])
        return {
            row["dead_letter_id"]: Subject(
                payment_id=row["payment_id"] or "",
                subject_id=row["subject_id"] or "",
                subject_type=row["subject_type"] or "",
            )
            for row in rows
        }

    async def _kept(self, tenant_id: str, request_id: uuid.UUID) -> asyncpg.Record | None:
        async with self._connections.statement(None) as connection:
            return await connection.fetchrow(
                "SELECT request_hash, outcomes FROM replays WHERE tenant_id = $1 AND request_id = $2",
                tenant_id,
                request_id,
            )

    async def _keep(
        self, tenant_id: str, request_id: uuid.UUID, request_hash: bytes, actor_id: str, ids: Sequence[str]
    ) -> asyncpg.Record:
        async with self._connections.statement("replay.begin") as connection:
            await connection.execute(
                """INSERT INTO replays (tenant_id, request_id, request_hash, actor_id, dead_letter_ids, create_time)
                   VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT ON CONSTRAINT replays_pkey DO NOTHING""",
                tenant_id,
                request_id,
                request_hash,
                actor_id,
                list(ids),
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


def _position(letter: DeadLetter) -> str:
    time, name = letters.place_of(letter)
    return json.dumps([time.isoformat(), name])


def _parsed(position: str) -> tuple[datetime, str]:
    """Read a place in the list; raises ValueError for what is none."""
    match json.loads(position):
        case [str() as time, str() as name] if name.isprintable() and datetime.fromisoformat(time).tzinfo is not None:
            return datetime.fromisoformat(time), name
    raise ValueError("not a place")


_SUBJECTS: Final = """
    SELECT 'events/' || s.subject AS dead_letter_id, e.event_id AS subject_id, e.type AS subject_type,
        coalesce((SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.intent_id = s.subject),
                 (SELECT i.payment_id FROM intents i WHERE i.tenant_id = $1 AND i.charge_id = s.subject LIMIT 1),
                 (SELECT r.payment_id FROM refunds r WHERE r.tenant_id = $1 AND r.stripe_refund_id = s.subject))
            AS payment_id
    FROM unnest($2::text[]) AS s (subject)
    LEFT JOIN LATERAL (
        SELECT event_id, type FROM events WHERE tenant_id = $1 AND subject = s.subject AND state = 'WAITING'
        ORDER BY create_time, receive_time LIMIT 1) AS e ON true
    UNION ALL
    SELECT 'calls/' || c.call_id, c.call_id::text, c.operation,
        CASE WHEN c.subject_type = 'payment' THEN c.subject_id END
    FROM calls c WHERE c.tenant_id = $1 AND c.call_id = ANY($3::text[]::uuid[])
    UNION ALL
    SELECT 'deliveries/' || d.payment_id, d.payment_id, d.origin, d.payment_id
    FROM deliveries d WHERE d.tenant_id = $1 AND d.payment_id = ANY($4::text[])
"""
