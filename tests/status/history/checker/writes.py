"""Judges the stored histories and the answers of RecordTransition: registers that are only compared and set. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import payment_pb2
from tests.status.history.checker.findings import Finding, Kind, difference
from tests.status.history.checker.timeline import Timeline
from tests.status.history.reports import Attempt, Reading, Refused, Unknown, Written
from tests.status.history.stored import Stored, StoredPayment

CONFLICT = "REVISION_CONFLICT"


def judge_writes(
    attempts: Sequence[Attempt], readings: Sequence[Reading], stored: Stored, lines: dict[str, Timeline]
) -> Iterator[Finding]:
    """Say what is wrong with what is stored, with what writers were told of it, and with what was read singly."""
    of_payment: dict[str, list[Attempt]] = defaultdict(list)
    for attempt in attempts:
        of_payment[attempt.payment_id].append(attempt)
    for payment_id, tried in of_payment.items():
        if payment_id in stored:
            judge = _Judge(stored[payment_id], tried, lines[payment_id])
            yield from judge.history()
            for attempt in tried:
                yield from judge.attempt(attempt)
        elif any(isinstance(attempt.outcome, Written) for attempt in tried):
            yield Finding(
                kind=Kind.LOST_UPDATE, who="a writer", payment_id=payment_id, what="the payment is not stored"
            )
    for reading in readings:
        yield from _judge_reading(reading, stored[reading.payment_id], lines[reading.payment_id])


def judge_past(earlier: Stored, stored: Stored) -> Iterator[Finding]:
    """Say what was stored at an earlier time and is not, or is not the same, now."""
    for payment_id, before in earlier.items():
        for row in before.revisions:
            now = stored[payment_id].at(row.revision) if payment_id in stored else None
            if now is None or now.transition != row.transition:
                what = f"{row.revision} was stored, and {'is gone' if now is None else 'has changed'}"
                yield Finding(kind=Kind.HISTORY, who="the database", payment_id=payment_id, what=what)


def _judge_reading(reading: Reading, payment: StoredPayment, line: Timeline) -> Iterator[Finding]:
    wrong = line.wrong(reading.revision, asked_us=reading.asked_us, told_us=reading.answered_us)
    if wrong is not None:
        yield Finding(kind=Kind.STALE, who="a reader", payment_id=reading.payment_id, what=wrong)
    row = payment.at(reading.revision)
    if row is None:
        yield Finding(kind=Kind.NEVER_STORED, who="a reader", payment_id=reading.payment_id, what=f"{reading.revision}")
    elif row.payment != reading.payment:
        what = f"{reading.revision}: {difference(reading.payment, row.payment, pb.Payment)}"
        yield Finding(kind=Kind.CONTENT, who="a reader", payment_id=reading.payment_id, what=what)


class _Judge:
    """Judges one payment's writes."""

    def __init__(self, payment: StoredPayment, tried: Sequence[Attempt], line: Timeline) -> None:
        self._payment = payment
        self._line = line
        self._tried: dict[str, list[Attempt]] = defaultdict(list)
        for attempt in tried:
            self._tried[attempt.request_id].append(attempt)
        self._written = {row.request_id: row for row in payment.revisions}

    def history(self) -> Iterator[Finding]:
        """Judge what is stored by itself, and by what was asked."""
        rows = self._payment.revisions
        revisions = [row.revision for row in rows]
        if revisions != list(range(1, len(rows) + 1)):
            yield self._finding(Kind.HISTORY, f"revisions are {revisions}")
        if self._payment.standing != revisions[-1]:
            yield self._finding(Kind.HISTORY, f"stands at {self._payment.standing}, its history at {revisions[-1]}")
        if len(self._written) != len(rows):
            yield self._finding(Kind.HISTORY, "one request wrote two transitions")
        times = [row.committed_us for row in rows]
        if times != sorted(times):
            yield self._finding(Kind.HISTORY, "a later revision was committed before an earlier one")
        for row in rows:
            if row.state != row.kept_state:
                yield self._finding(Kind.HISTORY, f"{row.revision} is kept as {row.kept_state}, it is {row.state}")
            asked = self._tried[row.request_id]
            if not any(attempt.expected_revision == row.revision - 1 for attempt in asked):
                expected = sorted({attempt.expected_revision for attempt in asked})
                yield self._finding(Kind.HISTORY, f"{row.revision} was written by a request that expected {expected}")
            elif row.snapshot not in {attempt.snapshot for attempt in asked}:
                told = difference(row.snapshot, asked[0].snapshot, payment_pb2.PaymentSnapshot)
                yield self._finding(Kind.HISTORY, f"{row.revision} is not what was asked: {told}")
            else:
                known = self._line.known_by(min(attempt.asked_us for attempt in asked))
                if known >= row.revision:
                    yield self._finding(Kind.HISTORY, f"{row.revision} was asked for after {known} was known")

    def attempt(self, attempt: Attempt) -> Iterator[Finding]:
        """Judge one answer."""
        match attempt.outcome:
            case Written() as answer:
                yield from self._answered(attempt, answer)
            case Refused(reason="REVISION_CONFLICT", current_revision=int() as current):
                yield from self._conflicted(attempt, current)
            case Refused() as refused:
                yield from self._refused(attempt, refused)
            case Unknown():
                pass  # it may have happened or not

    def _answered(self, attempt: Attempt, answer: Written) -> Iterator[Finding]:
        row = self._written.get(attempt.request_id)
        if row is None:
            yield self._finding(Kind.LOST_UPDATE, f"{answer.revision} was acknowledged to {attempt.request_id}")
            return
        if attempt.expected_revision == 0:  # an opening answers with the payment alone
            pass
        elif answer.revision != row.revision:
            yield self._finding(Kind.ANSWER, f"{attempt.request_id} wrote {row.revision}, was told {answer.revision}")
        elif answer.transition != row.transition:
            told = difference(answer.transition, row.transition, pb.Transition)
            yield self._finding(Kind.ANSWER, f"{row.revision}: {told}")
        wrong = self._line.wrong(answer.standing, asked_us=attempt.asked_us, told_us=attempt.ended_us)
        if wrong is not None or answer.standing < row.revision:
            yield self._finding(Kind.ANSWER, wrong or f"stands at {answer.standing}, {row.revision} was written")
        standing = self._payment.at(answer.standing)
        if standing is not None and standing.payment != answer.payment:
            told = difference(answer.payment, standing.payment, pb.Payment)
            yield self._finding(Kind.ANSWER, f"the payment at {answer.standing}: {told}")

    def _conflicted(self, attempt: Attempt, current: int) -> Iterator[Finding]:
        wrong = self._line.wrong(current, asked_us=attempt.asked_us, told_us=attempt.ended_us)
        if wrong is not None:
            yield self._finding(Kind.ANSWER, f"a conflict: {wrong}")
        if current == attempt.expected_revision:
            yield self._finding(Kind.ANSWER, f"a conflict at {current}, which was expected")
        yield from self._was_not_written(attempt, CONFLICT, current)

    def _refused(self, attempt: Attempt, refused: Refused) -> Iterator[Finding]:
        if refused.reason == "TRANSITION_ILLEGAL":
            expected = attempt.expected_revision
            wrong = self._line.wrong(expected, asked_us=attempt.asked_us, told_us=attempt.ended_us)
            if wrong is not None:
                yield self._finding(Kind.ANSWER, f"illegal from {expected}: {wrong}")
            yield from self._was_not_written(attempt, refused.reason, expected)
        else:
            yield self._finding(Kind.ANSWER, f"{attempt.request_id} was refused: {refused.code} {refused.reason}")

    def _was_not_written(self, attempt: Attempt, reason: str, current: int) -> Iterator[Finding]:
        """A repeat of what has written is answered with what it wrote, never refused."""
        row = self._written.get(attempt.request_id)
        if row is not None and max(current, self._line.known_by(attempt.asked_us)) >= row.revision:
            yield self._finding(Kind.ANSWER, f"{attempt.request_id} wrote {row.revision} and was told {reason}")

    def _finding(self, kind: Kind, what: str) -> Finding:
        return Finding(kind=kind, who="a writer", payment_id=self._payment.payment_id, what=what)
