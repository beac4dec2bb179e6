"""What of each refund and dispute falls to which line, by rules of its own and not by the gateway's.

What was refunded here is as it was decided. All else falls in the order in which it was taken, in proportion to what
was left of each line then, and never of what was decided about.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

DECIDED, DASHBOARD, DISPUTE = 0, 1, 2
"""Of one second, in this order."""
Lines = dict[str, int]


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one refund or dispute took."""

    time: datetime
    kind: int
    of: str
    minor: int
    decided: Mapping[str, int]
    """Of one that was decided here."""


def since(balance_transactions: Sequence[Mapping[str, Any]]) -> int:
    """Return when a dispute took what it has: after all of it was given back it may have taken it once more."""
    out, time = 0, 0
    for one in sorted(balance_transactions, key=lambda each: each["created"]):
        time = time if out > 0 else one["created"]
        out -= one["amount"]
    return time


def falls(captured: Mapping[str, int], found: Iterable[Took]) -> dict[str, Lines]:
    """Return what of each falls to each line, given what was captured of each."""
    taken = sorted(found, key=lambda one: (one.time, one.kind, one.of))
    parts: dict[str, Lines] = {}
    for place, one in enumerate(taken):
        before = [parts[each.of] for each in taken[:place]]
        later = [each.decided for each in taken[place + 1 :]]
        then = {key: max(0, minor - _of(key, before)) for key, minor in captured.items()}
        free = {key: max(0, minor - _of(key, later)) for key, minor in then.items()}
        if one.kind == DECIDED:
            # Only what no line had room for then may fall to none; and none may be given more than it has.
            assert all(one.decided.get(key, 0) <= minor for key, minor in then.items())
            parts[one.of] = dict(one.decided)
            given = sum(one.decided.values())
            assert given == one.minor or given == min(one.minor, sum(free.values())), (one, free)
            continue
        fits = {key: min(minor, free[key]) for key, minor in _divided(one.minor, then).items()}
        rest = _divided(one.minor - sum(fits.values()), {key: free[key] - minor for key, minor in fits.items()})
        parts[one.of] = {key: minor + rest[key] for key, minor in fits.items() if minor + rest[key]}
    return parts


def _of(line_id: str, parts: Iterable[Mapping[str, int]]) -> int:
    return sum(one.get(line_id, 0) for one in parts)


def _divided(minor: int, weights: Mapping[str, int]) -> Lines:
    """Return so much, or all there is, by largest remainder; of equal ones the first first."""
    whole = sum(weights.values())
    exact = {key: Fraction(min(minor, whole) * weight, max(1, whole)) for key, weight in weights.items()}
    units = {key: int(share) for key, share in exact.items()}
    by_remainder = sorted(weights, key=lambda key: units[key] - exact[key])
    for key in by_remainder[: min(minor, whole) - sum(units.values())]:
        units[key] += 1
    return units
