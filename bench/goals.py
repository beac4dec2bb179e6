"""What a ratio has to be: what must hold, what is aimed at; and rows of a table that say whether it does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bench.figures import median, times

COLUMNS = ("", "ours", "beside it", "ratio", "must", "aim", "holds")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """Bounds of a figure; `at_least` says on which side it has to be."""

    solid: float
    ambitious: float | None = None
    at_least: bool = True

    def holds(self, value: float) -> str:
        """Return how far the value comes, in Markdown."""
        if self.ambitious is not None and self._meets(value, self.ambitious):
            return "yes, the aim"
        return "yes" if self._meets(value, self.solid) else "**no**"

    def bounds(self) -> tuple[str, str]:
        sign = "≥" if self.at_least else "≤"
        return f"{sign} {self.solid:g}", "" if self.ambitious is None else f"{sign} {self.ambitious:g}"

    def _meets(self, value: float, bound: float) -> bool:
        return value >= bound if self.at_least else value <= bound


def at_least(solid: float, ambitious: float | None = None) -> Goal:
    return Goal(solid=solid, ambitious=ambitious)


def at_most(solid: float, ambitious: float | None = None) -> Goal:
    return Goal(solid=solid, ambitious=ambitious, at_least=False)


def judged(what: str, ours: str, peer: str, ratios: Iterable[float], goal: Goal | None = None) -> tuple[str, ...]:
    """Return a row about the median of some rounds' ratios."""
    ratio = median(ratios)
    return what, ours, peer, times(ratio), *_verdict(ratio, goal)


def unjudged(what: str, ours: str, why: str, goal: Goal | None = None) -> tuple[str, ...]:
    """Return a row that lacks what it would stand beside."""
    return what, ours, why, "", *(("", "") if goal is None else goal.bounds()), "" if goal is None else "not measured"


def bounded(
    what: str,
    ours: str,
    value: float,
    goal: Goal | None = None,
    *,
    beside: str = "",
    ratios: Sequence[float] = (),
) -> tuple[str, ...]:
    """Return a row about a figure that has to be within bounds by itself, in the unit of the bounds."""
    return what, ours, beside, times(median(ratios)) if ratios else "", *_verdict(value, goal)


def shown(what: str, ours: str, peer: str = "") -> tuple[str, ...]:
    """Return a row that nothing is asked of."""
    return what, ours, peer, "", "", "", ""


def _verdict(value: float, goal: Goal | None) -> tuple[str, str, str]:
    return ("", "", "") if goal is None else (*goal.bounds(), goal.holds(value))
