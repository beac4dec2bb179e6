"""How much money an amount may say, for every service alike."""

from __future__ import annotations

from typing import Final

AMOUNT_MINOR_MAX: Final = 2**53 - 1
"""In minor units, of any currency: the largest integer that every reader of JSON takes exactly, browsers and
Stripe included. Far above what is ever charged; what can be charged in a currency is the gateway's to say."""
