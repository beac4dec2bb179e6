"""What a fact's values are in words: amounts and times as people of a locale write them, codes as sentences.

Whatever stands in a value came from outside in the end: it is cut, and has no line breaks or control characters.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from babel import Locale
from babel.dates import format_date, format_time, get_timezone_location

from batzen.cli.money import DIGITS, DIGITS_USUAL
from services.orchestrator.mail.catalogue import Language
from services.shared.locale_format import find_locale, locale_format

VALUE_CHARACTERS_MAX: Final = 200
"""Of a name, a reference or a code; none of ours is longer, and a mail stays readable."""
MINOR: Final = "_minor"
"""Ends the name of a value that is an amount."""
TIME: Final = "_time"
CURRENCY: Final = "currency_code"
OPTIONAL: Final = (
    "action",
    "charge_time",
    "decline_code",
    "disabled_reason",
    "due_time",
    "evidence_due_time",
    "failure_code",
    "fee",
    "inquiry",
    "is_final",
    "method_brand",
    "method_last4",
    "outcome",
    "reason",
)
"""Values that a mail does without; any other that a sentence names has to be there."""

DECLINES: Final[Mapping[str, str]] = {
    "insufficient_funds": "insufficient",
    "withdrawal_count_limit_exceeded": "insufficient",
    "expired_card": "expired",
    "card_not_supported": "unsupported",
    "currency_not_supported": "unsupported",
    "card_velocity_exceeded": "amount",
    "invalid_amount": "amount",
    "authentication_required": "auth",
    "payment_intent_authentication_failure": "auth",
}
"""Decline code → what its payer is told. Of any other, such as a stolen card's, only that the bank declined."""
BRANDS: Final[Mapping[str, str]] = {
    "amex": "American Express",
    "jcb": "JCB",
    "unionpay": "UnionPay",
    "diners": "Diners Club",
}
"""Stripe's word for a card's brand → its name, where that is not the word with a capital."""
DECLINE_OTHERWISE: Final = "bank"


def plain(text: str) -> str:
    """Return `text` on one line, without control characters, its beginning where it is long."""
    line = " ".join("".join(" " if _is_control(one) else one for one in text[: 2 * VALUE_CHARACTERS_MAX]).split())
    return line if len(line) <= VALUE_CHARACTERS_MAX else line[: VALUE_CHARACTERS_MAX - 1] + "…"


def in_words(values: Mapping[str, str], *, language: Language, locale: str, time_zone: str) -> dict[str, str]:
    """Return the values as a mail says them: `amount` of `amount_minor`, and so on.

    Raises ValueError for an amount or a time that is none.
    """
    written = _Written(locale, zone=zone_of(values.get("time_zone", ""), otherwise=time_zone))
    said = dict.fromkeys(OPTIONAL, "")
    for name, value in values.items():
        if name.endswith(MINOR):
            amount = name.removesuffix(MINOR)
            currency = values.get(f"{amount}_{CURRENCY}") or values[CURRENCY]
            said[amount] = written.amount(int(value), currency)
        elif name.endswith(TIME):
            said[name] = written.time(datetime.fromisoformat(value)) if value else ""
        else:
            said[name] = plain(value)
    decline = DECLINES.get(said["decline_code"], DECLINE_OTHERWISE)
    said["decline_in_words"] = language.declines[decline] if said["decline_code"] else ""
    said["method_in_words"] = _method(said["method_brand"], said["method_last4"])
    said["reason_in_words"] = language.dispute_reasons.get(said["reason"], "")
    return said


def _method(brand: str, last4: str) -> str:
    return f"{BRANDS.get(brand, brand.capitalize())} •••• {last4}".strip() if last4 else ""


class _Written:
    """Amounts and times as one locale writes them."""

    def __init__(self, locale: str, *, zone: ZoneInfo) -> None:
        self._locale = locale.lower()
        self._zone = zone
        found = find_locale(self._locale)
        if found is None:
            raise ValueError(f"{locale} is no locale that CLDR describes")
        self._found: Locale = found

    def amount(self, amount_minor: int, currency: str) -> str:
        """Return it with its currency, with all of the currency's digits."""
        digits = DIGITS.get(currency, DIGITS_USUAL)
        return locale_format(self._locale, currency_code=currency, digits=digits).amount(amount_minor)

    def time(self, moment: datetime) -> str:
        """Return its day and minute, and the place whose clock says so: 29. November 2026, 13:05 (Zürich)."""
        local = moment.astimezone(self._zone)
        place = "UTC" if self._zone.key == "UTC" else get_timezone_location(local, self._found, return_city=True)
        day, minute = format_date(local, "long", self._found), format_time(local, "short", self._zone, self._found)
        return f"{day}, {minute} ({place})"


def zone_of(name: str, *, otherwise: str = "UTC") -> ZoneInfo:
    """Return a time zone by its name; UTC where there is none of that name."""
    try:
        return ZoneInfo(name or otherwise)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # the folder of a continent is no zone
        return ZoneInfo("UTC")


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
