"""How what a payer pays is split: line by line, between sellers and platform; and what of a part of it falls to whom.

The split comes from the quote. A part of the whole never has a split of its own: what falls to whom follows from how
much of each line stands, that is, was captured and has not gone back. So whoever computes it, in whatever order things
happened, comes to the same, and all of a line gives exactly the quote's figures.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class LinePart:
    """One line of a quote, in minor units: its gross amount is the sum of the others, less the discounts."""

    line_id: str
    seller_id: str
    gross_minor: int
    """What the payer pays for it."""
    seller_minor: int
    """What is due to its seller; of the platform's own goods, what is the platform's income."""
    platform_fee_minor: int = 0
    """The platform's fee without VAT."""
    fee_vat_minor: int = 0
    """VAT on the fee."""
    fee_vat_country: str = ""
    platform_vat_minor: int = 0
    """VAT on the line that the platform owes."""
    vat_country: str = ""
    vat_minor: int = 0
    """All VAT on the line, whoever owes it; no part of the sum."""
    discounts_funded_minor: int = 0
    """What the platform adds for its own discounts, so that the seller gets its due."""
    surcharges_minor: int = 0
    """What the platform's own surcharges put on."""
    rounding_minor: int = 0
    """What rounding to cash put on, or took off."""
    is_platform: bool = False
    """The platform's own goods: no transfer, no fee."""

    @property
    def platform_minor(self) -> int:
        """What the platform keeps of the gross amount; below 0 where it adds more than it takes."""
        return self.gross_minor - self.seller_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class LineAmount:
    """An amount of one line, in minor units."""

    line_id: str
    amount_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What of an amount of one line falls to whom; the fields are those of `LinePart`, and so is their sum."""

    seller_minor: int
    platform_fee_minor: int
    fee_vat_minor: int
    platform_vat_minor: int
    discounts_funded_minor: int
    surcharges_minor: int
    rounding_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """How a charge is split. The gross amounts of its lines add up to what is charged."""

    lines: tuple[LinePart, ...]
    step_minor: int = 1
    """Amounts of the currency are multiples of this many minor units."""

    @property
    def total_minor(self) -> int:
        """What is charged."""
        return sum(line.gross_minor for line in self.lines)

    @property
    def seller_ids(self) -> tuple[str, ...]:
        """The sellers, without the platform itself, in the order of their lines."""
        return tuple(dict.fromkeys(line.seller_id for line in self.lines if not line.is_platform))

    def of_amount(self, amount_minor: int) -> dict[str, int]:
        """Return what of an amount falls to each line: of the first amount that is captured, say, by largest remainder.

        What is more than the total is of no line.
        """
        return spread(amount_minor, {line.line_id: line.gross_minor for line in self.lines}, step_minor=self.step_minor)

    def seller_minor(self, line: LinePart, standing: Mapping[str, int]) -> int:
        """Return what is due to the seller of a line while so much of each line stands.

        What the platform keeps is rounded half up, so that what both have is exactly what stands. It never falls while
        more stands. A line that costs nothing stands as far as the whole does.
        """
        return standing[line.line_id] - self._platform_minor(line, standing)

    def shares(self, line: LinePart, standing: Mapping[str, int]) -> Shares:
        """Return what falls to whom of a line while so much of each line stands.

        What the platform keeps is divided by largest remainder, in the order of the fields.
        """
        kept, step = self._platform_minor(line, standing), self.step_minor
        parts = (
            line.platform_fee_minor,
            line.fee_vat_minor,
            line.platform_vat_minor,
            -line.discounts_funded_minor,
            line.surcharges_minor,
            line.rounding_minor,
        )
        units = _divided(kept // step, [part // step for part in parts], *self._fraction(line, standing))
        fee, fee_vat, vat, funded, surcharges, rounding = (unit * step for unit in units)
        return Shares(
            seller_minor=standing[line.line_id] - kept,
            platform_fee_minor=fee,
            fee_vat_minor=fee_vat,
            platform_vat_minor=vat,
            discounts_funded_minor=-funded,
            surcharges_minor=surcharges,
            rounding_minor=rounding,
        )

    def _platform_minor(self, line: LinePart, standing: Mapping[str, int]) -> int:
        stands, whole = self._fraction(line, standing)
        if whole == 0:
            return 0
        step = self.step_minor
        return step * ((2 * (line.platform_minor // step) * stands + whole) // (2 * whole))

    def _fraction(self, line: LinePart, standing: Mapping[str, int]) -> tuple[int, int]:
        """Return how much stands, of how much."""
        if line.gross_minor:
            return standing[line.line_id], line.gross_minor
        return sum(standing[one.line_id] for one in self.lines), self.total_minor


def of_fee(seller_id: str, *, amount_minor: int, fee_minor: int) -> Split:
    """Return the split of a charge of which nothing is known but its seller and what the platform keeps."""
    line = LinePart(
        line_id="",
        seller_id=seller_id,
        gross_minor=amount_minor,
        seller_minor=amount_minor - fee_minor,
        platform_fee_minor=fee_minor,
    )
    return Split(lines=(line,))


def with_total(split: Split, total_minor: int) -> Split:
    """Return the split so that it adds up to what is charged: what rounding to cash adds is the first line's."""
    first, *others = split.lines
    added = total_minor - split.total_minor
    rounded = replace(first, gross_minor=first.gross_minor + added, rounding_minor=first.rounding_minor + added)
    return replace(split, lines=(rounded, *others))


