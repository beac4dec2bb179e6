"""The statements of the engine, made for a kind of work.

In all of them `$1` is how far the database's clock is moved, which is nothing outside of tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.runtime.work.kinds import Turns, WorkKind

LEASE: Final = "interval '3 seconds'"
"""How long a row stays with a process that says nothing more; it renews three times as often. Bounds the wait after a
crash."""
LAPSES_COUNTED_MAX: Final = 9
"""Each lease that ran out doubles the next, up to 25 minutes: what kills its process does so ever more seldom."""

TRIES_KEPT_MAX: Final = 50
"""Of a row's tries that failed, the last ones: more than any kind may fail in a row, ~25 KB at most."""
TRY_CHARACTERS_MAX: Final = 500
"""Of what a try says went wrong."""

# What a lease is worth after that many lapses.
_LEASE: Final = f"{LEASE} * (1 << least(w.lapses, {LAPSES_COUNTED_MAX}))"


def due_now(shift: str, table: str) -> str:
    """Return the due time of a row of `table` of which more came now: below the end of its lease, over or not."""
    held_until = f"nullif({table}.held_until, '-infinity')"
    return f"least({table}.due_time, now() + {shift}, {held_until} - interval '1 microsecond')"


def demand(shift: str, table: str) -> str:
    """Return the assignments that make a row of `table` due at once, also one that was given up; `shift` as `$1`."""
    return (
        f"due_time = {due_now(shift, table)}, dead_time = NULL, "
        f"failures = CASE WHEN {table}.dead_time IS NULL THEN {table}.failures ELSE 0 END"
    )


def next_due(kinds: Sequence[WorkKind], *, tenants: bool) -> str:
    """Return for each kind the seconds until its first row is due, negative if it is; null where there is none.

    With `tenants` only rows of the tenants in `$2` count.
    """
    columns = ", ".join(f'({_first_due(kind, tenants=tenants)}) AS "{kind.name}"' for kind in kinds)
    return f"SELECT {columns}"


def waiting(kinds: Sequence[WorkKind], *, tenants: bool) -> str:
    """Return for each kind how many rows are due and free, since how many seconds the first is, and how many are dead.

    At most `$2` of a tenant, or of what takes turns there, are counted, each found by an index of its own table, so
    that no count costs what all rows there are would. With `tenants` only rows of the tenants in `$3` count.
    """
    now = "now() + $1::interval"
    parts = []
    for kind in kinds:
        known = "$3" if tenants else None
        of_tenant = f"FROM {kind.table} w WHERE w.tenant_id = g.tenant_id AND ({kind.where})"
        found, groups = _tenants(kind, known), "tenants g"
        of_turn = ""
        if kind.turns is not None:  # what rests does not wait for a slot
            found, groups, of_turn = _turns(kind, kind.turns, known), "turns g", f"AND w.{kind.turns.column} = g.turn"
        due = (
            f"(WITH RECURSIVE {found}"  # noqa: S608 our own names
            f" SELECT count(*) AS due, extract(epoch FROM {now} - min(d.due_time))::float8 AS oldest_s"
            f" FROM {groups} CROSS JOIN LATERAL (SELECT w.due_time {of_tenant} {of_turn}"
            f" AND w.due_time <= {now} AND w.held_until <= {now} ORDER BY w.due_time LIMIT $2) d)"
        )
        dead = (
            f"(WITH RECURSIVE {_tenants(kind, known, column='dead_time')}"  # noqa: S608
            f" SELECT count(*) AS dead FROM tenants g CROSS JOIN LATERAL"
            f" (SELECT w.dead_time {of_tenant} AND w.dead_time IS NOT NULL ORDER BY w.dead_time LIMIT $2) d)"
        )
        parts.append(
            f"SELECT '{kind.name}' AS kind, a.due, coalesce(a.oldest_s, 0) AS oldest_s, b.dead"  # noqa: S608
            f" FROM {due} a, {dead} b"
        )
    return " UNION ALL ".join(parts)


