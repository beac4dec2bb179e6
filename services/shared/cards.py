"""Finds payment cards' numbers in text, however they are written.

Digits of any script count, in whatever form (full-width, circled), and whatever stands between them that is neither
letter nor digit is looked through: blanks of every kind, dots, dashes, slashes, characters of no width. A number has to
have its brand's prefix and one of its lengths, and to pass Luhn's check, so that what merely has many digits is let
through: a moment (`20261128090407`, nanoseconds too), a UUID, an id of ours.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import accumulate
from typing import Final, NamedTuple
from urllib.parse import unquote, unquote_to_bytes


class _Brand(NamedTuple):
    """Numbers that begin with `first` to `last`, both with as many digits, and have one of the `lengths`."""

    first: str
    last: str
    lengths: frozenset[int]


def _lengths(*lengths: int) -> frozenset[int]:
    return frozenset(lengths)


_LONG: Final = frozenset(range(16, 20))

BRANDS: Final = (
    _Brand("4", "4", _lengths(13, 16, 19)),  # Visa
    _Brand("51", "55", _lengths(16)),  # Mastercard
    _Brand("2221", "2720", _lengths(16)),  # Mastercard
    _Brand("34", "34", _lengths(15)),  # American Express
    _Brand("37", "37", _lengths(15)),  # American Express
    _Brand("300", "305", _lengths(14, 16)),  # Diners Club
    _Brand("36", "36", _lengths(14, 16)),  # Diners Club
    _Brand("38", "39", _lengths(14, 16)),  # Diners Club
    _Brand("3528", "3589", _LONG),  # JCB
    _Brand("60", "60", _LONG),  # Discover, RuPay
    _Brand("62", "62", _LONG),  # UnionPay
    _Brand("64", "65", _LONG),  # Discover, RuPay
    _Brand("81", "81", _LONG),  # UnionPay, RuPay
    _Brand("2200", "2204", _lengths(16)),  # Mir
    _Brand("50", "50", _LONG),  # Maestro, Verve
    _Brand("56", "58", _LONG),  # Maestro
    _Brand("61", "61", _LONG),  # Maestro
    _Brand("63", "63", _LONG),  # Maestro
    _Brand("66", "69", _LONG),  # Maestro
    # Maestro's that were given out in every length; others of 12 to 15 digits look like telephone numbers.
    *(
        _Brand(prefix, prefix, frozenset(range(12, 20)))
        for prefix in ("5018", "5020", "5038", "5893", "6304", "6759", "6761", "6762", "6763")
    ),
)
"""No brand begins with 19 or 20, as the years do, nor with 17 or 18, as seconds and their parts since 1970 do."""

_LENGTHS: Final = {
    str(prefix): frozenset(
        length
        for brand in BRANDS
        if brand.first <= str(prefix)[: len(brand.first)] <= brand.last
        for length in brand.lengths
    )
    for prefix in range(1000, 10_000)
}
"""The first four digits → how long a number that begins so may be."""

DIGITS_MIN: Final = min(min(brand.lengths) for brand in BRANDS)
DIGITS_MAX: Final = max(max(brand.lengths) for brand in BRANDS)
WITHHELD: Final = "(withheld: it looked like a card number)"
_ALONE_BELOW: Final = 14
"""Shorter ones count only if no further digits stand beside them: too many parts of other numbers look like them."""

_BETWEEN: Final = r"[\W_\u115f\u1160]"
"""Whatever is no letter and no digit; the two letters are Hangul's that are not seen."""
_RUN: Final = re.compile(rf"\d(?:{_BETWEEN}*+\d)++")
_GROUP: Final = re.compile(r"\d++")
_ENOUGH_DIGITS: Final = re.compile(rf"(?:\d\D*+){{{DIGITS_MIN}}}")
_TOO_LONG: Final = re.compile(rf"\d{{{DIGITS_MAX + 1},}}+")
"""Digits that are more than any card's without a separator: no part of them is one."""
_HEX: Final = re.compile(
    r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|(?<![0-9a-z])[0-9a-f]{32,}+(?![0-9a-z])",
    re.IGNORECASE,
)
"""A UUID or a digest: mostly digits, and no card's as long as there is a letter among them."""
_MOMENT: Final = re.compile(
    r"(?<!\d)(?:"
    r"(?:19|20)\d\d(?P<one>[-./ ])(?:0?[1-9]|1[0-2])(?P=one)(?:0?[1-9]|[12]\d|3[01])"
    r"|(?:0?[1-9]|[12]\d|3[01])(?P<two>[-./ ])(?:0?[1-9]|[12]\d|3[01])(?P=two)(?:19|20)\d\d"
    r"|(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d)?"
    r")(?!\d)"
)
"""A date or a time of day, written with separators: what stands on both sides of it belongs to two numbers."""
_LETTER: Final = re.compile(r"[A-Fa-f]")
_DIGITISH: Final = b"0123456789" + bytes(range(0x80, 0x100))
"""Bytes of UTF-8 that are a digit or may be a part of one."""
_LETTERS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TO_KINDS: Final = bytes.maketrans(_DIGITISH + _LETTERS, b"1" * len(_DIGITISH) + b"a" * len(_LETTERS))
_SEPARATORS: Final = bytes(set(range(0x80)) - set(_DIGITISH) - set(_LETTERS))
_ENOUGH: Final = b"1" * DIGITS_MIN


