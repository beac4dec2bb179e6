"""What a hosted page lists of a quote: rows that sum to its total to the unit. Pure.

Stripe has no negative rows. So a discount is no row of its own: it is taken off the lines that it lowers, by what the
quote says of each, and named there. What a line cannot bear, since a surcharge on it was lowered, too, is taken off the
other rows by largest remainder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

LINES_MAX: Final = 100
"""As many as Stripe lists on a page. What is beyond is one row."""
NAME_CHARACTERS_MAX: Final = 250
DESCRIPTION_CHARACTERS_MAX: Final = 500
"""Of one row, at the gateway."""


class RowKind(StrEnum):
    """What a row of a quote is that its payer pays for."""

    LINE = "LINE"
    ADJUSTMENT = "ADJUSTMENT"
    VAT = "VAT"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """A row of a quote that its payer is shown."""

    kind: RowKind
    amount_minor: int
    """Negative for a discount."""
    is_included: bool = True
    """It adds to the total, as VAT that prices hold already does not."""
    line_id: str = ""
    """Of a line."""
    quantity: str = ""
    """Of a line."""
    rate_percent: str = ""
    """Of VAT."""
    name: str = ""
    """Of an adjustment: its coupon's code; empty where it has none."""
    shares: Mapping[str, int] = field(default_factory=dict)
    """Of an adjustment: what it changes of each line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckoutLine:
    """A row of a hosted page."""

    name: str
    amount_minor: int
    description: str = ""


def checkout_lines(
    rows: Sequence[PriceRow], total_minor: int, *, name: str, step_minor: int = 1
) -> tuple[CheckoutLine, ...]:
    """Return the rows of a page that collects `total_minor`, each a multiple of `step_minor`; none is negative."""
    shown = [row for row in rows if row.is_included and row.amount_minor > 0]
    amounts = [row.amount_minor for row in shown]
    lowered: dict[str, list[str]] = {}
    for discount in (row for row in rows if row.amount_minor < 0):
        _fold(discount, shown, amounts, lowered)
    others_minor = total_minor - sum(amounts)
    if others_minor < 0:
        amounts = [amount - less for amount, less in zip(amounts, spread(-others_minor, amounts), strict=True)]
    lines = [
        CheckoutLine(name=_name(row, name), amount_minor=amount, description=_description(row, lowered))
        for row, amount in zip(shown, amounts, strict=True)
    ]
    if others_minor > 0:
        lines.append(CheckoutLine(name="Rounding", amount_minor=others_minor))
    return _in_steps(_at_most([line for line in lines if line.amount_minor], LINES_MAX), step_minor)


def spread(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Return an amount spread by weights that sum to as much at least, none getting more than its weight.

    The largest remainders are rounded up, the earlier of equal ones first.
    """
    whole = sum(weights)
    if not 0 <= amount_minor <= whole:
        raise ValueError("more than the weights can bear")
    if not whole:
        return [0 for _ in weights]
    shares = [amount_minor * weight // whole for weight in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -(amount_minor * weights[place] % whole))
    for place in by_remainder[: amount_minor - sum(shares)]:
        shares[place] += 1
    return shares


def _fold(discount: PriceRow, shown: Sequence[PriceRow], amounts: list[int], lowered: dict[str, list[str]]) -> None:
    """Take a discount off the lines that it lowers, as far as each can bear it."""
    for place, row in enumerate(shown):
        share = -discount.shares.get(row.line_id, 0) if row.kind is RowKind.LINE else 0
        if share > 0:
            amounts[place] -= min(share, amounts[place])
            lowered.setdefault(row.line_id, []).append(discount.name)


def _name(row: PriceRow, name: str) -> str:
    if row.kind is RowKind.VAT:
        return f"VAT {row.rate_percent} %"
    if row.kind is RowKind.ADJUSTMENT:
        return f"Surcharge {row.name}".strip()
    return (name if row.quantity in ("", "1") else f"{row.quantity} × {name}")[:NAME_CHARACTERS_MAX]


def _description(row: PriceRow, lowered: Mapping[str, Sequence[str]]) -> str:
    """Name what lowered a line, which has no row of its own."""
    if row.kind is not RowKind.LINE or row.line_id not in lowered:
        return ""
    names = ", ".join(dict.fromkeys(name or "a discount" for name in lowered[row.line_id]))
    return f"After {names}"[:DESCRIPTION_CHARACTERS_MAX]


def _at_most(lines: list[CheckoutLine], count: int) -> list[CheckoutLine]:
    """Put what does not fit into one row."""
    if len(lines) <= count:
        return lines
    rest = lines[count - 1 :]
    return [
        *lines[: count - 1],
        CheckoutLine(name=f"{len(rest)} more", amount_minor=sum(line.amount_minor for line in rest)),
    ]


def _in_steps(lines: list[CheckoutLine], step_minor: int) -> tuple[CheckoutLine, ...]:
    """Return the lines so that each is a whole number of steps, as the sum of all is."""
    if step_minor == 1:
        return tuple(lines)
    total_minor = sum(line.amount_minor for line in lines)
    steps = spread(total_minor // step_minor, [line.amount_minor for line in lines])
    in_steps = (
        CheckoutLine(name=line.name, amount_minor=count * step_minor, description=line.description)
        for line, count in zip(lines, steps, strict=True)
    )
    return tuple(line for line in in_steps if line.amount_minor)
