"""Judges the watches of single payments: WatchPayment, and each watch of a WatchMany. Pure.

A watch carries exactly what is stored from where it was asked for, in order and once each; with `latest_only` it may
skip, but never go back, and ends at the newest.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from batzen.status.v1 import status_pb2 as pb
from tests.status.history.checker.findings import Finding, Kind, difference
from tests.status.history.checker.timeline import Timeline
from tests.status.history.reports import LEFT, Alive, Began, Broken, Came, Ended, Stretch
from tests.status.history.stored import Stored, StoredPayment

RESUMES: Final = frozenset({"SHUTTING_DOWN", "STREAM_TOO_OLD", "WATCH_OVERFLOW"})
"""Reasons that tell a watcher to go on elsewhere, and from where."""
LATER: Final = "DEPENDENCY_UNAVAILABLE"
CUT_OFF: Final = frozenset({"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED"})
"""Codes, without a reason, of an end that did not come from the service: of the network, or of gRPC."""


def may_go_on(ended: Ended) -> bool:
    """Return whether a stream ended so that its watcher goes on: cut off, told to, or of its own will."""
    return ended.code in (LEFT, *CUT_OFF) and ended.reason in ("", LATER, *RESUMES)


def judge_stretch(stretch: Stretch, stored: Stored, lines: dict[str, Timeline]) -> Iterator[Finding]:
    """Say what is wrong with one watch. One that has not ended must have come to the last stored revision."""
    payment_id = stretch.asked.payment_id
    if payment_id not in stored:
        yield Finding(kind=Kind.PROTOCOL, who=stretch.watcher, payment_id=payment_id, what="no such payment is stored")
        return
    yield from _Judge(stretch, stored[payment_id], lines[payment_id]).findings()


class _Judge:
    """Goes through one stretch, event by event."""

    def __init__(self, stretch: Stretch, payment: StoredPayment, line: Timeline) -> None:
        self._stretch = stretch
        self._asked = stretch.asked
        self._payment = payment
        self._line = line
        self._began: Began | None = None
        self._carried = self._asked.after_revision
        """The last revision that the watch has come to; None before a first header says where it begins."""
        self._seen: set[int] = set()
        self._skipped: set[int] = set()
        self._has_settled = False
        """The transition came with which the watch should have ended by itself."""

    def findings(self) -> Iterator[Finding]:
        for event in self._stretch.events:
            match event:
                case Began():
                    yield from self._begin(event)
                case Came():
                    yield from self._come(event)
                case Alive():
                    yield from self._live(event)
                case Broken(what=what):
                    yield self._finding(Kind.PROTOCOL, what)
                case Ended():
                    yield from self._end(event)
        if self._stretch.ended is None:
            yield from self._is_caught_up()

    def _begin(self, began: Began) -> Iterator[Finding]:
        if self._began is not None:
            yield self._finding(Kind.PROTOCOL, "a second header")
            return
        self._began = began
        current, after = began.current_revision, self._asked.after_revision
        wrong = self._line.wrong(current, asked_us=self._asked.at_us, told_us=began.at_us)
        if wrong is not None:
            yield self._finding(Kind.HEADER, wrong)
        if after is not None:
            if current < after:
                yield self._finding(Kind.HEADER, f"current revision {current}, asked after {after}")
            if began.payment is not None:
                yield self._finding(Kind.HEADER, f"a payment, though asked after {after}")
            return
        self._carried = current
        row = self._payment.at(current)
        if began.payment is None:
            yield self._finding(Kind.HEADER, "no payment, though nothing says from where")
        elif row is not None and began.payment != row.payment:
            yield self._finding(
                Kind.CONTENT, f"header at {current}: {difference(began.payment, row.payment, pb.Payment)}"
            )

    def _come(self, came: Came) -> Iterator[Finding]:
        revision = came.revision
        if self._began is None and self._asked.has_header:
            yield self._finding(Kind.PROTOCOL, f"{revision} before a header")
        if self._has_settled:
            yield self._finding(Kind.END, f"{revision} came after the payment had settled")
        row = self._payment.at(revision)
        if row is None:
            yield self._finding(Kind.NEVER_STORED, f"{revision}, the last is {self._payment.last}")
            return
        if came.content != row.transition:
            yield self._finding(Kind.CONTENT, f"{revision}: {difference(came.content, row.transition, pb.Transition)}")
        if revision > self._line.possible_by(came.at_us):
            yield self._finding(Kind.BEFORE_COMMIT, f"{revision} came {row.committed_us - came.at_us} µs too early")
        before = self._payment.at(self._carried or 0)
        yield from self._place(revision)
        self._has_settled = self._asked.until_settled and row.settled and not (before and before.settled)

    def _place(self, revision: int) -> Iterator[Finding]:
        """Say whether a revision is the one that had to come."""
        due = (self._carried or 0) + 1
        if revision in self._seen:
            yield self._finding(Kind.DUPLICATE, f"{revision} again, {due} was due")
        elif revision in self._skipped:
            yield self._finding(Kind.OUT_OF_ORDER, f"{revision} after {self._carried}")
        elif revision < due:
            kind = Kind.OUT_OF_ORDER if self._seen else Kind.WRONG_BEGIN
            yield self._finding(kind, f"{revision} came, {due} was due")
        elif revision > due:
            self._skipped.update(range(due, revision))
            if not self._asked.latest_only:
                kind = Kind.GAP if self._seen else Kind.WRONG_BEGIN
                yield self._finding(kind, f"{revision} came, {due} was due")
        self._seen.add(revision)
        self._carried = max(revision, self._carried or 0)

    def _live(self, alive: Alive) -> Iterator[Finding]:
        if self._began is None:
            yield self._finding(Kind.PROTOCOL, "a heartbeat before a header")
        elif alive.revision is not None and alive.revision != self._carried:
            yield self._finding(Kind.HEARTBEAT, f"{alive.revision}, carried up to {self._carried}")

    def _end(self, ended: Ended) -> Iterator[Finding]:
        resume = ended.resume_after_revision
        if self._began is not None and (resume is not None or ended.reason in RESUMES):
            after = self._asked.after_revision
            begin, carried = self._began.current_revision if after is None else after, self._carried or 0
            if resume is None or not begin <= resume <= carried:
                yield self._finding(Kind.RESUME, f"after {resume}, began after {begin}, carried up to {carried}")
        if may_go_on(ended):
            return
        if ended.code == "OK":
            yield from self._may_end()
        elif ended.reason == "REVISION_AHEAD":
            yield from self._is_ahead(ended)
        else:
            yield self._finding(Kind.END, f"{ended.code} {ended.reason} {ended.details}")

    def _may_end(self) -> Iterator[Finding]:
        row = self._payment.at(self._carried or 0)
        if not self._asked.until_settled:
            yield self._finding(Kind.END, "OK, though it was to go on for ever")
        elif row is None or not row.settled:
            yield self._finding(Kind.END, f"OK at {self._carried}, which is not settled")
        elif not self._seen and self._began is not None and self._carried != self._began.current_revision:
            yield self._finding(Kind.END, f"OK at {self._carried}, {self._began.current_revision} was to be sent")

    def _is_ahead(self, ended: Ended) -> Iterator[Finding]:
        after, current = self._asked.after_revision, ended.current_revision
        if after is None or current is None:
            yield self._finding(Kind.END, f"REVISION_AHEAD of {current}, asked after {after}")
            return
        wrong = self._line.wrong(current, asked_us=self._asked.at_us, told_us=ended.at_us)
        if wrong is not None:
            yield self._finding(Kind.END, f"REVISION_AHEAD: {wrong}")
        if after <= current:
            yield self._finding(Kind.END, f"REVISION_AHEAD of {current}, asked after {after}")

    def _is_caught_up(self) -> Iterator[Finding]:
        if self._began is None and self._asked.has_header:
            yield self._finding(Kind.NOT_CAUGHT_UP, "no header came")
        elif self._has_settled:
            yield self._finding(Kind.NOT_ENDED, f"settled at {self._carried}")
        elif self._carried != self._payment.last:
            yield self._finding(Kind.NOT_CAUGHT_UP, f"at {self._carried} of {self._payment.last}")
        elif self._asked.until_settled and self._payment.revisions[-1].settled:
            yield self._finding(Kind.NOT_ENDED, f"{self._carried} is settled and the last")

    def _finding(self, kind: Kind, what: str) -> Finding:
        return Finding(kind=kind, who=self._stretch.watcher, payment_id=self._payment.payment_id, what=what)
