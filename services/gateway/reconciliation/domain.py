"""What is compared, and what is different. Pure.

Every object comes to figures in one currency, on either side. Two sides that have the same figures match; each figure
that differs is a finding of its own, so that nothing is netted: neither across currencies nor across objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

IN_TRANSIT_MAX: Final = timedelta(days=3)
"""For so long something may be seen at Stripe without a balance transaction that is booked here, or the reverse."""
YOUNG: Final = timedelta(minutes=5)
"""What is younger may be on its way here: an answer, an event or a reading takes seconds."""
SETTLED_WITHIN: Final = timedelta(hours=6)
"""For so long after the money came a seller may be without its part, and nothing may be known that this waits for."""
SPAN_MAX: Final = timedelta(days=31)
"""Of one run."""
FINDINGS_MAX: Final = 10_000
"""Of one run. What is different in more places is another account, or another database."""
OPEN_MAX: Final = 10_000
"""Objects of ours in one list of one day that Stripe has not shown so far; more are as many findings."""


class Stage(StrEnum):
    """What is compared: a list of Stripe's, or our own books. In this order for each day."""

    BALANCE = "balance_transactions"
    CHARGES = "charges"
    REFUNDS = "refunds"
    TRANSFERS = "transfers"
    FEES = "application_fees"
    DISPUTES = "disputes"
    PAYOUTS = "payouts"
    LEDGER = "ledger"
    SETTLEMENT = "settlement"
    CLEARING = "clearing"
    DELIVERIES = "deliveries"


LISTS: Final = (
    Stage.BALANCE,
    Stage.CHARGES,
    Stage.REFUNDS,
    Stage.TRANSFERS,
    Stage.FEES,
    Stage.DISPUTES,
    Stage.PAYOUTS,
)
"""What Stripe lists."""
DAILY: Final = (*LISTS, Stage.LEDGER, Stage.SETTLEMENT)
"""What is compared of each day."""
AT_LAST: Final = (Stage.CLEARING, Stage.DELIVERIES)
"""What is compared once, after all days, when what was mended is booked."""


