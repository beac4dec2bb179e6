"""The limits of the old specification, and whether figures of the last minutes keep them. Pure.

A figure is what processes counted: how many of all were within a limit. Which figures those are stands in
docs/metrics.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

Counts = Mapping[str, float]
"""What a process has counted since it began, by the name of a sum."""
WITHIN: Final = 95
"""Percent of all that have to be within a limit of time: what the alerts look at, too."""
STABLE: Final = 95
RECOVERED: Final = 90
ERRORS_A_MINUTE: Final = 5
NEAR: Final = 2
"""How near to a limit is shown as close to it: half of what may fail."""
LATENCIES: Final[Mapping[str, tuple[str, str]]] = {
    "state": ("Between states", "5 s"),
    "start": ("A start is answered", "500 ms"),
    "read": ("Status is read", "100 ms"),
    "connect": ("A watch sees its payment", "300 ms"),
    "update": ("A transition is on its streams", "50 ms"),
}
"""Name of a pair of sums, `<name>_good` and `<name>_all`, what it is of, and its limit."""
WINDOW: Final = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One limit, and how it is kept."""

    name: str
    says: str
    limit: str
    good: bool | None
    """None where nothing happened."""
    is_close: bool
    share: int
    """How much of what may be is used up, or is there: 0 to 100."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What one process had counted at a time."""

    at: datetime
    counts: Counts


class Window:
    """The last minutes of what one process counts; one that began anew counts from 0."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []

    def add(self, sample: Sample) -> None:
        """Take a sample, and forget what is older than the window."""
        if self._samples and any(sample.counts.get(name, 0) < was for name, was in self._samples[-1].counts.items()):
            self._samples = [Sample(at=self._samples[-1].at, counts={})]
        self._samples.append(sample)
        while len(self._samples) > 1 and self._samples[1].at < sample.at - WINDOW:
            del self._samples[0]

    @property
    def began(self) -> datetime | None:
        """Since when it counts; None before the first sample."""
        return self._samples[0].at if self._samples else None

    def counts(self) -> Counts:
        """Return what was counted in the window."""
        if not self._samples:
            return {}
        first, last = self._samples[0].counts, self._samples[-1].counts
        return {name: value - first.get(name, 0) for name, value in last.items()}


def added(counts: Iterable[Counts]) -> dict[str, float]:
    """Return what several processes counted together."""
    total: dict[str, float] = {}
    for one in counts:
        for name, value in one.items():
            total[name] = total.get(name, 0) + value
    return total


def measured(counts: Counts, *, length: timedelta) -> Sequence[Measured]:
    """Return all limits with what was counted over a time."""
    return (
        *(_latency(name, title, limit, counts) for name, (title, limit) in LATENCIES.items()),
        _share("streams", "Connections that ended well", "of all", STABLE, counts),
        _errors(counts, length),
        _share("recoveries", "Recoveries that moved the payment", "of all", RECOVERED, counts),
    )


def _latency(name: str, title: str, limit: str, counts: Counts) -> Measured:
    return _share(name, title, f"within {limit}", WITHIN, counts)


def _share(name: str, title: str, unit: str, least: int, counts: Counts) -> Measured:
    of, good = int(counts.get(f"{name}_all", 0)), int(counts.get(f"{name}_good", 0))
    limit = f"{unit}; at least {least} %"
    if not of:
        return Measured(name=title, says="Nothing yet", limit=limit, good=None, is_close=False, share=0)
    tenths = good * 1_000 // of
    return Measured(
        name=title,
        says=f"{tenths // 10}.{tenths % 10} %",
        limit=limit,
        good=good * 100 >= least * of,
        is_close=(of - good) * NEAR * 100 > (100 - least) * of,
        share=good * 100 // of,
    )


def _errors(counts: Counts, length: timedelta) -> Measured:
    minutes = max(length / timedelta(minutes=1), 1.0)
    tenths = int(counts.get("errors", 0) * 10 / minutes)
    is_known = "errors" in counts
    return Measured(
        name="Errors",
        says=f"{tenths // 10}.{tenths % 10} a minute" if is_known else "Nothing yet",
        limit=f"at most {ERRORS_A_MINUTE} a minute",
        good=tenths <= ERRORS_A_MINUTE * 10 if is_known else None,
        is_close=tenths * NEAR > ERRORS_A_MINUTE * 10,
        share=min(tenths * 10 // ERRORS_A_MINUTE, 100),
    )
