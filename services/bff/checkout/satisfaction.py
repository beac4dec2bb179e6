"""How paying was: one answer of 1 to 5 a payment, kept in the front's own database and counted among the figures."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

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