def claim(kind: WorkKind, *, tenants: bool) -> str:
    """Take up to `$2` due rows under a lease, by turns of their tenants, the longest waiting first.

    With `tenants` only rows of the tenants in `$3`. Rows that others work on, or are just taking, are passed over.
    Where something takes turns, `$3`, `$4`, `$5` say of which, of what tenant, how many are worked on here, and `$6`
    are the tenants.
    Materialized: joined row by row, what is due would be locked, and limited, anew for each.
    """
    keys = ", ".join(kind.key)
    of_row = ", ".join(f"w.{column}" for column in kind.key)
    same = " AND ".join(f"w.{column} = c.{column}" for column in ("tenant_id", *kind.key))
    now = "now() + $1::interval"
    turn, of_turn, at_most = "tenant_id", "", "$2"
    found, groups = _tenants(kind, "$3" if tenants else None), "tenants g"
    if kind.turns is not None:
        found = _turns(kind, kind.turns, "$6" if tenants else None)
        groups = (
            "turns g LEFT JOIN unnest($3::text[], $4::text[], $5::integer[]) AS b (tenant_id, turn, taken)"
            " USING (tenant_id, turn)"
        )
        turn, of_turn = f"tenant_id, {kind.turns.column}", f"AND w.{kind.turns.column} = g.turn"
        at_most = f"least($2, greatest({kind.turns.at_once} - coalesce(b.taken, 0), 0))"
    return f"""
WITH RECURSIVE {found},
due AS MATERIALIZED (
    SELECT d.* FROM {groups} CROSS JOIN LATERAL (
        SELECT w.tenant_id, {of_row}, w.due_time FROM {kind.table} w
        WHERE w.tenant_id = g.tenant_id {of_turn} AND ({kind.where})
            AND w.due_time <= {now} AND w.held_until <= {now}
        ORDER BY w.due_time LIMIT {at_most} FOR UPDATE SKIP LOCKED) d),
chosen AS MATERIALIZED (
    SELECT tenant_id, {keys} FROM (
        SELECT *, row_number() OVER (PARTITION BY {turn} ORDER BY due_time) AS turn FROM due) AS in_turn
    ORDER BY turn, due_time LIMIT $2)
UPDATE {kind.table} w SET fence = w.fence + 1, held_until = {now} + {_LEASE}, due_time = {now} + {_LEASE},
    lapses = w.lapses + (w.held_until > '-infinity')::integer
FROM chosen c WHERE {same}
RETURNING w.tenant_id, {", ".join(f"w.{column}::text AS {column}" for column in kind.key)},
    w.fence, w.failures, w.lapses, w.trace_context
"""  # noqa: S608 our own names


def renew(kind: WorkKind) -> str:
    """Hold the rows `$2` (tenants), `$3` (fences), `$4…` (keys) for another lease, unless they were released.

    They are locked in the order of their keys: whoever makes several due at once does so in that order, too.
    """
    types = ", ".join(f"${place}::{type}[]" for place, type in enumerate(kind.key.values(), start=4))
    keys = ", ".join(kind.key)
    of_row = ", ".join(f"w.{column}" for column in ("tenant_id", *kind.key))
    same = " AND ".join(f"w.{column} = {{0}}.{column}" for column in ("tenant_id", "fence", *kind.key))
    until = f"now() + $1::interval + {_LEASE}"
    return f"""
WITH held AS MATERIALIZED (
    SELECT {of_row}, w.fence FROM {kind.table} w
    JOIN unnest($2::text[], $3::bigint[], {types}) AS h (tenant_id, fence, {keys}) ON {same.format("h")}
    WHERE w.held_until > '-infinity' ORDER BY {of_row} FOR UPDATE OF w)
UPDATE {kind.table} w SET held_until = {until},
    due_time = CASE WHEN w.due_time = w.held_until THEN {until} ELSE w.due_time END
FROM held h WHERE {same.format("h")} AND w.held_until > '-infinity'"""  # noqa: S608 our own names


def finish(kind: WorkKind) -> str:
    """Let a row go that is done, due again at once if more came meanwhile; `$2` tenant, `$3` fence, `$4…` key."""
    return f"""
UPDATE {kind.table} w SET held_until = '-infinity', failures = 0, lapses = 0, problem = NULL,
    {"failed_tries = '[]'," if kind.keeps_tries else ""}
    due_time = CASE WHEN w.due_time = w.held_until THEN NULL ELSE w.due_time END
WHERE {_row(kind, 4)} RETURNING w.due_time <= now() + $1::interval"""  # noqa: S608 our own names


def put_back(kind: WorkKind) -> str:
    """Let a row go that is to be done after `$4`, or at once if more came meanwhile; `$2`, `$3`, `$5…` as `finish`."""
    return f"""
UPDATE {kind.table} w SET held_until = '-infinity', lapses = 0,
    due_time = CASE WHEN w.due_time = w.held_until THEN now() + $1::interval + $4::interval ELSE w.due_time END
WHERE {_row(kind, 5)} RETURNING true"""  # noqa: S608 our own names


