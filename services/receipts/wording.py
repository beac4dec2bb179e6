"""Amounts, dates and names of methods as a reader's language writes them. Pure; amounts are integers throughout."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale
from babel.dates import format_date

from batzen.cli.money import DIGITS, DIGITS_USUAL
from services.shared.locale_format import find_locale, locale_format
from services.shared.texts import Texts

TEXTS: Final = Texts(Path(__file__).parent / "texts")
BRANDS: Final = {
    "visa": "Visa",
    "mastercard": "Mastercard",
    "amex": "American Express",
    "diners": "Diners Club",
    "discover": "Discover",
    "jcb": "JCB",
    "unionpay": "UnionPay",
    "twint": "TWINT",
    "sepa_debit": "SEPA",
    "link": "Link",
}
"""Names of brands and kinds, the same in each language."""
_NO_BREAK: Final = "\N{NO-BREAK SPACE}"
_INNER_SIGN: Final = re.compile(r"^(\D+)-(?=\d)")
"""CLDR writes a negative amount of Switzerland `CHF-20.00`."""


class ReceiptWording:
    """One language, as a locale writes it."""

    def __init__(self, language: str, *, locale: str, zone: str) -> None:
        """`zone` is the IANA name of the time that is shown."""
        self.language = language
        self._locale = locale.lower()
        self._zone = ZoneInfo(zone)
        found = find_locale(self._locale)
        if found is None:
            raise ValueError(f"{locale} is no locale that CLDR describes")
        self._babel: Locale = found

    def say(self, key: str, **values: str) -> str:
        """Return a text of the catalogue."""
        return TEXTS.say(self.language, key, **values)

    def amount(self, amount_minor: int, currency_code: str) -> str:
        """Return an amount with its currency, on one line."""
        digits = DIGITS.get(currency_code, DIGITS_USUAL)
        written = locale_format(self._locale, currency_code=currency_code, digits=digits).amount(amount_minor)
        return sign_first(written.replace(" ", _NO_BREAK))

    def percent(self, text: str) -> str:
        """Return a rate, given as a plain decimal."""
        return locale_format(self._locale, currency_code="CHF", digits=DIGITS_USUAL).percent(text)

    def day(self, time: datetime) -> str:
        """Return the date of an instant."""
        return format_date(time.astimezone(self._zone), format="long", locale=self._babel)

    def method(self, *, brand: str, kind: str, last4: str) -> str:
        """Return what a method is called."""
        name = BRANDS.get(brand) or BRANDS.get(kind) or (brand or kind).replace("_", " ").capitalize()
        return self.say("method.saved", brand=name, last4=last4) if last4 else name


def sign_first(amount: str) -> str:
    """Return a written amount with its minus in front of all: `−CHF 20.00`, as `CHF 20.00` is read."""
    return _INNER_SIGN.sub(rf"-\1{_NO_BREAK}", amount).replace("-", "\N{MINUS SIGN}")
