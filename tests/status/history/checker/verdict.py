"""The whole verdict: what is wrong with everything that was stored and reported. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tests.status.history.checker.feeds import Feeds
from tests.status.history.checker.findings import Finding, Kind
from tests.status.history.checker.many import judge_many
from tests.status.history.checker.timeline import timelines
from tests.status.history.checker.watches import judge_stretch
from tests.status.history.checker.writes import judge_past, judge_writes
from tests.status.history.reports import Report, Watcher
from tests.status.history.stored import Stored


def findings_of(stored: Stored, report: Report, *, earlier: Sequence[Stored] = ()) -> list[Finding]:
    """Return what is wrong, nothing if all is well; `earlier` is what was stored at other times.

    Whoever is not done must have been given the time to catch up: what has not come is missed.
    """
    lines = timelines(stored, report)
    feeds = Feeds(stored, lines)
    return [
        *judge_writes(report.attempts, report.readings, stored, lines),
        *(finding for before in earlier for finding in judge_past(before, stored)),
        *(
            finding
            for one in report.ones
            for stretch in one.streams
            for finding in judge_stretch(stretch, stored, lines)
        ),
        *(finding for many in report.many for stream in many.streams for finding in judge_many(stream, stored, lines)),
        *(finding for feed in report.feeds for stream in feed.streams for finding in feeds.judge(stream)),
        *(finding for who in (*report.ones, *report.many, *report.feeds) for finding in _left_without_stream(who)),
    ]


def _left_without_stream(watcher: Watcher[Any]) -> Iterator[Finding]:
    ended = watcher.streams[-1].ended if watcher.streams else "nothing"
    if ended is not None and not watcher.is_done:
        what = f"without a stream at the end, after {ended}"
        yield Finding(kind=Kind.NOT_CAUGHT_UP, who=watcher.name, payment_id="", what=what)
