"""What a move of a payment adds to which figures, and what figures say together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

from services.orchestrator.facts.rules import Move, Seen
from services.shared.split import Split
from services.shared.states import State

ZONE: Final = ZoneInfo("Europe/Zurich")
"""Whose days are counted. Never changes: what was added to a day stays there."""
BOUNDS_S: Final = (15, 30, 60, 120, 300, 600, 1_800, 3_600, 21_600, 86_400)
"""Up to which payers are counted together by how long they took. One may be added, none taken away."""
CODE_CHARACTERS_MAX: Final = 64
"""Of a decline's code; Stripe's longest has 42."""
UNKNOWN_CODE: Final = "unknown"
DECLINED: Final = "DECLINED:"
TOOK: Final = "TOOK:"


class Dimension(StrEnum):
    """What a figure is of."""

    ALL = "ALL"
    SELLER = "SELLER"
    METHOD = "METHOD"


class Figure(StrEnum):
    """What is added up; beside these, declines by their code, and payers by how long they took at most."""

    STARTED = "STARTED"
    CONVERTED = "CONVERTED"
    PAID = "PAID"
    REVENUE = "REVENUE"
    REFUNDED = "REFUNDED"
    TOOK_S = "TOOK_S"


class Place(NamedTuple):
    """One number, by what it is of."""

    dimension: Dimension
    subject: str
    """The seller or the type of method; empty for all."""
    day: date
    currency_code: str
    figure: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeToPay:
    """How long payers took, in seconds."""

    count: int = 0
    sum_s: int = 0
    buckets: Sequence[tuple[int, int]] = ()
    """Up to which time, 0 for the last that has no bound, and how many: those with any, in their order."""

    def at_share(self, percent: int) -> int:
        """Return how long so many in a hundred took at most, as if each bucket were filled evenly; 0 where none paid.

        Of the last bucket nothing is known but where it begins.
        """
        wanted, passed, begin_s = self.count * percent, 0, 0
        counted = dict(self.buckets)
        for bound_s in BOUNDS_S:
            here = counted.get(bound_s, 0)
            if here and 100 * (passed + here) >= wanted:
                return begin_s + (bound_s - begin_s) * (wanted - 100 * passed) // (100 * here)
            passed, begin_s = passed + here, bound_s
        return begin_s if self.count else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Figures of one day, seller or method in one currency."""

    subject: str
    """The seller or the type of method, where each has a row; else empty."""
    day: date | None
    """Where each has a row."""
    currency_code: str
    numbers: Mapping[str, int] = field(default_factory=dict)
    """By figure."""

    def of(self, figure: Figure) -> int:
        """Return one of them."""
        return self.numbers.get(figure, 0)

    @property
    def declines(self) -> Sequence[tuple[str, int]]:
        """Declines by code, the most frequent first."""
        found = [
            (name.removeprefix(DECLINED), n) for name, n in self.numbers.items() if name.startswith(DECLINED) and n
        ]
        return sorted(found, key=lambda one: (-one[1], one[0]))

    @property
    def time_to_pay(self) -> TimeToPay:
        """How long payers took."""
        found = [(bound_s, self.numbers.get(f"{TOOK}{bound_s}", 0)) for bound_s in (*BOUNDS_S, 0)]
        buckets = [(bound_s, count) for bound_s, count in found if count]
        return TimeToPay(count=sum(count for _, count in buckets), sum_s=self.of(Figure.TOOK_S), buckets=tuple(buckets))


def added(moves: Sequence[tuple[Move, Split | None]]) -> dict[Place, int]:
    """Return what moves add, each with how its payment is split as far as that is known; without what adds nothing."""
    total: dict[Place, int] = {}
    for move, split in moves:
        for place, amount in _added(move, split):
            total[place] = total.get(place, 0) + amount
    return {place: amount for place, amount in sorted(total.items()) if amount}


