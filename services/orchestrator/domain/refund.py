"""What a refund takes: of which lines, and of each from seller and platform. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from services.shared.split import Shares, Split, spread


class Bearer(StrEnum):
    """At whose cost money goes back."""

    SHARED = "SHARED"
    """Each gives back its share."""
    SELLER = "SELLER"
    """The platform keeps its fee."""
    PLATFORM = "PLATFORM"
    """The seller keeps its part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStanding:
    """What became of one line, as the gateway has it, in minor units."""

    captured_minor: int
    standing_minor: int
    """What of that is shared between seller and platform."""
    refundable_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RefundedLine:
    """What a refund takes of one line, in minor units; all but the gross amount add up to it."""

    line_id: str
    seller_id: str
    gross_minor: int
    shares: Shares
    platform_borne_minor: int = 0
    """What the platform bears, since the seller keeps its part."""


NOTHING = Shares(
    seller_minor=0,
    platform_fee_minor=0,
    fee_vat_minor=0,
    platform_vat_minor=0,
    discounts_funded_minor=0,
    surcharges_minor=0,
    rounding_minor=0,
)


def refundable_minor(lines: Mapping[str, LineStanding], line_ids: Sequence[str]) -> int:
    """Return what can still be given back of some lines."""
    return sum(lines[line_id].refundable_minor for line_id in line_ids)


def allocated(
    amount_minor: int, split: Split, lines: Mapping[str, LineStanding], line_ids: Sequence[str]
) -> dict[str, int]:
    """Return what of an amount falls to each of some lines: in proportion to what is left of each."""
    left = {line_id: lines[line_id].refundable_minor for line_id in line_ids}
    return spread(amount_minor, left, step_minor=split.step_minor)


def taken(
    of_lines: Mapping[str, int], split: Split, lines: Mapping[str, LineStanding], bearer: Bearer
) -> tuple[RefundedLine, ...]:
    """Return what giving back so much of each line takes from whom, in the order of the lines.

    A line that costs nothing stands as far as the whole does, so something of it may go with any other.
    """
    before = {line.line_id: lines[line.line_id].standing_minor for line in split.lines}
    after = {line_id: minor - of_lines.get(line_id, 0) for line_id, minor in before.items()}
    every = (
        RefundedLine(
            line_id=line.line_id,
            seller_id=line.seller_id,
            gross_minor=minor,
            shares=_shares(
                minor, split.shares(line, before), split.shares(line, after), bearer, is_platform=line.is_platform
            ),
            platform_borne_minor=minor if bearer is Bearer.PLATFORM else 0,
        )
        for line in split.lines
        for minor in (of_lines.get(line.line_id, 0),)
    )
    return tuple(one for one in every if one.gross_minor or one.shares != NOTHING)


def _shares(minor: int, before: Shares, after: Shares, bearer: Bearer, *, is_platform: bool) -> Shares:
    if bearer is Bearer.PLATFORM:
        return NOTHING
    if bearer is Bearer.SELLER and not is_platform:
        return replace(NOTHING, seller_minor=minor)
    return Shares(
        seller_minor=before.seller_minor - after.seller_minor,
        platform_fee_minor=before.platform_fee_minor - after.platform_fee_minor,
        fee_vat_minor=before.fee_vat_minor - after.fee_vat_minor,
        platform_vat_minor=before.platform_vat_minor - after.platform_vat_minor,
        discounts_funded_minor=before.discounts_funded_minor - after.discounts_funded_minor,
        surcharges_minor=before.surcharges_minor - after.surcharges_minor,
        rounding_minor=before.rounding_minor - after.rounding_minor,
    )
