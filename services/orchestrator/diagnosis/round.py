"""A round through recent payments: which lists it walks, and when what it finds counts. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

EVERY: Final = timedelta(hours=1)
"""Between the ends of two rounds."""
RECENT: Final = timedelta(days=3)
"""Payments that were opened since then are looked at, whatever became of them; older ones while money of them moves."""
CONFIRMED_AFTER: Final = timedelta(minutes=5)
"""What is still so then is no moment between two records. So long after a round what is new is looked at again."""
ON_ITS_WAY_MAX: Final = timedelta(hours=1)
"""What waits for something that is on its way counts once it has waited for so long."""
OVERLAP: Final = timedelta(minutes=10)
"""What was booked so long before a round began is looked at by the next, too: entries have the time of their begin."""


class Walk(StrEnum):
    """The lists of a round, in their order."""

    FINDINGS = "FINDINGS"
    """What was found before: it goes away once the records agree."""
    OPENED = "OPENED"
    """What was opened of late, the newest first, as status lists it."""
    BOOKED = "BOOKED"
    """What money was booked of since the round before, as the gateway lists it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """How far a tenant's round has come."""

    tenant_id: str
    walk: Walk
    place: str
    """Within its list; empty at the begin."""
    begin_time: datetime
    booked_time: datetime
    """Until when all payments of which money was booked were looked at, by rounds before."""

    @property
    def is_new(self) -> bool:
        """Whether nothing was looked at yet."""
        return self.walk is Walk.FINDINGS and not self.place

    def next_walk(self) -> Walk | None:
        """Return the list that follows; None at the end."""
        return {Walk.FINDINGS: Walk.OPENED, Walk.OPENED: Walk.BOOKED, Walk.BOOKED: None}[self.walk]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What a step of a round looks at, and where the next one begins."""

    payment_ids: tuple[str, ...]
    place: str
    """Where the list goes on; empty where it has come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A disagreement that a round found."""

    payment_id: str
    check_name: str
    about: str
    waits: bool
    """Something was on its way when it was seen last that may end it by itself."""
    first_time: datetime
    last_time: datetime

    @property
    def stands(self) -> bool:
        """Whether it has lasted for so long that it is no moment between two records."""
        return self.last_time - self.first_time >= (ON_ITS_WAY_MAX if self.waits else CONFIRMED_AFTER)

    @property
    def place(self) -> tuple[str, str, str]:
        """Where it is in the list of all."""
        return self.payment_id, self.check_name, self.about
