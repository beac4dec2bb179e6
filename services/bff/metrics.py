"""What the payer's front counts of its own."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter, one_of

PAGES: Final = (
    "loading", "timing", "method", "confirm", "card", "attention", "processing", "held", "scheduled", "success",
    "failed", "canceled", "expired", "partly_refunded", "refunded", "disputed", "dispute_lost", "not_known",
    "other",
)  # fmt: skip
BEACONS: Final = counter(
    "batzen_bff_beacons_total", "What pages reported of their use, by the page.", one_of("page", *PAGES)
)
BEACONS_LOST: Final = counter(
    "batzen_bff_beacons_lost_total", "What pages reported and could not be passed on to who counts it."
)
PAGE_TROUBLES: Final = counter(
    "batzen_bff_page_troubles_total", "Errors of scripts in payers' pages, by the page.", one_of("page", *PAGES)
)
ANSWERS: Final = counter(
    "batzen_bff_satisfaction_answers_total", "How payers say that paying was.", one_of("score", "1", "2", "3", "4", "5")
)

METRICS: Final[tuple[Metric, ...]] = (BEACONS, BEACONS_LOST, PAGE_TROUBLES, ANSWERS)
