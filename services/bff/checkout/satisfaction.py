"""How paying was: one answer of 1 to 5 a payment, kept in the front's own database and counted among the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from services.bff.metrics import ANSWERS
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import Meter
from services.web.sessions.domain import Session

SCORES: Final = range(1, 6)
_ADD: Final = """
INSERT INTO satisfaction_answers (tenant_id, payment_id, payer_id, score, answer_time) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (tenant_id, payment_id) DO NOTHING
"""
_FIND: Final = "SELECT score FROM satisfaction_answers WHERE tenant_id = $1 AND payment_id = $2"
_BY_DAY: Final = """
SELECT (answer_time AT TIME ZONE 'Europe/Zurich')::date AS day, count(*) AS answer_count, sum(score) AS score_sum
FROM satisfaction_answers WHERE tenant_id = $1 AND answer_time >= $2 AND answer_time < $3 GROUP BY day ORDER BY day
"""
_ZONE: Final = ZoneInfo("Europe/Zurich")


@dataclass(frozen=True, slots=True, kw_only=True)
class DayAnswers:
    """What payers answered on one day of Europe/Zurich."""

    day: date
    answer_count: int
    score_sum: int


async def answers_by_day(held: DirectConnections, tenant_id: str, first: date, last: date) -> Sequence[DayAnswers]:
    """Return the days from the first to the last on which payers of a tenant answered."""
    begin, end = (datetime.combine(day, time(), _ZONE) for day in (first, last + timedelta(days=1)))
    async with held.statement(None) as connection:
        rows = await connection.fetch(_BY_DAY, tenant_id, begin, end)
    return [DayAnswers(day=row["day"], answer_count=row["answer_count"], score_sum=row["score_sum"]) for row in rows]


class Satisfaction:
    """Keeps answers."""

    def __init__(self, held: DirectConnections, *, meter: Meter, now: Callable[[], datetime]) -> None:
        self._held = held
        self._answers = meter.counter(ANSWERS)
        self._now = now

    async def answered(self, session: Session, payment_id: str) -> int:
        """Return what was answered about a payment; 0 while nothing was."""
        async with self._held.statement(None) as connection:
            score: int | None = await connection.fetchval(_FIND, session.tenant_id, payment_id)
        return score or 0

    async def add(self, session: Session, payment_id: str, score: int) -> None:
        """Keep an answer; the first one stands."""
        async with self._held.statement("bff.satisfaction.add") as connection:
            done: str = await connection.execute(
                _ADD, session.tenant_id, payment_id, session.subject, score, self._now()
            )
        if done.endswith("1"):
            self._answers.add(str(score))
