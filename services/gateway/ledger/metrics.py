"""What is counted of the ledger: what was booked, by kind."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from services.gateway.ledger.domain import FACT_KINDS, Fact
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, one_of

LEDGER_FACTS: Final = counter(
    "batzen_ledger_facts_total", "Facts that were booked, by kind.", one_of("kind", *FACT_KINDS)
)

METRICS: Final[tuple[Metric, ...]] = (LEDGER_FACTS,)


class LedgerMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._facts = meter.counter(LEDGER_FACTS)

    def booked(self, facts: Iterable[Fact]) -> None:
        """Note that facts were booked."""
        for one in facts:
            self._facts.add(one.kind)

    def closed(self, chains: int) -> None:
        """Note that chains of exchange were closed."""
        if chains:
            self._facts.add("fx_closed", amount=chains)


UNCOUNTED: Final = LedgerMetrics(OFF)
"""Counts nothing."""