class Kind(StrEnum):
    """What is different."""

    MISSING_HERE = "MISSING_HERE"
    """Stripe has it, we do not."""
    MISSING_THERE = "MISSING_THERE"
    """We have it, Stripe does not."""
    AMOUNT = "AMOUNT"
    """Both have it, with other amounts."""
    UNCLASSIFIED = "UNCLASSIFIED"
    """No rule books it."""
    NOT_SETTLED = "NOT_SETTLED"
    """A seller has not what it is to have, or too much, and nothing is known that this waits for."""
    LEDGER_UNBALANCED = "LEDGER_UNBALANCED"
    """The entries of a fact do not come to zero."""
    CLEARING_OLD = "CLEARING_OLD"
    """Seen at Stripe, and no balance transaction of it is booked for `IN_TRANSIT_MAX`, or the reverse."""
    UNASKED = "UNASKED"
    """Both have it, and no call of ours asked for it."""
    PAYOUT = "PAYOUT"
    """A payout is not what its balance transactions come to."""
    CLOSING = "CLOSING"
    """A day's closing is not what the entries come to."""
    NOT_DELIVERED = "NOT_DELIVERED"
    """The orchestrator does not know what the gateway does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One figure that is not the same on both sides."""

    kind: Kind
    stage: Stage
    stripe_id: str
    """The object at Stripe; of the ledger alone, the fact."""
    figure: str
    currency_code: str
    ours_minor: int
    theirs_minor: int
    payment_id: str = ""
    detail: str = ""
    repaired: bool = False
    repair_reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what is no difference: so the remainder is 0 exactly where there is no finding."""
        if self.ours_minor == self.theirs_minor or not self.currency_code:
            raise ValueError(f"{self.kind} of {self.stripe_id} is no difference")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One object as Stripe shows it."""

    stripe_id: str
    currency_code: str
    figures: Mapping[str, int]
    create_time: datetime
    related_ids: tuple[str, ...] = ()
    """By which its payment is found where it is not known itself."""
    is_asked: bool = True
    """A call of ours asked for it."""
    made_of_minor: int | None = None
    """Of a payout of which Stripe says what is in it: what that is to come to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """One object as we hold it."""

    stripe_id: str
    currency_code: str
    figures: Mapping[str, int]
    payment_id: str = ""
    is_known_otherwise: bool = False
    """Stripe made it with what a call of ours asked for, as the transfer and the fee of a destination charge; or an
    older system asked for it, and its payment was imported."""


@dataclass(slots=True)
class Sums:
    """What matches, and what is too young to be different, by currency: how many, and what they come to."""

    matched: dict[str, tuple[int, int]] = field(default_factory=dict)
    in_transit: dict[str, tuple[int, int]] = field(default_factory=dict)

    def match(self, currency_code: str, minor: int) -> None:
        """Count something that matches."""
        count, sum_minor = self.matched.get(currency_code, (0, 0))
        self.matched[currency_code] = (count + 1, sum_minor + minor)

    def transit(self, currency_code: str, minor: int, *, count: int = 1) -> None:
        """Count something that is on its way."""
        before, sum_minor = self.in_transit.get(currency_code, (0, 0))
        self.in_transit[currency_code] = (before + count, sum_minor + minor)


MISSING_HERE: Final = "Stripe has it, and nothing is known of it here."
MISSING_THERE: Final = "It is known here, and Stripe does not have it."
AMOUNT: Final = "Both have it, with other amounts."
OTHER_CURRENCY: Final = "Both have it, in other currencies."
UNASKED: Final = "No call of ours asked for it: it was made in Stripe's dashboard, or by another program."


def compare(stage: Stage, theirs: Shown, ours: Held | None) -> Iterator[Finding]:
    """Yield what is different of one object that Stripe shows. What came to nothing may be missing on a side."""
    if ours is None:
        yield from _figures(stage, Kind.MISSING_HERE, _whole(theirs.figures), {}, theirs, detail=MISSING_HERE)
        return
    if ours.currency_code != theirs.currency_code:
        yield from _figures(stage, Kind.AMOUNT, theirs.figures, {}, theirs, ours.payment_id, detail=OTHER_CURRENCY)
        yield from _figures(stage, Kind.AMOUNT, {}, ours.figures, ours, ours.payment_id, detail=OTHER_CURRENCY)
        return
    yield from _figures(stage, Kind.AMOUNT, theirs.figures, ours.figures, theirs, ours.payment_id, detail=AMOUNT)
    if not theirs.is_asked and not ours.is_known_otherwise:
        yield from _figures(stage, Kind.UNASKED, _whole(theirs.figures), {}, theirs, ours.payment_id, detail=UNASKED)


def missing_there(stage: Stage, ours: Held) -> Iterator[Finding]:
    """Yield what is different of one object that Stripe does not have."""
    yield from _figures(
        stage, Kind.MISSING_THERE, {}, _whole(ours.figures), ours, ours.payment_id, detail=MISSING_THERE
    )


def _whole(figures: Mapping[str, int]) -> Mapping[str, int]:
    """Return the figure that says what an object comes to: of one that is missing all others are, too."""
    return dict([(name, minor) for name, minor in figures.items() if minor][:1])


def _figures(  # noqa: PLR0917 both sides
    stage: Stage,
    kind: Kind,
    theirs: Mapping[str, int],
    ours: Mapping[str, int],
    of: Shown | Held,
    payment_id: str = "",
    *,
    detail: str,
) -> Iterator[Finding]:
    for name in dict.fromkeys((*theirs, *ours)):
        ours_minor, theirs_minor = ours.get(name, 0), theirs.get(name, 0)
        if ours_minor != theirs_minor:
            yield Finding(
                kind=kind,
                stage=stage,
                stripe_id=of.stripe_id,
                figure=name,
                currency_code=of.currency_code,
                ours_minor=ours_minor,
                theirs_minor=theirs_minor,
                payment_id=payment_id,
                detail=detail,
            )