def fail(kind: WorkKind) -> str:
    """Let a row go that failed by `$5`, to be tried after `$4`; `$2`, `$3`, `$6…` as `finish`.

    Without `$4` it is a dead letter, unless more came meanwhile: then it is tried for that.
    """
    later = "now() + $1::interval + coalesce($4::interval, interval '0')"
    given_up = "$4::interval IS NULL AND w.due_time = w.held_until"
    return f"""
UPDATE {kind.table} w SET held_until = '-infinity', lapses = 0, failures = w.failures + 1, problem = $5,
    {_WITH_THIS_TRY if kind.keeps_tries else ""}
    due_time = CASE WHEN {given_up} THEN NULL ELSE {later} END,
    dead_time = CASE WHEN {given_up} THEN now() + $1::interval END
WHERE {_row(kind, 6)} RETURNING w.dead_time IS NOT NULL"""  # noqa: S608 our own names


_WITH_THIS_TRY: Final = f"""failed_tries = CASE WHEN jsonb_array_length(w.failed_tries) >= {TRIES_KEPT_MAX}
        THEN w.failed_tries - 0 ELSE w.failed_tries END
    || jsonb_build_array(jsonb_build_array(now() + $1::interval, left($5::text, {TRY_CHARACTERS_MAX}))),"""


def _tenants(kind: WorkKind, known: str | None, *, column: str = "due_time") -> str:
    """Return the CTE of the tenants whose rows are looked at: those in `known`, or all, found by skipping ahead.

    All are those with a row that has the `column`, by the index on it.
    """
    if known is not None:
        return f"tenants (tenant_id) AS (SELECT unnest({known}::text[]))"
    first = (
        f"SELECT w.tenant_id FROM {kind.table} w WHERE w.{column} IS NOT NULL AND ({kind.where})"  # noqa: S608
        "{} ORDER BY w.tenant_id LIMIT 1"
    )
    return (
        f"found (tenant_id) AS (({first.format('')}) UNION ALL"  # noqa: S608 our own names
        f" SELECT ({first.format(' AND w.tenant_id > found.tenant_id')}) FROM found WHERE found.tenant_id IS NOT NULL),"
        " tenants AS (SELECT tenant_id FROM found WHERE tenant_id IS NOT NULL)"
    )


def _turns(kind: WorkKind, turns: Turns, known: str | None) -> str:
    """Return the CTE of what takes turns, does not rest and has a row that has a due time, found by skipping ahead."""
    column, rests = turns.column, turns.rests.format(now="now() + $1::interval")
    first = (
        f"SELECT w.tenant_id, w.{column} AS turn FROM {kind.table} w WHERE w.due_time IS NOT NULL AND ({kind.where})"  # noqa: S608
        f"{{}} ORDER BY w.tenant_id, w.{column} LIMIT 1"
    )
    further = first.format(f" AND (w.tenant_id, w.{column}) > (found.tenant_id, found.turn)")
    of_tenants = "" if known is None else f" AND g.tenant_id = ANY({known}::text[])"
    return (
        f"found (tenant_id, turn) AS (({first.format('')}) UNION ALL"  # noqa: S608 our own names
        f" SELECT n.tenant_id, n.turn FROM found CROSS JOIN LATERAL ({further}) n),"
        f" turns AS (SELECT g.tenant_id, g.turn FROM found g WHERE NOT ({rests}){of_tenants})"
    )


def _first_due(kind: WorkKind, *, tenants: bool) -> str:
    return f"""
WITH RECURSIVE {_tenants(kind, "$2" if tenants else None)}
SELECT extract(epoch FROM min(d.due_time) - (now() + $1::interval))::float8 FROM tenants CROSS JOIN LATERAL (
    SELECT w.due_time FROM {kind.table} w
    WHERE w.tenant_id = tenants.tenant_id AND w.due_time IS NOT NULL AND ({kind.where})
    ORDER BY w.due_time LIMIT 1) d"""  # noqa: S608 our own names


def _row(kind: WorkKind, place: int) -> str:
    keys = " AND ".join(f"w.{column} = ${place + n}::text::{type}" for n, (column, type) in enumerate(kind.key.items()))
    return f"w.tenant_id = $2 AND w.fence = $3 AND {keys}"
