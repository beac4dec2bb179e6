"""Tables of rounds: how far each has come, and what was found. One statement per method."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from services.orchestrator.diagnosis.domain import Diagnosis
from services.orchestrator.diagnosis.round import CONFIRMED_AFTER, EVERY, ON_ITS_WAY_MAX, Finding, Round, Walk
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock

RECENT_NAME: Final = "recent"


class RoundStore:
    """Reads and writes the tables. Raises `DependencyUnavailable` when the database is away."""

    def __init__(self, held: DirectConnections, *, clock: Clock) -> None:
        self._held = held
        self._clock = clock

    async def find_tenants(self) -> None:
        """Have a round of each tenant that has payments; its first is due after a while, as any next one is."""
        async with self._held.statement("diagnosis.tenants") as connection:
            await connection.execute(_FIND_TENANTS, RECENT_NAME, self._clock.now(), self._clock.shift, EVERY)

    async def read(self, tenant_id: str, *, fence: int) -> Round | None:
        """Return how far the round has come whose lease the engine took; None if it is another's by now."""
        async with self._held.statement(None) as connection:
            row = await connection.fetchrow(_READ, tenant_id, RECENT_NAME, fence)
        if row is None:
            return None
        return Round(
            tenant_id=tenant_id,
            walk=Walk(row["walk"]),
            place=row["place"],
            begin_time=row["begin_time"],
            booked_time=row["booked_time"],
        )

    async def keep(
        self,
        one: Round,
        diagnoses: Sequence[Diagnosis],
        *,
        decided: Sequence[str],
        walk: Walk,
        place: str,
        looked_at: int,
        fence: int,
    ) -> None:
        """Keep what was found of payments, and where the round goes on. Nothing is written under an older fence.

        What was found before of those that are `decided`, and is not any more, is forgotten.
        """
        found = [
            {
                "payment_id": diagnosis.payment_id,
                "check_name": each.check.name,
                "about": each.about,
                "waits": bool(each.waits_for),
            }
            for diagnosis in diagnoses
            for each in diagnosis.disagreements
        ]
        async with self._held.statement("diagnosis.keep") as connection:
            await connection.execute(
                _KEEP, one.tenant_id, RECENT_NAME, fence, walk, place, looked_at, list(decided), json.dumps(found),
                self._clock.now(), one.begin_time,
            )  # fmt: skip

    async def finish(self, one: Round, *, booked_time: datetime, fence: int) -> bool:
        """Keep that a round has come to its end, and begin the next; return whether something new was found."""
        async with self._held.statement("diagnosis.finish") as connection:
            is_new = await connection.fetchval(
                _FINISH, one.tenant_id, RECENT_NAME, fence, booked_time, self._clock.now(), CONFIRMED_AFTER
            )
        return bool(is_new)

    async def with_findings(self, tenant_id: str, *, after: str, at_most: int) -> list[str]:
        """Return the payments of which something was found, in the order of their ids."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_WITH_FINDINGS, tenant_id, after, at_most)
        return [row["payment_id"] for row in rows]

    async def page(self, tenant_id: str, *, after: tuple[str, str, str], limit: int) -> list[Finding]:
        """Return what was found, by payment and check."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_PAGE, tenant_id, *after, limit)
        return [Finding(**row) for row in rows]

    async def finish_time(self, tenant_id: str) -> datetime | None:
        """Return when a round of a tenant came to its end last; None before the first."""
        async with self._held.statement(None) as connection:
            found: datetime | None = await connection.fetchval(_FINISH_TIME, tenant_id, RECENT_NAME)
        return found

    async def standing(self, *, at_most: int) -> Mapping[str, int]:
        """Return of how many payments each check stands; of so many findings."""
        async with self._held.statement(None) as connection:
            rows = await connection.fetch(_STANDING, CONFIRMED_AFTER, ON_ITS_WAY_MAX, at_most)
        return {row["check_name"]: row["payments"] for row in rows}

    async def oldest(self) -> datetime | None:
        """Return when the round came to its end that did so first of all tenants' last ones; None without any."""
        async with self._held.statement(None) as connection:
            oldest: datetime | None = await connection.fetchval(_OLDEST)
        return oldest


