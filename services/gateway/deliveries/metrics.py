"""What is counted of deliveries: how long each took, its rests and retries included."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import OFF, Meter, Metric, histogram

DELIVERY_SECONDS: Final = histogram(
    "batzen_delivery_seconds",
    "From when there was something to be delivered to the orchestrator until it had taken it.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300),
)

METRICS: Final[tuple[Metric, ...]] = (DELIVERY_SECONDS,)


class DeliveryMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._seconds = meter.histogram(DELIVERY_SECONDS)

    def delivered(self, *, seconds: float) -> None:
        """Note how long it took until the orchestrator had what there was to be delivered."""
        self._seconds.observe(max(0.0, seconds))


UNCOUNTED: Final = DeliveryMetrics(OFF)
