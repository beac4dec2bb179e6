"""What is counted of reconciliations: what the last one that compared everything came to, and how old it is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from services.gateway.reconciliation.domain import Kind
from services.gateway.reconciliation.run import Run
from services.gateway.reconciliation.store import Tally
from services.runtime.observability.metrics import OFF, Meter, Metric, gauge, one_of, up_to

CURRENCIES_MAX: Final = 16
"""With series of their own: more than a marketplace settles in."""

REMAINDER: Final = gauge(
    "batzen_reconciliation_remainder_minor",
    "What differences of the last complete reconciliation that stand come to, in minor units. Each replica says so of"
    " all: use max().",
    up_to(CURRENCIES_MAX, "currency", "ISO 4217 codes that were seen at Stripe"),
)
FINDINGS: Final = gauge(
    "batzen_reconciliation_findings",
    "Differences of the last complete reconciliation that stand, by kind. Each replica says so of all: use max().",
    one_of("kind", *(str(kind) for kind in Kind)),
)
IS_CLEAN: Final = gauge(
    "batzen_reconciliation_clean",
    "1 where the last complete reconciliation left nothing different; 0 where it did, or there was none.",
)
AGE: Final = gauge(
    "batzen_reconciliation_age_seconds",
    "For how long the last complete reconciliation is at its end; where there was none, for how long the account is the"
    " tenant's. Each replica says so of all: use max().",
)

METRICS: Final[tuple[Metric, ...]] = (REMAINDER, FINDINGS, IS_CLEAN, AGE)


class ReconciliationMetrics:
    """What is shown in one process."""

    def __init__(self, meter: Meter) -> None:
        self._remainder = meter.gauge(REMAINDER)
        self._findings = meter.gauge(FINDINGS)
        self._is_clean = meter.gauge(IS_CLEAN)
        self._age = meter.gauge(AGE)
        self._shown_currencies: set[str] = set()

    def show(self, run: Run | None, tallies: Sequence[Tally], *, age: timedelta) -> None:
        """Show what the last complete run came to, and how old that is; without one that there was none."""
        self._age.set(age.total_seconds())
        # What an earlier run found in a currency in which the last one saw nothing is no longer so.
        remainder = dict.fromkeys((*self._shown_currencies, *(run.currencies if run is not None else ())), 0)
        counts = dict.fromkeys(map(str, Kind), 0)
        for one in tallies:
            remainder[one.currency_code] = remainder.get(one.currency_code, 0) + one.remainder_minor
            counts[str(one.kind)] += one.count
        for currency_code, minor in remainder.items():
            self._remainder.set(minor, currency_code)
        self._shown_currencies |= remainder.keys()
        for kind, count in counts.items():
            self._findings.set(count, kind)
        self._is_clean.set(0 if run is None or any(counts.values()) else 1)


UNCOUNTED: Final = ReconciliationMetrics(OFF)
"""Shows nothing."""
