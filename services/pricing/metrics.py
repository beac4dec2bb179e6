"""What pricing counts beside its calls: the quotes that it makes, and what becomes of them."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import OFF, Meter, Metric, counter, one_of

QUOTES_CREATED: Final = counter("batzen_quotes_created_total", "Quotes that were made and kept; a preview is none.")
REDEMPTIONS: Final = counter(
    "batzen_quote_redemptions_total",
    "Quotes with uses of coupons that came to their end, each once: redeemed, also beyond the limit of a coupon, or"
    " released.",
    one_of("outcome", "redeemed", "over_limit", "released"),
)

METRICS: Final[tuple[Metric, ...]] = (QUOTES_CREATED, REDEMPTIONS)


class PricingMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._created = meter.counter(QUOTES_CREATED)
        self._redemptions = meter.counter(REDEMPTIONS)

    def created(self) -> None:
        """Count a quote that was kept."""
        self._created.add()

    def redeemed(self, *, over_limit: bool) -> None:
        """Count a quote whose uses were spent."""
        self._redemptions.add("over_limit" if over_limit else "redeemed")

    def released(self) -> None:
        """Count a quote whose uses were given back."""
        self._redemptions.add("released")


UNCOUNTED: Final = PricingMetrics(OFF)
