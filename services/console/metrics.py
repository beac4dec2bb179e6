"""What the operators' front counts of its own."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter

LOGINS_REFUSED: Final = counter(
    "batzen_console_logins_refused_total",
    "Ways back from the issuer that came to nothing: of no log-in that is under way, or of nobody who may enter.",
)

METRICS: Final[tuple[Metric, ...]] = (LOGINS_REFUSED,)
