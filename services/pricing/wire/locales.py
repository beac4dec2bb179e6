"""The locales that a quote's amounts are written in: known ones, and not too many."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from services.errors import FieldInvalid
from services.pricing.domain.errors import LocaleUnknown
from services.shared.locale_format import LocaleFormat, find_locale, locale_format

LOCALES_MAX: Final = 10
"""Of one quote, whose every row is written in each."""


def require_locales(locales: Sequence[str]) -> tuple[str, ...]:
    """Return the locales; raise `FieldInvalid` or `LocaleUnknown` at the first that is too much, twice or unknown."""
    if len(locales) > LOCALES_MAX:
        raise FieldInvalid(field="locales", detail=f"must be at most {LOCALES_MAX}")
    seen: set[str] = set()
    for index, locale in enumerate(locales):
        if locale.lower() in seen:
            raise FieldInvalid(field=f"locales[{index}]", detail="must stand there once")
        seen.add(locale.lower())
        if find_locale(locale.lower()) is None:
            raise LocaleUnknown(field=f"locales[{index}]")
    return tuple(locales)


def formats_of(locales: Iterable[str], *, currency_code: str, digits: int) -> Mapping[str, LocaleFormat]:
    """Return how each of the locales, which are known ones, writes amounts of a currency with so many digits."""
    return {locale: locale_format(locale.lower(), currency_code=currency_code, digits=digits) for locale in locales}
