"""Closes the ledger's days, one after another: so a balance is a closing and the entries since, however old it all is.

A day is closed once no statement that began in it can still run. Nothing that books waits for that: the row that is
locked is of this work alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from services.gateway.ledger import statements
from services.gateway.ledger.metrics import UNCOUNTED, LedgerMetrics
from services.runtime.database.connections import DirectConnections
from services.runtime.process.clock import Clock
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind

OVER_FOR: Final = timedelta(minutes=10)
"""A day is closed so long after its end: a statement runs for 5 s at most, and no transaction of ours for a minute."""
DAYS_MAX: Final = 31
"""Closed in one go; of what is behind after an outage, the rest comes right after."""
CHAINS_MAX: Final = 1_000
"""Chains of exchange that are closed by one statement."""
GAPS_MAX: Final = 1_000
"""Of closings that are wrong, so many are shown."""
RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=10), delay_max=timedelta(hours=1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A closing that is not what its day comes to, or does not follow from the one before."""

    account: str
    seller_id: str
    country: str
    currency_code: str
    day: date
    closed_minor: int
    booked_minor: int
    gap_minor: int
    """By how much it does not follow from the one before."""


class Closings:
    """The work of closing days."""

    def __init__(self, connections: DirectConnections, *, clock: Clock, metrics: LedgerMetrics = UNCOUNTED) -> None:
        self._connections = connections
        self._clock = clock
        self._metrics = metrics

    @property
    def work(self) -> WorkKind:
        """The day that is closed next."""
        return WorkKind(
            name="ledger_days",
            work_class=WorkClass.READS,
            table="ledger_days",
            key={"name": "text"},
            retry=RETRY,
            handler=self.close,
        )

    async def begin(self, tenant_id: str) -> None:
        """Have the tenant's days closed from today on, unless they are."""
        async with self._connections.statement("ledger.begin") as connection:
            await connection.execute(statements.BEGIN, tenant_id, self._clock.shift, OVER_FOR)

    async def close(self, work: Work) -> None:
        """Close what is over, after the chains of exchange of which something was booked then."""
        for _ in range(DAYS_MAX):
            await self._close_chains(work.tenant_id)
            async with self._connections.statement("ledger.close") as connection:
                closed = await connection.fetchval(statements.CLOSE, work.tenant_id, self._clock.shift, OVER_FOR)
            if not closed:
                break
        async with self._connections.statement(None) as connection:
            due = await connection.fetchval(statements.DUE, work.tenant_id, self._clock.shift, OVER_FOR)
        raise RetryLater(due)

    async def _close_chains(self, tenant_id: str) -> None:
        closed = CHAINS_MAX
        while closed == CHAINS_MAX:
            async with self._connections.statement("ledger.chains") as connection:
                closed = await connection.fetchval(
                    statements.CHAINS, tenant_id, self._clock.shift, OVER_FOR, CHAINS_MAX
                )
            self._metrics.closed(closed)

    async def gaps(self, tenant_id: str, *, first: date, last: date) -> list[Gap]:
        """Return the closings of days, both included, that are wrong; none is what is to be."""
        async with self._connections.statement(None) as connection:
            found = await connection.fetch(statements.DRIFT, tenant_id, first, last, GAPS_MAX)
        return [Gap(**dict(row)) for row in found]
