"""What is counted of imports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from services.runtime.observability.metrics import OFF, Meter, Metric, counter, one_of

RECORDS: Final = counter(
    "batzen_import_records_total",
    "Records of systems before this one that were to be taken over, by what they are of and what came of each. Dry runs"
    " are not counted.",
    one_of("kind", "payment", "customer", "seller", "none"),
    one_of("result", "imported", "unchanged", "refused"),
)

METRICS: Final[tuple[Metric, ...]] = (RECORDS,)


class ImportMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._records = meter.counter(RECORDS)

    def took(self, results: Iterable[tuple[str, str]]) -> None:
        """Count records by kind and result."""
        for (kind, result), count in Counter(results).items():
            self._records.add(kind, result, amount=count)


UNCOUNTED: Final = ImportMetrics(OFF)