_FIND_TENANTS: Final = f"""
WITH RECURSIVE tenants (tenant_id) AS (
    (SELECT p.tenant_id FROM payments p ORDER BY p.tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT p.tenant_id FROM payments p WHERE p.tenant_id > tenants.tenant_id ORDER BY p.tenant_id LIMIT 1)
    FROM tenants WHERE tenants.tenant_id IS NOT NULL)
INSERT INTO diagnosis_rounds (tenant_id, name, walk, begin_time, booked_time, create_time, due_time)
SELECT t.tenant_id, $1, '{Walk.FINDINGS}', $2, $2, $2, now() + $3::interval + $4::interval
FROM tenants t WHERE t.tenant_id IS NOT NULL
ON CONFLICT ON CONSTRAINT diagnosis_rounds_pkey DO NOTHING"""  # noqa: S608 our own words

_READ: Final = """
SELECT walk, place, begin_time, booked_time FROM diagnosis_rounds
WHERE tenant_id = $1 AND name = $2 AND fence = $3"""

_KEEP: Final = """
WITH held AS (
    UPDATE diagnosis_rounds SET walk = $4, place = $5, payments = payments + $6, begin_time = $10
    WHERE tenant_id = $1 AND name = $2 AND fence = $3 RETURNING 1),
found AS (
    SELECT f.* FROM held, jsonb_to_recordset($8::jsonb)
        AS f (payment_id text, check_name text, about text, waits boolean)),
gone AS (
    DELETE FROM diagnosis_findings d USING held
    WHERE d.tenant_id = $1 AND d.payment_id = ANY($7::text[]) AND NOT EXISTS (
        SELECT FROM found f WHERE f.payment_id = d.payment_id AND f.check_name = d.check_name AND f.about = d.about))
INSERT INTO diagnosis_findings (tenant_id, payment_id, check_name, about, waits, first_time, last_time)
SELECT $1, f.payment_id, f.check_name, f.about, bool_and(f.waits), $9, $9 FROM found f GROUP BY 2, 3, 4
ON CONFLICT ON CONSTRAINT diagnosis_findings_pkey
DO UPDATE SET waits = excluded.waits, last_time = excluded.last_time"""

_FINISH: Final = f"""
WITH held AS (
    UPDATE diagnosis_rounds SET walk = '{Walk.FINDINGS}', place = '', begin_time = $5, booked_time = $4,
        finish_time = $5, payments = 0
    WHERE tenant_id = $1 AND name = $2 AND fence = $3 RETURNING 1)
SELECT EXISTS (SELECT FROM held) AND EXISTS (
    SELECT FROM diagnosis_findings d
    WHERE d.tenant_id = $1 AND NOT d.waits AND d.last_time - d.first_time < $6::interval)"""  # noqa: S608 our own words

_WITH_FINDINGS: Final = """
SELECT DISTINCT d.payment_id FROM diagnosis_findings d WHERE d.tenant_id = $1 AND d.payment_id > $2
ORDER BY d.payment_id LIMIT $3"""

_PAGE: Final = """
SELECT d.payment_id, d.check_name, d.about, d.waits, d.first_time, d.last_time FROM diagnosis_findings d
WHERE d.tenant_id = $1 AND (d.payment_id, d.check_name, d.about) > ($2, $3, $4)
ORDER BY d.payment_id, d.check_name, d.about LIMIT $5"""

_FINISH_TIME: Final = """
SELECT r.finish_time FROM diagnosis_rounds r WHERE r.tenant_id = $1 AND r.name = $2"""

_STANDING: Final = """
SELECT d.check_name, count(DISTINCT (d.tenant_id, d.payment_id)) AS payments
FROM (SELECT * FROM diagnosis_findings LIMIT $3) d
WHERE d.last_time - d.first_time >= CASE WHEN d.waits THEN $2::interval ELSE $1::interval END
GROUP BY d.check_name"""

_OLDEST: Final = """
SELECT min(coalesce(r.finish_time, r.create_time)) FROM diagnosis_rounds r"""
