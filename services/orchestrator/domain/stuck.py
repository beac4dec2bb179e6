"""Why a payment does not move, as an operator is shown it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final


class StuckReason(StrEnum):
    """Why, the most serious first."""

    PARKED = "PARKED"
    """It failed again and again."""
    TRANSITION_REFUSED = "TRANSITION_REFUSED"
    """Status refuses something for good, and nobody gave it up yet."""
    OUTCOME_UNKNOWN = "OUTCOME_UNKNOWN"
    """Stripe does not say what became of a call."""
    QUOTE_DEAD = "QUOTE_DEAD"
    """Pricing was told of the end of its quote until nobody tries any more."""
    REQUEST_OPEN = "REQUEST_OPEN"
    """A caller's request has no answer."""
    NOT_RECORDED = "NOT_RECORDED"
    """Status has not heard of something."""
    STEP_LATE = "STEP_LATE"
    """What its plan does by itself is late."""
    OVERDUE = "OVERDUE"
    """It is due, and nobody takes it."""


UNKNOWN_AFTER: Final = timedelta(minutes=10)
"""The gateway asks again ever more seldom; by then an outage of Stripe's is one that people speak of."""
OPEN_AFTER: Final = timedelta(minutes=1)
"""Of a request, and of a transition. No caller waits for longer."""
STEP_LATE_AFTER: Final = timedelta(minutes=15)
"""After a restart of everything what is planned catches up in minutes."""
OVERDUE_AFTER: Final = timedelta(minutes=5)
LOOKED_AT_MAX: Final = 1_000
"""Payments of one reason. When more are stuck it is not one payment that has to be looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckCause:
    """One reason, since when, and which step, request or transition it is about."""

    reason: StuckReason
    since_time: datetime
    step: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A payment that does not move."""

    payment_id: str
    causes: tuple[StuckCause, ...]
    """The most serious first."""
    failures: int
    last_error: str
    next_try_time: datetime | None

    @property
    def stuck_time(self) -> datetime:
        """Since when."""
        return min(cause.since_time for cause in self.causes)


@dataclass(frozen=True, slots=True, kw_only=True)
class StuckFilter:
    """Which are looked for; what is empty narrows nothing."""

    reason: str = ""
    age_min: timedelta = timedelta()
