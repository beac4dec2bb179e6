"""What is known of a currency."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Currency:
    """How a currency is counted, and in which amounts it can be paid."""

    digits: int
    """After the point, as ISO 4217 has them."""
    step_minor: int
    """Amounts are paid in multiples of it: 1 for nearly all, 10 for the Kuwaiti dinar, whose last digit must be 0."""
