"""Amounts as people write them, to and from minor units, exactly: nothing here is ever a float."""

from __future__ import annotations

import re
from typing import Final

from batzen.type.v1.money_pb2 import Money

DIGITS_USUAL: Final = 2
DIGITS: Final = {
    **dict.fromkeys(
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
    ),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
    **dict.fromkeys(["CLF", "UYW"], 4),
}
"""Digits after the point that ISO 4217 gives a currency, where they are not `DIGITS_USUAL`."""
AMOUNT_MINOR_MAX: Final = 2**63 - 1

_NUMBER: Final = r"(?P<whole>\d+|\d{1,3}(?:[’'_ ]\d{3})+)(?:\.(?P<fraction>\d+))?"
_FORMS: Final = (
    re.compile(rf"{_NUMBER}\s*(?P<currency>[A-Za-z]{{3}})", re.ASCII),
    re.compile(rf"(?P<currency>[A-Za-z]{{3}})\s*{_NUMBER}", re.ASCII),
)


def parse(text: str) -> Money:
    """Read `100.00 CHF`, `CHF 100` or `1'250.50 CHF`; raise ValueError with a sentence if it is no exact amount."""
    matched = next((found for form in _FORMS if (found := form.fullmatch(text.strip()))), None)
    if matched is None:
        raise ValueError(f"{text!r} is no amount; write it with its currency, such as '100.00 CHF'.")
    currency = matched["currency"].upper()
    digits = DIGITS.get(currency, DIGITS_USUAL)
    fraction = matched["fraction"] or ""
    if len(fraction) > digits:
        raise ValueError(f"{currency} has {digits or 'no'} digits after the point; {text!r} has {len(fraction)}.")
    amount_minor = int(re.sub(r"\D", "", matched["whole"]) + fraction.ljust(digits, "0"))
    if amount_minor > AMOUNT_MINOR_MAX:
        raise ValueError(f"{text!r} is more than can be counted.")
    return Money(amount_minor=amount_minor, currency_code=currency)


def shown(amount_minor: int, currency_code: str) -> str:
    """Return `1'250.50 CHF`."""
    digits = DIGITS.get(currency_code, DIGITS_USUAL)
    sign = "-" if amount_minor < 0 else ""
    units = str(abs(amount_minor)).rjust(digits + 1, "0")
    whole, fraction = (units[:-digits], f".{units[-digits:]}") if digits else (units, "")
    return f"{sign}{int(whole):,}".replace(",", "'") + f"{fraction} {currency_code}"
