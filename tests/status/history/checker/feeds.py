"""Judges the feeds: that nothing is missed, however late it committed, and that each change is told as it is. Pure.

What a feed owes is worked out from its origin: all that matches and certainly comes after it. A feed that goes on after
the cursor of an earlier message owes what committed after that message came, and what the earlier feed owed and had not
sent by then. Within a stream the revisions of a payment come in order and once; a repeat is for those who went on.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import payment_pb2
from tests.status.history.checker.findings import Finding, Kind, difference
from tests.status.history.checker.timeline import Timeline
from tests.status.history.checker.watches import may_go_on
from tests.status.history.reports import (
    AfterMessage,
    Change,
    FeedMessage,
    FeedStream,
    FromNow,
    Listing,
)
from tests.status.history.stored import Revision, Stored, StoredPayment

Place = tuple[str, int]
"""Payment id and revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A transition as a filter sees it."""

    row: Revision
    relation: str


def relations(feed_filter: pb.PaymentFilter, stored: Stored) -> dict[Place, Due]:
    """Return every transition that a feed with this filter carries."""
    due: dict[Place, Due] = {}
    for payment in stored.values():
        before = False
        for row in payment.revisions:
            now = matches(feed_filter, payment, row)
            if now or before:
                relation = "LEFT" if not now else "INSIDE" if before else "ENTERED"
                due[payment.payment_id, row.revision] = Due(row=row, relation=relation)
            before = now
    return due


def matches(feed_filter: pb.PaymentFilter, payment: StoredPayment, row: Revision) -> bool:
    states = {payment_pb2.PaymentState.Name(state).removeprefix("PAYMENT_STATE_") for state in feed_filter.states}
    return (
        feed_filter.payer_id in ("", payment.payer_id)
        and (not feed_filter.seller_id or feed_filter.seller_id in payment.seller_ids)
        and (not feed_filter.booking_id or feed_filter.booking_id in payment.booking_ids)
        and feed_filter.client_reference in ("", payment.client_reference)
        and (not states or row.state in states)
        and not (feed_filter.unsettled_only and row.settled)
    )


class Feeds:
    """Judges the feeds of one report, whose filters and origins they share."""

    def __init__(self, stored: Stored, lines: Mapping[str, Timeline]) -> None:
        self._stored = stored
        self._lines = lines
        self._relations: dict[bytes, dict[Place, Due]] = {}
        self._owed: dict[int, dict[Place, Due]] = {}

    def relations(self, feed_filter: pb.PaymentFilter) -> dict[Place, Due]:
        key = feed_filter.SerializeToString(deterministic=True)
        if key not in self._relations:
            self._relations[key] = relations(feed_filter, self._stored)
        return self._relations[key]

    def owed(self, stream: FeedStream) -> dict[Place, Due]:
        """Return what a stream certainly owes, if it is given the time."""
        if id(stream) not in self._owed:
            every = self.relations(stream.filter)
            match stream.origin:
                case FromNow():
                    owed = _committed_after(every, stream.messages[0].at_us) if stream.messages else {}
                case Listing() as listing:
                    owed = _committed_after(every, listing.answered_us) | {
                        (payment_id, revision): due
                        for (payment_id, revision), due in every.items()
                        if revision > listing.revisions.get(payment_id, due.row.revision)
                    }
                case AfterMessage(stream=before, index=index):
                    late = _committed_after(every, before.messages[index].at_us)
                    sent, sent_later = _sent(before.messages[: index + 1]), _sent(before.messages[index + 1 :])
                    left = (self.owed(before).keys() | sent_later) - sent
                    owed = late | {place: every[place] for place in left & every.keys()}
            self._owed[id(stream)] = owed
        return self._owed[id(stream)]

    def missing(self, stream: FeedStream) -> dict[Place, Due]:
        """Return what a stream owes and has not sent."""
        sent = _sent(stream.messages)
        return {place: due for place, due in self.owed(stream).items() if place not in sent}

    def judge(self, stream: FeedStream) -> Iterator[Finding]:
        """Say what is wrong with what came on one stream. One that has not ended must have sent all it owes."""
        every = self.relations(stream.filter)
        last: dict[str, int] = defaultdict(int)
        owed_of: dict[str, list[int]] = defaultdict(list)
        for payment_id, revision in sorted(self.owed(stream)):
            owed_of[payment_id].append(revision)
        for index, message in enumerate(stream.messages):
            if not message.cursor and not message.changes:
                yield _finding(stream, Kind.NO_CURSOR, "", f"message {index}, which carries nothing")
            if index == 0 and message.changes:
                yield _finding(stream, Kind.PROTOCOL, "", "the first message carries changes")
            for change in message.changes:
                yield from self._judge_change(stream, message, change, every)
                revision, before = change.revision, last[change.payment_id]
                if revision <= before:
                    kind = Kind.DUPLICATE if revision == before else Kind.OUT_OF_ORDER
                    yield _finding(stream, kind, change.payment_id, f"{revision} after {before}")
                for owed in owed_of[change.payment_id]:
                    if before < owed < revision:
                        told = f"{revision} after {before}, without {owed}"
                        yield _finding(stream, Kind.GAP, change.payment_id, told)
                last[change.payment_id] = max(before, revision)
        yield from self._judge_end(stream)

    def _judge_change(
        self, stream: FeedStream, message: FeedMessage, change: Change, every: Mapping[Place, Due]
    ) -> Iterator[Finding]:
        payment = self._stored.get(change.payment_id)
        row = payment.at(change.revision) if payment else None
        if payment is None or row is None:
            yield _finding(stream, Kind.NEVER_STORED, change.payment_id, f"{change.revision}")
            return
        if change.content != row.payment:
            told = difference(change.content, row.payment, pb.Payment)
            yield _finding(stream, Kind.CONTENT, change.payment_id, f"{change.revision}: {told}")
        if change.revision > self._lines[change.payment_id].possible_by(message.at_us):
            early = f"{change.revision} came {row.committed_us - message.at_us} µs too early"
            yield _finding(stream, Kind.BEFORE_COMMIT, change.payment_id, early)
        due = every.get((change.payment_id, change.revision))
        if due is None:
            yield _finding(stream, Kind.OUTSIDE, change.payment_id, f"{change.revision} as {change.relation}")
        elif due.relation != change.relation:
            told = f"{change.revision} as {change.relation}, it is {due.relation}"
            yield _finding(stream, Kind.RELATION, change.payment_id, told)
        first = _first_of_line(stream)
        if isinstance(first.origin, FromNow) and _had_ended(row, first):
            yield _finding(stream, Kind.WRONG_BEGIN, change.payment_id, f"{change.revision} is older than the feed")

    def _judge_end(self, stream: FeedStream) -> Iterator[Finding]:
        ended = stream.ended
        if (ended is None or ended.code == "OK") and stream.messages and not stream.messages[-1].cursor:
            yield _finding(stream, Kind.NO_CURSOR, "", "the last message")
        if ended is None:
            for (payment_id, revision), due in self.missing(stream).items():
                yield _finding(stream, Kind.MISSED, payment_id, f"{revision}, {due.relation}, xid {due.row.xid}")
            if not stream.messages:
                yield _finding(stream, Kind.NOT_CAUGHT_UP, "", "no first message came")
            if stream.until_caught_up:
                yield _finding(stream, Kind.NOT_ENDED, "", "all was sent")
        elif ended.code == "OK" and stream.until_caught_up:
            for (payment_id, revision), due in self.missing(stream).items():
                if _had_ended(due.row, stream):
                    told = f"{revision}, {due.relation}, could be sent when the feed began"
                    yield _finding(stream, Kind.CAUGHT_UP_EARLY, payment_id, told)
        elif not may_go_on(ended):
            yield _finding(stream, Kind.END, "", f"{ended.code} {ended.reason} {ended.details}")


def _first_of_line(stream: FeedStream) -> FeedStream:
    """Return the stream from which, by cursors, others went on to this one."""
    while isinstance(stream.origin, AfterMessage):
        stream = stream.origin.stream
    return stream


def _had_ended(row: Revision, stream: FeedStream) -> bool:
    """Return whether a transaction, and all before it, had surely ended when a feed was asked for.

    The number alone does not say so: after a crash, those of transactions that left no trace are given again.
    """
    return row.committed_us < stream.asked_us and row.xid < stream.settled_xid


def _committed_after(every: Mapping[Place, Due], at_us: int) -> dict[Place, Due]:
    return {place: due for place, due in every.items() if due.row.committed_us > at_us}


def _sent(messages: list[FeedMessage]) -> set[Place]:
    return {(change.payment_id, change.revision) for message in messages for change in message.changes}


def _finding(stream: FeedStream, kind: Kind, payment_id: str, what: str) -> Finding:
    return Finding(kind=kind, who=stream.watcher, payment_id=payment_id, what=what)