def may_hold_card_number(encoded: bytes) -> bool:
    """Whether UTF-8 text, or bytes with such text in them, has so many digits in a row that a closer look is worth it.

    Takes about a microsecond for a thousand bytes, whatever they are.
    """
    if _ENOUGH in encoded.translate(_TO_KINDS, _SEPARATORS):
        return True
    return b"%" in encoded and _ENOUGH in unquote_to_bytes(encoded).translate(_TO_KINDS, _SEPARATORS)


def holds_card_number(text: str) -> bool:
    """Whether some of `text` passes for the number of a card."""
    return any(map(is_card_number_in, digits_in(text)))


def without_card_numbers(text: str) -> str:
    """Return `text`, or that it is withheld if it holds what passes for a card's number."""
    return WITHHELD if holds_card_number(text) else text


def digits_in(text: str) -> list[list[str]]:
    """Return the digits of `text` that may be a card's number: all with nothing but separators between, in groups."""
    if not may_hold_card_number(text.encode("utf-8", "surrogatepass")):
        return []
    found = [*_runs(unquote(text)), *_runs(text)] if "%" in text else _runs(text)
    return [groups for groups in found if sum(map(len, groups)) >= DIGITS_MIN]


def _runs(text: str) -> list[list[str]]:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not _ENOUGH_DIGITS.search(text):
        return []
    text = _HEX.sub(lambda found: "x" if _LETTER.search(found.group()) else found.group(), text)
    text = _TOO_LONG.sub("x", _MOMENT.sub("x", text))
    return [_GROUP.findall(run) for run in _RUN.findall(text)]


def is_card_number_in(groups: list[str]) -> bool:
    """Whether digits in a row, with nothing but separators between the groups, hold a number of whole groups."""
    joined = "".join(groups)
    if not joined.isascii():
        joined = "".join(str(int(digit)) for digit in joined)
    ends = set(accumulate(map(len, groups)))
    starts = [0, *accumulate(map(len, groups[:-1]))]
    parts = [
        (start, start + length)
        for start in starts
        for length in _LENGTHS.get(joined[start : start + 4], ())
        if start + length in ends and (length >= _ALONE_BELOW or length == len(joined))
    ]
    if not parts:
        return False
    # Luhn's sum of any part is a difference of two of these: of those whose last digit is at an odd or an even place.
    digits = [int(digit) for digit in joined]
    sums = [
        [0, *accumulate(digit if place % 2 == parity else _DOUBLED[digit] for place, digit in enumerate(digits))]
        for parity in (0, 1)
    ]
    return any((sums[(end - 1) % 2][end] - sums[(end - 1) % 2][start]) % 10 == 0 for start, end in parts)


_DOUBLED: Final = tuple(2 * digit - 9 if digit > 4 else 2 * digit for digit in range(10))
