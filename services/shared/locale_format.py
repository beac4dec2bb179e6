"""Writes amounts and percentages as people of a locale do. The patterns and signs are CLDR's, read through Babel.

How many digits follow the point is ours to say: CLDR drops those that are rarely used (10.50 ALL would read 10), and an
amount on display must be the amount that is paid. Digits are always 0 to 9, so every display string reads back.

The first use of a locale reads its data from disk, some 10 ms; Babel keeps it, a fifth of a megabyte each.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from babel import Locale, UnknownLocaleError
from babel.numbers import NumberPattern, get_currency_symbol

FORMATS_MAX: Final = 2_000
"""Locales × currencies that are kept ready, about 1 KB each; the least used leaves."""

_LOCALE = re.compile(
    r"(?!und\b)[a-z]{2,3}"  # a language, which `und` is not
    r"(-[a-z]{4})?(-([a-z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))?",  # script, region, variant
    re.IGNORECASE,
)
_LATIN_DIGITS: Final = "latn"
_NO_BREAK_SPACE: Final = "\N{NO-BREAK SPACE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberFormat:
    """How a locale writes numbers of one kind: what stands around the digits, and what between them."""

    positive: tuple[str, str]
    """In front of the digits and behind them."""
    negative: tuple[str, str]
    decimal: str
    group: str
    group_sizes: tuple[int, int]
    """Of the last group before the point, and of those before it."""

    def write(self, whole: str, *, fraction: str, negative: bool) -> str:
        """Return the number of these digits."""
        size, further = self.group_sizes
        groups: list[str] = []
        while len(whole) > size:
            groups.append(whole[-size:])
            whole = whole[:-size]
            size = further
        groups.append(whole)
        prefix, suffix = self.negative if negative else self.positive
        number = self.group.join(reversed(groups))
        return f"{prefix}{number}{self.decimal}{fraction}{suffix}" if fraction else f"{prefix}{number}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocaleFormat:
    """How a locale writes amounts of one currency, and percentages."""

    digits: int
    """After the point, as ISO 4217 has it."""
    amounts: NumberFormat
    percentages: NumberFormat

    def amount(self, amount_minor: int) -> str:
        """Return the amount, given in minor units, with its currency."""
        text = str(abs(amount_minor)).zfill(self.digits + 1)
        point = len(text) - self.digits
        return self.amounts.write(text[:point], fraction=text[point:], negative=amount_minor < 0)

    def percent(self, text: str) -> str:
        """Return the percentage, given as a plain decimal of at least 0, with all of its digits."""
        whole, _, fraction = text.partition(".")
        return self.percentages.write(whole, fraction=fraction, negative=False)


@lru_cache(maxsize=FORMATS_MAX)
def find_locale(locale: str) -> Locale | None:
    """Return the nearest locale that CLDR describes, None if there is none: without its last subtags if need be, of the
    same language.
    """
    if _LOCALE.fullmatch(locale) is None:
        return None
    subtags = locale.split("-")
    while subtags:
        try:
            return Locale.parse("-".join(subtags), sep="-")
        except UnknownLocaleError:
            subtags.pop()
    return None


@lru_cache(maxsize=FORMATS_MAX)
def locale_format(locale: str, *, currency_code: str, digits: int) -> LocaleFormat:
    """Return how a locale that `find_locale` finds writes amounts of a currency with so many digits."""
    found = find_locale(locale)
    if found is None:
        raise ValueError(f"{locale} is no locale that CLDR describes")
    signs = found.number_symbols[_LATIN_DIGITS]
    symbol = get_currency_symbol(currency_code, found)
    if not any(unicodedata.category(character)[0] in "LNPS" for character in symbol):
        symbol = currency_code  # what CLDR has cannot be seen: the escudo's sign stands where the point should
    return LocaleFormat(
        digits=digits,
        amounts=_number_format(
            found.currency_formats["standard"],
            decimal=signs.get("currencyDecimal", signs["decimal"]),
            group=signs.get("currencyGroup", signs["group"]),
            signs={"¤": symbol, "-": signs["minusSign"]},
        ),
        percentages=_number_format(
            found.percent_formats[None],
            decimal=signs["decimal"],
            group=signs["group"],
            signs={"%": signs["percentSign"], "-": signs["minusSign"]},
        ),
    )


def _number_format(pattern: NumberPattern, *, decimal: str, group: str, signs: Mapping[str, str]) -> NumberFormat:
    (prefix, negative_prefix), (suffix, negative_suffix) = pattern.prefix, pattern.suffix
    return NumberFormat(
        positive=_affixes(prefix, suffix=suffix, signs=signs),
        negative=_affixes(negative_prefix, suffix=negative_suffix, signs=signs),
        decimal=decimal,
        group=group,
        group_sizes=pattern.grouping,
    )


def _affixes(prefix: str, *, suffix: str, signs: Mapping[str, str]) -> tuple[str, str]:
    """Return what stands around the digits, with a space where letters would touch them: KWD 1.234, not KWD1.234.

    CLDR asks for that space (`currencySpacing`); Babel does not put it.
    """
    symbol = signs.get("¤", "")
    if prefix.endswith("¤") and _is_text(symbol[-1]):
        prefix += _NO_BREAK_SPACE
    if suffix.startswith("¤") and _is_text(symbol[0]):
        suffix = _NO_BREAK_SPACE + suffix
    return _with_signs(prefix, signs), _with_signs(suffix, signs)


def _is_text(character: str) -> bool:
    """Tell whether it is neither a sign such as € nor a space."""
    return unicodedata.category(character)[0] not in "SZ"


def _with_signs(affix: str, signs: Mapping[str, str]) -> str:
    return "".join(signs.get(character, character) for character in affix)
