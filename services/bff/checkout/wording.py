"""Texts, dates and marks as a payer's language writes them, beside what a receipt needs of that. Pure."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from babel.dates import format_datetime, format_time

from services.receipts.wording import ReceiptWording
from services.web.texts import Texts

TEXTS: Final = Texts(Path(__file__).parent / "texts")
LOCALES: Final = {"de": "de-CH", "fr": "fr-CH", "it": "it-CH", "en": "en-CH"}
"""How each language is written here: amounts and dates go by the country."""
NAMES: Final = {"de": "Deutsch", "fr": "Français", "it": "Italiano", "en": "English"}


class Wording(ReceiptWording):
    """One language."""

    def __init__(self, language: str, *, zone: str) -> None:
        """`zone` is the IANA name of the time that is shown."""
        super().__init__(language, locale=LOCALES[language], zone=zone)

    def say(self, key: str, **values: str) -> str:
        """Return a text of the pages, or of receipts."""
        return TEXTS.say(self.language, key, **values) if TEXTS.has(key) else super().say(key, **values)

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


def mark_of(*, brand: str, kind: str) -> str:
    """Return the mark that stands beside a method."""
    known = {"visa", "mastercard", "amex", "twint", "sepa_debit"}
    return next((name for name in (brand, kind) if name in known), "card")