def spread(amount_minor: int, weights: Mapping[str, int], *, step_minor: int = 1) -> dict[str, int]:
    """Return what of an amount falls to each, by largest remainder, the earlier of equal ones first.

    Spread over what is left of each, amounts that add up to the whole take from each exactly what it had. What is more
    than all of them is of none.
    """
    minor = min(amount_minor, sum(weights.values()))
    units = in_proportion(minor // step_minor, [weight // step_minor for weight in weights.values()])
    return {key: unit * step_minor for key, unit in zip(weights, units, strict=True)}


def amounts_of(spread_minor: Mapping[str, int]) -> tuple[LineAmount, ...]:
    """Return what is spread as it is kept: lines that got nothing are left out."""
    return tuple(LineAmount(line_id=key, amount_minor=minor) for key, minor in spread_minor.items() if minor)


def added(before: Iterable[LineAmount], more: Iterable[LineAmount]) -> tuple[LineAmount, ...]:
    """Return the sums of amounts, line by line."""
    sums: dict[str, int] = {}
    for one in (*before, *more):
        sums[one.line_id] = sums.get(one.line_id, 0) + one.amount_minor
    return amounts_of(sums)


def in_proportion(amount_minor: int, weights: Sequence[int]) -> list[int]:
    """Return what of an amount, at most the sum of the weights, falls to each weight, by largest remainder.

    The largest remainders are rounded up, the earlier of equal ones first.
    """
    whole = sum(weights)
    if not 0 <= amount_minor <= whole:
        raise ValueError("more than is left of the parts")
    if whole == 0:
        return [0 for _ in weights]
    shares = [amount_minor * one // whole for one in weights]
    by_remainder = sorted(range(len(weights)), key=lambda place: -(amount_minor * weights[place] % whole))
    for place in by_remainder[: amount_minor - sum(shares)]:
        shares[place] += 1
    return shares


def _divided(amount_minor: int, parts: Sequence[int], stands: int, whole: int) -> list[int]:
    """Return what of an amount falls to each of signed parts, by largest remainder: all of it when all stands."""
    if whole == 0:
        return [0 for _ in parts]
    shares = [part * stands // whole for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda place: -(parts[place] * stands % whole))
    for place in by_remainder[: amount_minor - sum(shares)]:
        shares[place] += 1
    return shares
