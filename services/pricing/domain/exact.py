"""Exact numbers: integers for money, ratios of integers for rates, decimal strings from outside. Never a float.

Amounts are `int` in the currency's minor unit. A ratio is computed in whole numbers of any size and rounded once, so no
result depends on the precision of a `decimal` context.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from services.errors import FieldMissing

from .errors import AmountOverflow, DecimalInvalid, DecimalPrecision
from .word import Word

INT64_MAX = 2**63 - 1
"""The largest amount that the contract can carry, in minor units."""

DECIMAL_CHARACTERS_MAX = 32
"""Longer than any decimal a field allows; keeps a megabyte of digits from being parsed."""

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(?:\.([0-9]+))?")


class RoundingMode(Word):
    """How halves are rounded."""

    HALF_UP = "half up"
    """Away from zero."""
    HALF_EVEN = "half even"
    """To the even neighbour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Percent:
    """A percentage, with the exact ratio it stands for: 8.1 is 81 / 1000."""

    text: str
    """The plain decimal."""
    numerator: int
    denominator: int

    @classmethod
    def of(cls, value: Decimal) -> Percent:
        """Take a finite decimal, in percent."""
        ratio = Fraction(value) / 100
        return cls(text=f"{value:f}", numerator=ratio.numerator, denominator=ratio.denominator)

    def __str__(self) -> str:
        return self.text


def round_ratio(numerator: int, *, denominator: int, mode: RoundingMode) -> int:
    """Return `numerator` / `denominator`, which is above 0, rounded to a whole number."""
    if denominator == 1:
        return numerator
    quotient, remainder = divmod(abs(numerator), denominator)
    twice = 2 * remainder
    if twice > denominator or (twice == denominator and (mode is RoundingMode.HALF_UP or quotient % 2)):
        quotient += 1
    return quotient if numerator >= 0 else -quotient


def require_int64(amount: int, *, field: str) -> int:
    """Return the amount, in minor units, or raise `AmountOverflow` at `field`."""
    if -INT64_MAX <= amount <= INT64_MAX:
        return amount
    raise AmountOverflow(field=field)


def parse_decimal(text: str, *, field: str, fraction_digits_max: int) -> Decimal:
    """Read a plain decimal; the caller checks its range.

    Raises `FieldMissing`, `DecimalInvalid` or `DecimalPrecision` at `field`.
    """
    if not text:
        raise FieldMissing(field=field)
    match = _PLAIN_DECIMAL.fullmatch(text)
    if match is None:
        raise DecimalInvalid(field=field)
    if len(text) > DECIMAL_CHARACTERS_MAX or len(match[1] or "") > fraction_digits_max:
        raise DecimalPrecision(field=field, fraction_digits_max=fraction_digits_max)
    return Decimal(text)


def allocate(amount: int, *, weights: Sequence[int], keys: Sequence[str]) -> list[int]:
    """Spread `amount` over parts in proportion to their weights, none below 0; the shares sum to it exactly.

    What the division leaves goes, one unit each, to the largest remainders, ties in the order of the keys. Parts that
    weigh nothing together share alike.
    """
    if not any(weights):
        weights = [1] * len(keys)
    whole = sum(weights)
    shares, remainders = zip(*(divmod(abs(amount) * weight, whole) for weight in weights), strict=True)
    left = abs(amount) - sum(shares)
    order = sorted(range(len(keys)), key=lambda index: (-remainders[index], keys[index]))
    favoured = set(order[:left])
    sign = 1 if amount >= 0 else -1
    return [sign * (share + (index in favoured)) for index, share in enumerate(shares)]
