"""At which revisions a payment can have stood when.

A payment is a register whose versions are numbered, so linearizability needs no search: version r was written after its
request was first asked and not before its commit, and before anyone was told of r or of a later one. A read is wrong
exactly if its version was surely over before it was asked, or surely not there yet when it was answered.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import accumulate

from tests.status.history.reports import Asked, Began, Came, Ended, Event, Refused, Report, Written
from tests.status.history.stored import Stored, StoredPayment


class Timeline:
    """When each revision of one payment was known to somebody, and from when on it can have been."""

    def __init__(self, payment: StoredPayment, *, known: list[tuple[int, int]], asked: Mapping[str, int]) -> None:
        """`known` are times and revisions that were told then; `asked` when each request was first asked."""
        self._from_us = list(
            accumulate((max(row.committed_us, asked.get(row.request_id, 0)) for row in payment.revisions), max)
        )
        # What cannot be true is a finding where it was told, and no reason to find fault with others.
        known = sorted((at_us, revision) for at_us, revision in known if revision <= self.possible_by(at_us))
        self._known_us = [at_us for at_us, _ in known]
        self._known = list(accumulate((revision for _, revision in known), max))

    def known_by(self, at_us: int) -> int:
        """Return the highest revision that somebody knew before `at_us`; 0 if none."""
        index = bisect_left(self._known_us, at_us)
        return self._known[index - 1] if index else 0

    def possible_by(self, at_us: int) -> int:
        """Return the highest revision that can have been written by `at_us`; 0 if none."""
        return bisect_right(self._from_us, at_us)

    def wrong(self, revision: int, *, asked_us: int, told_us: int) -> str | None:
        """Return what is wrong with having said, between two times, that the payment stands at `revision`; or None."""
        floor, ceiling = self.known_by(asked_us), self.possible_by(told_us)
        if revision < floor:
            return f"{revision} was said to be the current revision, {floor} was known before"
        if revision > ceiling:
            return f"{revision} was said to be the current revision, no more than {ceiling} can have been written"
        return None


def timelines(stored: Stored, report: Report) -> dict[str, Timeline]:
    """Return the timeline of each stored payment."""
    known: dict[str, list[tuple[int, int]]] = defaultdict(list)
    asked: dict[str, dict[str, int]] = defaultdict(dict)
    for payment_id, at_us, revision in _told(report):
        known[payment_id].append((at_us, revision))
    for attempt in report.attempts:
        first = asked[attempt.payment_id].get(attempt.request_id, attempt.asked_us)
        asked[attempt.payment_id][attempt.request_id] = min(first, attempt.asked_us)
    return {
        payment_id: Timeline(payment, known=known[payment_id], asked=asked[payment_id])
        for payment_id, payment in stored.items()
    }


def _told(report: Report) -> Iterator[tuple[str, int, int]]:
    for attempt in report.attempts:
        match attempt.outcome:
            case Written(standing=standing):
                yield attempt.payment_id, attempt.ended_us, standing
            case Refused(current_revision=int() as current):
                yield attempt.payment_id, attempt.ended_us, current
    for reading in report.readings:
        yield reading.payment_id, reading.answered_us, reading.revision
    for watcher in report.ones:
        for stretch in watcher.streams:
            yield from _told_by(stretch.events, stretch.asked)
    for many in report.many:
        for stream in many.streams:
            yield from _told_by(stream.events, None)
    for feed in report.feeds:
        for stream in feed.streams:
            for message in stream.messages:
                for change in message.changes:
                    yield change.payment_id, message.at_us, change.revision


def _told_by(events: list[Event], asked: Asked | None) -> Iterator[tuple[str, int, int]]:
    for event in events:
        payment_id = asked.payment_id if asked else getattr(event, "payment_id", "")
        match event:
            case Began(current_revision=revision):
                yield payment_id, event.at_us, revision
            case Came(revision=revision):
                yield payment_id, event.at_us, revision
            case Ended(current_revision=int() as revision):
                yield payment_id, event.at_us, revision
