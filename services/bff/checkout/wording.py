"""Amounts, dates and names of methods as a payer's language writes them. Pure; amounts are integers throughout."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel.dates import format_date, format_datetime, format_time

from batzen.cli.money import DIGITS, DIGITS_USUAL
from services.shared.locale_format import locale_format
from services.web.texts import Texts

TEXTS: Final = Texts(Path(__file__).parent / "texts")
LOCALES: Final = {"de": "de-CH", "fr": "fr-CH", "it": "it-CH", "en": "en-CH"}
"""How each language is written here: amounts and dates go by the country."""
NAMES: Final = {"de": "Deutsch", "fr": "Français", "it": "Italiano", "en": "English"}
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


class Wording:
    """One language."""

    def __init__(self, language: str, *, zone: str) -> None:
        """`zone` is the IANA name of the time that is shown."""
        self.language = language
        self.say = partial(TEXTS.say, language)
        self._locale = LOCALES[language]
        self._zone = ZoneInfo(zone)

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

    def moment(self, time: datetime) -> str:
        """Return the date and time of an instant."""
        return format_datetime(
            time.astimezone(self._zone),
            format="d. MMMM y, HH:mm" if self.language == "de" else "d MMMM y, HH:mm",
            locale=self._babel,
        )

    def clock(self, time: datetime) -> str:
        """Return the time of an instant alone."""
        return format_time(time.astimezone(self._zone), format="HH:mm", locale=self._babel)

    def method(self, *, brand: str, kind: str, last4: str) -> str:
        """Return what a method is called."""
        name = BRANDS.get(brand) or BRANDS.get(kind) or (brand or kind).replace("_", " ").capitalize()
        return self.say("method.saved", brand=name, last4=last4) if last4 else name

    @property
    def _babel(self) -> str:
        return self._locale.replace("-", "_")


def sign_first(amount: str) -> str:
    """Return a written amount with its minus in front of all: `−CHF 20.00`, as `CHF 20.00` is read."""
    return _INNER_SIGN.sub(rf"-\1{_NO_BREAK}", amount).replace("-", "\N{MINUS SIGN}")


def mark_of(*, brand: str, kind: str) -> str:
    """Return the mark that stands beside a method."""
    known = {"visa", "mastercard", "amex", "twint", "sepa_debit"}
    return next((name for name in (brand, kind) if name in known), "card")
