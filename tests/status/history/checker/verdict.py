"""The whole verdict: what is wrong with everything that was stored and reported. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.status.history.checker.feeds import Feeds
from tests.status.history.checker.findings import Finding
from tests.status.history.checker.many import judge_many
from tests.status.history.checker.timeline import timelines
from tests.status.history.checker.watches import judge_watcher
from tests.status.history.checker.writes import judge_past, judge_writes
from tests.status.history.reports import Report
from tests.status.history.stored import Stored


def findings_of(stored: Stored, report: Report, *, earlier: Sequence[Stored] = ()) -> list[Finding]:
    """Return what is wrong, nothing if all is well; `earlier` is what was stored at other times.

    Whoever is not done must have been given the time to catch up: what has not come is missed.
    """
    lines = timelines(stored, report)
    feeds = Feeds(stored, lines, reused_xids=report.reused_xids)
    return [
        *judge_writes(report.attempts, report.readings, stored, lines),
        *(finding for before in earlier for finding in judge_past(before, stored)),
        *(finding for watcher in report.watchers for finding in judge_watcher(watcher, stored, lines)),
        *(finding for watcher in report.many for finding in judge_many(watcher, stored, lines)),
        *(finding for watcher in report.feeds for finding in feeds.judge(watcher)),
    ]
