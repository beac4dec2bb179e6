"""How much money an amount may say, and how texts for people write it, for every service alike."""

from __future__ import annotations

from typing import Final

AMOUNT_MINOR_MAX: Final = 2**53 - 1
"""In minor units, of any currency: the largest integer that every reader of JSON takes exactly, browsers and
Stripe included. Far above what is ever charged; what can be charged in a currency is the gateway's to say."""
DIGITS_USUAL: Final = 2
DIGITS: Final = (
    dict.fromkeys(
        [
            "BIF",
            "CLP",
            "DJF",
            "GNF",
            "ISK",
            "JPY",
            "KMF",
            "KRW",
            "PYG",
            "RWF",
            "UGX",
            "UYI",
            "VND",
            "VUV",
            "XAF",
            "XOF",
            "XPF",
        ],
        0,
    )
    | dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3)
    | dict.fromkeys(["CLF", "UYW"], 4)
)
"""Digits after the point that ISO 4217 gives a currency, where they are not `DIGITS_USUAL`. The client package, in
which no code of services is, has the same."""


def written(amount_minor: int, currency_code: str) -> str:
    """Return `1'250.50 CHF`: for operators, in texts that are no page's and no mail's."""
    digits = DIGITS.get(currency_code, DIGITS_USUAL)
    sign = "-" if amount_minor < 0 else ""
    whole, rest = divmod(abs(amount_minor), 10**digits)
    fraction = f".{rest:0{digits}}" if digits else ""
    return f"{sign}{whole:,}".replace(",", "'") + f"{fraction} {currency_code}"
