"""A good report, to change one thing in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.status.history.checker.findings import Finding, Kind
from tests.status.history.checker.timeline import Timeline
from tests.status.history.reports import Report, Stretch
from tests.status.history.stored import Stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Good:
    """What was stored and reported in a round in which nothing was wrong."""

    stored: Stored
    report: Report
    lines: dict[str, Timeline]

    @property
    def stretches(self) -> list[Stretch]:
        return [stretch for watcher in self.report.watchers for stretch in watcher.stretches]

    def last(self, stretch: Stretch) -> int:
        return self.stored[stretch.asked.payment_id].last


def kinds(findings: Iterable[Finding]) -> set[Kind]:
    return {finding.kind for finding in findings}


def without(sequence: Any, index: int) -> Any:
    return sequence[:index] + sequence[index + 1 :]