def moves_money(move: Move) -> bool:
    """Whether what it adds is amounts, too, which fall to sellers by the split."""
    before, after = move.before or Seen(), move.after.seen
    return (before.captured_minor, before.refunded_minor) != (after.captured_minor, after.refunded_minor)


def day_of(time: datetime) -> date:
    """Return the day that something is counted on."""
    return time.astimezone(ZONE).date()


def _added(move: Move, split: Split | None) -> Iterator[tuple[Place, int]]:
    before, after = move.before or Seen(), move.after
    if move.before is None and after.revision > 1:
        return  # its history is forgotten: on which days all that happened is not known
    day, opened = day_of(after.record_time), day_of(after.open_time or after.record_time)
    sellers = [(Dimension.SELLER, seller_id) for seller_id in after.seller_ids]
    everybody = [(Dimension.ALL, ""), *sellers]
    method = [(Dimension.METHOD, after.method["method_type"])] if "method_type" in after.method else []

    def places(of: Sequence[tuple[Dimension, str]], on: date, figure: str, amount: int) -> Iterator[tuple[Place, int]]:
        for dimension, subject in of:
            yield Place(dimension, subject, on, after.currency_code, figure), amount

    if move.before is None and after.total_minor:
        yield from places(everybody, opened, Figure.STARTED, 1)
    if paid := _is_paid(after.seen) - _is_paid(before):
        yield from places(everybody, opened, Figure.CONVERTED, paid)
        yield from places([*everybody, *method], day, Figure.PAID, paid)
    if (took_s := _took_s(move)) is not None:
        bound_s = next((bound_s for bound_s in BOUNDS_S if took_s <= bound_s), 0)
        yield from places([*everybody, *method], day, f"{TOOK}{bound_s}", 1)
        yield from places([*everybody, *method], day, Figure.TOOK_S, took_s)
    if (declined := after.seen.decline_count - before.decline_count) > 0:
        code = (after.decline_code or after.error_code or UNKNOWN_CODE)[:CODE_CHARACTERS_MAX]
        yield from places([*everybody, *method], day, f"{DECLINED}{code}", declined)
    whole = [(Dimension.ALL, ""), *method]
    yield from places(whole, day, Figure.REVENUE, after.seen.captured_minor - before.captured_minor)
    yield from places(whole, day, Figure.REFUNDED, after.seen.refunded_minor - before.refunded_minor)
    if split is not None:
        for seller_id, amount in _of_sellers(split, before.captured_minor, after.seen.captured_minor).items():
            yield from places([(Dimension.SELLER, seller_id)], day, Figure.REVENUE, amount)
        if len(split.seller_ids) == 1 and not any(line.is_platform for line in split.lines):
            amount = after.seen.refunded_minor - before.refunded_minor
            yield from places([(Dimension.SELLER, split.seller_ids[0])], day, Figure.REFUNDED, amount)


def _is_paid(seen: Seen) -> bool:
    return seen.collection == State.SUCCEEDED and seen.captured_minor > 0


def _took_s(move: Move) -> int | None:
    """Return how long a payer took until they had paid, or what they pay was held; None where it is not that moment,
    or the payer was not there.
    """
    before, after = move.before or Seen(), move.after
    is_there = after.seen.collection == State.AUTHORIZED or _is_paid(after.seen)
    was_there = before.was_held or _is_paid(before)
    if not is_there or was_there or before.is_unattended or after.open_time is None:
        return None
    return max(0, int((after.record_time - after.open_time).total_seconds()))


def _of_sellers(split: Split, before_minor: int, after_minor: int) -> dict[str, int]:
    """Return by how much more each seller's lines stand: all that was captured so far is divided; nothing is lost."""
    was, now = split.of_amount(before_minor), split.of_amount(after_minor)
    grown: dict[str, int] = {}
    for line in split.lines:
        if not line.is_platform:
            more = now[line.line_id] - was[line.line_id]
            grown[line.seller_id] = grown.get(line.seller_id, 0) + more
    return grown
