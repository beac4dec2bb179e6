"""The time: a process reads its own, and leases and due times go by the database's, which all processes share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta


@dataclass(slots=True)
class Clock:
    """What a process takes for the time.

    `now` is for facts (when a payment was made, when it expires). SQL that holds a lease or asks what is due uses
    `now() + shift` instead: two processes whose clocks differ still agree on who holds what.
    """

    shift: timedelta = timedelta(0)
    """How far both are moved. Tests move it; a serving process never does."""

    def now(self) -> datetime:
        """Return this instant."""
        return datetime.now(UTC) + self.shift
