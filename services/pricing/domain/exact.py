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
from services.pricing.domain.errors import AmountOverflow, DecimalInvalid, DecimalPrecision
from services.pricing.domain.word import Word
from services.shared.amounts import AMOUNT_MINOR_MAX

DECIMAL_CHARACTERS_MAX = 32
"""Longer than any decimal a field allows; keeps a megabyte of digits from being parsed."""

_PLAIN_DECIMAL = re.compile(r"-?[0-9]+(?:\.([0-9]+))?")


class RoundingMode(Word):
    """How halves are rounded."""

    HALF_UP = "half up"
    """Away from zero."""
    HALF_EVEN = "half even"
    """To the even neighbour, counted in steps."""


class RoundingPoint(Word):
    """Where VAT is rounded."""

    PER_LINE = "per line"
    PER_TOTAL = "per total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How the amounts of one quote are rounded."""

    point: RoundingPoint = RoundingPoint.PER_LINE
    mode: RoundingMode = RoundingMode.HALF_UP
    step_minor: int = 1
    """Of the currency: every amount that is rounded, and so every sum of them, is a multiple of it."""


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


def round_ratio(numerator: int, *, denominator: int, rounding: Rounding) -> int:
    """Return `numerator` / `denominator`, which is above 0, rounded once, to a multiple of the step."""
    step = rounding.step_minor
    unit = denominator * step
    if unit == 1:
        return numerator
    steps, remainder = divmod(abs(numerator), unit)
    twice = 2 * remainder
    if twice > unit or (twice == unit and (rounding.mode is RoundingMode.HALF_UP or steps % 2)):
        steps += 1
    return steps * step if numerator >= 0 else -steps * step


def require_amount(amount: int, *, field: str) -> int:
    """Return the amount, in minor units, or raise `AmountOverflow` at `field`."""
    if -AMOUNT_MINOR_MAX <= amount <= AMOUNT_MINOR_MAX:
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


def allocate(amount: int, *, weights: Sequence[int], keys: Sequence[str], step_minor: int) -> list[int]:
    """Spread `amount` over parts in proportion to their weights, none below 0; the shares sum to it exactly.

    The amount is a multiple of the step, and so is each share. What the division leaves goes, one step each, to the
    largest remainders, ties in the order of the keys. Parts that weigh nothing together share alike. Where the weights
    are multiples of the step too, no share of an amount within their sum is more than its weight.
    """
    if not any(weights):
        weights = [1] * len(keys)
    whole = sum(weights)
    steps = abs(amount) // step_minor
    shares, remainders = zip(*(divmod(steps * weight, whole) for weight in weights), strict=True)
    left = steps - sum(shares)
    order = sorted(range(len(keys)), key=lambda index: (-remainders[index], keys[index]))
    favoured = set(order[:left])
    step = step_minor if amount >= 0 else -step_minor
    return [step * (share + (index in favoured)) for index, share in enumerate(shares)]
