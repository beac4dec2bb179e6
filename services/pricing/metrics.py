"""What pricing counts beside its calls: the quotes that it makes, and what becomes of them."""

from __future__ import annotations

from typing import Final

from services.runtime.observability.metrics import Metric, counter, one_of

QUOTES_CREATED: Final = counter("batzen_quotes_created_total", "Quotes that were made and kept; a preview is none.")
REDEMPTIONS: Final = counter(
    "batzen_quote_redemptions_total",
    "Quotes that came to their end: redeemed by a payment, also beyond the limit of a coupon; released; or refused.",
    one_of("outcome", "redeemed", "over_limit", "released", "refused"),
)

METRICS: Final[tuple[Metric, ...]] = (QUOTES_CREATED, REDEMPTIONS)
