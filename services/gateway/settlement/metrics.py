"""What is shown of settling: how many sellers wait for their parts, why, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from services.gateway.settlement.domain import WaitReason
from services.runtime.database.connections import DirectConnections
from services.runtime.observability.metrics import Meter, Metric, gauge, one_of

COUNTED_MAX: Final = 1_000
"""Payments that are looked at, those first that are looked at next by themselves."""

_REASON: Final = one_of("reason", *WaitReason)
SETTLEMENTS_WAITING: Final = gauge(
    "batzen_settlements_waiting",
    f"Sellers of payments who wait for their parts, by why; of at most {COUNTED_MAX} payments. Each replica counts all:"
    " use max().",
    _REASON,
)
SETTLEMENTS_OLDEST: Final = gauge(
    "batzen_settlements_waiting_oldest_seconds",
    "For how long something of the payment of the one who waits longest was not settled, by why; 0 where nobody does."
    " Each replica says so of all: use max().",
    _REASON,
)

METRICS: Final[tuple[Metric, ...]] = (SETTLEMENTS_WAITING, SETTLEMENTS_OLDEST)

WAITING: Final = """
SELECT e ->> 'waits_for' AS reason, count(*) AS sellers, min(s.create_time) AS first_time
FROM (SELECT tenant_id, payment_id, create_time FROM settlements WHERE tenant_id = $1 AND due_time IS NOT NULL
      ORDER BY due_time LIMIT $2) s
JOIN payments p ON p.tenant_id = s.tenant_id AND p.payment_id = s.payment_id
CROSS JOIN LATERAL jsonb_array_elements(p.observation -> 'sellers') e
WHERE e ->> 'waits_for' <> '' GROUP BY 1"""


class SettlementMetrics:
    """What is shown by one process."""

    def __init__(self, meter: Meter) -> None:
        self._waiting = meter.gauge(SETTLEMENTS_WAITING)
        self._oldest = meter.gauge(SETTLEMENTS_OLDEST)

    def stand(self, found: Mapping[str, tuple[int, datetime]], *, now: datetime) -> None:
        """Show how many wait for each reason, and since when."""
        for reason in WaitReason:
            sellers, first_time = found.get(reason, (0, now))
            self._waiting.set(sellers, reason)
            self._oldest.set(max(0.0, (now - first_time).total_seconds()), reason)


async def look_at_settlements(
    connections: DirectConnections, metrics: SettlementMetrics, *, tenant_id: str, now: Callable[[], datetime]
) -> None:
    """Look up who waits, and show it."""
    async with connections.statement(None) as connection:
        rows = await connection.fetch(WAITING, tenant_id, COUNTED_MAX)
    metrics.stand({row["reason"]: (row["sellers"], row["first_time"]) for row in rows}, now=now())
