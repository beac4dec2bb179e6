"""What goes wrong in a round, and when. A seed decides that; how it meets watchers and writers is up to the machine."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

KILL, DRAIN, FREEZE = "kill a replica", "drain a replica", "freeze a replica"
RESTART, CRASH = "restart the database", "crash the database"
BACKENDS = "cut connections to the database"
SLOW, SILENT, CLOSED = "slow links", "silent links", "closed links"
CUT, RESET = "cut links in mid-frame", "reset links"
LATE, NEVER = "a transaction that commits late", "a transaction that never commits"
FLOOD = "many transitions at once"

EACH_ROUND: Final = (KILL, DRAIN, RESTART, CRASH, BACKENDS, SILENT, CUT, LATE, FLOOD)
"""No round is without these. The database is stopped once: while it is away, little else happens."""
WEIGHTS: Final = {
    KILL: 3, DRAIN: 3, FREEZE: 2, CRASH: 1, BACKENDS: 3, SLOW: 2, SILENT: 3, CLOSED: 2, CUT: 4, RESET: 3,
    LATE: 3, NEVER: 2, FLOOD: 3,
}  # fmt: skip
AWAY_MAX_S: Final = 1.5
"""How long a replica or the database stays away."""
SETTLING: Final = 0.85
"""The share of a round in which trouble begins; the rest is for what it leaves behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that goes wrong."""

    at_s: float
    """From the beginning of the round."""
    kind: str
    lasts_s: float
    replica: int
    crew: int | None
    """The crew whose link to the replica is meant; None for those of all crews."""
    size: float
    """How much of it, from 0 to 1."""

    def __str__(self) -> str:
        crew = "all crews" if self.crew is None else f"crew {self.crew}"
        return (
            f"{self.at_s:6.2f} s  {self.kind}, for {self.lasts_s:.2f} s, replica {self.replica}, {crew}, "
            f"size {self.size:.2f}"
        )


def draw_plan(seed: str, *, seconds: float, every_s: float, replicas: int, crews: int) -> list[Trouble]:
    """Return what goes wrong in a round of `seconds`, about one thing every `every_s`; the same for the same seed."""
    chance = random.Random(f"{seed}/plan")
    more = max(0, round(seconds / every_s) - len(EACH_ROUND))
    kinds = [*EACH_ROUND, *chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=more)]
    troubles = [
        Trouble(
            at_s=chance.uniform(0.05, SETTLING) * seconds,
            kind=kind,
            lasts_s=min(chance.choice((0.2, 0.5, 1.0, 2.0, 0.3 * seconds)), 0.3 * seconds),
            replica=chance.randrange(replicas),
            crew=chance.choice((None, chance.randrange(crews))),
            size=chance.random(),
        )
        for kind in kinds
    ]
    return sorted(troubles, key=lambda trouble: trouble.at_s)
