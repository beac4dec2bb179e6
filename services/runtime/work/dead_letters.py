"""Work that was given up: listed with what went wrong, and done again when an operator says so."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.runtime.database.connections import DirectConnections
from services.runtime.work.kinds import WorkKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """A try that failed."""

    time: datetime
    problem: str
    """The class of the error, a colon, and what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A row that was tried for the last time."""

    kind: str
    key: tuple[str, ...]
    about: str
    """What kind of thing it is about (`WorkKind.about`)."""
    failures: int
    problem: str
    dead_time: datetime
    tries: tuple[Try, ...]
    """The tries that failed, the oldest first, also those before it was replayed."""

    @property
    def dead_letter_id(self) -> str:
        """Names it: the kind and the row's key, in which no slash may stand."""
        return "/".join((self.kind, *self.key))


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which dead letters: what is empty narrows nothing."""

    kinds: tuple[str, ...] = ()
    about: tuple[str, ...] = ()
    dead_before: datetime | None = None
    problem: str = ""
    """A part of the problem, in any case."""


EVERY: Final = Filter()
_NO_TRIES: Final = "'[]'::jsonb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """How much work of one kind there is, of every tenant."""

    due: int
    """Waits for a slot."""
    later: int
    """Waits for its time."""
    running: int
    dead: int

    @property
    def is_idle(self) -> bool:
        """Whether nothing is due or running; what waits for its time may be there."""
        return not (self.due or self.running)


def read_id(dead_letter_id: str) -> tuple[str, tuple[str, ...]] | None:
    """Return kind and key of an id, None for what is no such id."""
    kind, *key = dead_letter_id.split("/")
    return (kind, tuple(key)) if kind and key and all(key) and dead_letter_id.isprintable() else None


async def dead_letters(
    held: DirectConnections,
    kinds: Sequence[WorkKind],
    *,
    tenant_id: str,
    after: tuple[datetime, str] | None,
    limit: int,
    chosen: Filter = EVERY,
) -> list[DeadLetter]:
    """Return a tenant's dead letters of a filter, the oldest first, after the place of the last one known."""
    parts = [
        f"SELECT '{kind.name}' AS kind, ARRAY[{', '.join(f'w.{column}::text' for column in kind.key)}] AS key,"  # noqa: S608
        f" {kind.about} AS about, w.failures, w.problem, w.dead_time,"
        f" {'w.failed_tries' if kind.keeps_tries else _NO_TRIES} AS failed_tries FROM {kind.table} w"
        f" WHERE w.tenant_id = $1 AND w.dead_time IS NOT NULL AND ({kind.where})"
        for kind in kinds
        if not chosen.kinds or kind.name in chosen.kinds
    ]
    if not parts:
        return []
    # An id is text that sorts in any order, so that letters of the same instant are neither skipped nor repeated.
    statement = f"""
SELECT * FROM ({" UNION ALL ".join(parts)}) AS d
WHERE ($2::timestamptz IS NULL OR (d.dead_time, d.kind || array_to_string(d.key, '/')) > ($2, $3))
    AND ($5::timestamptz IS NULL OR d.dead_time < $5) AND ($6::text[] = '{{}}' OR d.about = ANY($6))
    AND ($7 = '' OR strpos(lower(d.problem), lower($7)) > 0)
ORDER BY d.dead_time, d.kind || array_to_string(d.key, '/') LIMIT $4"""  # noqa: S608 our own names
    time, name = after if after is not None else (None, None)
    narrowed = (chosen.dead_before, list(chosen.about), chosen.problem)
    async with held.statement(None) as connection:
        rows = await connection.fetch(statement, tenant_id, time, name, limit, *narrowed)
    return [
        DeadLetter(
            kind=row["kind"],
            key=tuple(row["key"]),
            about=row["about"] or "",
            failures=row["failures"],
            problem=row["problem"] or "",
            dead_time=row["dead_time"],
            tries=tuple(
                Try(time=datetime.fromisoformat(time), problem=problem)
                for time, problem in json.loads(row["failed_tries"])
            ),
        )
        for row in rows
    ]


def place_of(letter: DeadLetter) -> tuple[datetime, str]:
    """Return where a list goes on after this letter."""
    return letter.dead_time, letter.kind + "/".join(letter.key)


async def replay(
    held: DirectConnections, kind: WorkKind, key: Sequence[str], *, tenant_id: str, shift: timedelta = timedelta(0)
) -> bool:
    """Make a dead letter due again, now, with its failures counted anew; False if it is none.

    What its tries said stays with it until it is done.
    """
    same = " AND ".join(
        f"w.{column} = ${place}::text::{type}" for place, (column, type) in enumerate(kind.key.items(), start=3)
    )
    async with held.statement(f"{kind.name}.replay") as connection:
        replayed = await connection.fetchval(
            f"""UPDATE {kind.table} w SET due_time = now() + $1::interval, dead_time = NULL, failures = 0, lapses = 0
                WHERE w.tenant_id = $2 AND w.dead_time IS NOT NULL AND ({kind.where}) AND {same} RETURNING true""",  # noqa: S608
            shift,
            tenant_id,
            *key,
        )
    return bool(replayed)


async def depth(held: DirectConnections, kind: WorkKind, *, shift: timedelta = timedelta(0)) -> Depth:
    """Count the rows of a kind."""
    async with held.statement(None) as connection:
        row = await connection.fetchrow(
            f"""SELECT count(*) FILTER (WHERE w.due_time <= now() + $1 AND w.held_until <= now() + $1) AS due,
                    count(*) FILTER (WHERE w.due_time > now() + $1 AND w.held_until <= now() + $1) AS later,
                    count(*) FILTER (WHERE w.held_until > now() + $1) AS running,
                    count(*) FILTER (WHERE w.dead_time IS NOT NULL) AS dead
                FROM {kind.table} w
                WHERE (w.due_time IS NOT NULL OR w.dead_time IS NOT NULL) AND ({kind.where})""",  # noqa: S608
            shift,
        )
    return Depth(**row)
