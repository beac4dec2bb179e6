"""What is shown of rounds: how many payments have records that disagree, by check, and how old that is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Final

from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, one_of, up_to

CHECKS_MAX: Final = 64
"""With a series of their own; docs/doctor.md lists some forty."""
FINDINGS_COUNTED_MAX: Final = 10_000
"""What disagrees in more places is another database."""


class Outcome(StrEnum):
    """What came of looking at a payment."""

    AGREES = "agrees"
    DISAGREES = "disagrees"
    MOVING = "moving"
    """It moved meanwhile: the next round looks again."""
    SILENT = "silent"
    """Somebody did not answer: what was found before stands."""


DISAGREEMENTS: Final = gauge(
    "batzen_diagnosis_disagreements",
    f"Payments of which records disagree and do not come to agree by themselves, by check; of at most"
    f" {FINDINGS_COUNTED_MAX} findings. Each replica says so of all: use max().",
    up_to(CHECKS_MAX, "check", "the checks of docs/doctor.md"),
)
AGE: Final = gauge(
    "batzen_diagnosis_age_seconds",
    "For how long the last round through recent payments is at its end, of the tenant for whom that is longest. Each"
    " replica says so of all: use max().",
)
LOOKED_AT: Final = counter(
    "batzen_diagnosis_payments_total", "Payments that were looked at by rounds.", one_of("outcome", *Outcome)
)

METRICS: Final[tuple[Metric, ...]] = (DISAGREEMENTS, AGE, LOOKED_AT)


class DiagnosisMetrics:
    """What is shown in one process."""

    def __init__(self, meter: Meter) -> None:
        self._disagreements = meter.gauge(DISAGREEMENTS)
        self._age = meter.gauge(AGE)
        self._looked_at = meter.counter(LOOKED_AT)
        self._shown: set[str] = set()

    def stand(self, payments: Mapping[str, int], *, age: timedelta) -> None:
        """Show what stands, and how old that is; what stood before and does not any more is 0."""
        for check in self._shown - payments.keys():
            self._disagreements.set(0, check)
        for check, count in payments.items():
            self._disagreements.set(count, check)
        self._shown |= payments.keys()
        self._age.set(max(0.0, age.total_seconds()))

    def looked_at(self, outcome: Outcome) -> None:
        """Count a payment."""
        self._looked_at.add(outcome)


UNCOUNTED: Final = DiagnosisMetrics(OFF)
"""Shows nothing."""
