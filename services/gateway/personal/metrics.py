"""What is counted of the keys of personal data."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import OFF, Meter, Metric, counter, one_of

PERSONAL_KEYS: Final = counter(
    "batzen_personal_keys_total",
    "Keys of personal data that were made, for a payer, a seller or a day, and that were destroyed, by an erasure or by"
    " age.",
    one_of("outcome", "made", "destroyed"),
)
METRICS: Final[tuple[Metric, ...]] = (PERSONAL_KEYS,)


class KeyMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._keys = meter.counter(PERSONAL_KEYS)

    def made(self) -> None:
        """Count a key that was made."""
        self._keys.add("made")

    def destroyed(self, count: int) -> None:
        """Count keys that were destroyed."""
        if count:
            self._keys.add("destroyed", amount=count)


UNCOUNTED: Final = KeyMetrics(OFF)
