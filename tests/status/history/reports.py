"""What watchers and writers report: everything that they asked and were told, in order, with when.

Times are microseconds of the machine's clock, the one by which the database dates its commits. What was received is
dated after it came, what was asked before it went: so an interval is never shorter than the truth.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from batzen.status.v1 import status_pb2 as pb


def now_us() -> int:
    return time.time_ns() // 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """From where a watch of one payment was asked for, and how."""

    payment_id: str
    at_us: int
    after_revision: int | None = None
    latest_only: bool = False
    until_settled: bool = False
    has_header: bool = True
    """False for what the client package makes of its streams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """The header of a WatchPayment, or the Created of a WatchMany."""

    at_us: int
    current_revision: int
    payment: bytes | None
    payment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """A transition."""

    at_us: int
    revision: int
    content: bytes
    payment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """A heartbeat; `revision` is None in a WatchMany."""

    at_us: int
    revision: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """A message that the contract does not know."""

    at_us: int
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a stream, or one watch of a WatchMany, ended."""

    at_us: int
    code: str
    """A name of google.rpc.Code; LEFT when the watcher itself left."""
    reason: str = ""
    """Empty when the end came from elsewhere than the service."""
    details: str = ""
    resume_after_revision: int | None = None
    current_revision: int | None = None
    payment_id: str = ""


LEFT = "LEFT"

Event = Began | Came | Alive | Broken | Ended


@dataclass(slots=True, kw_only=True)
class Stretch:
    """One watch of one payment, from what was asked to its end, or to the end of the report."""

    watcher: str
    asked: Asked
    events: list[Event] = field(default_factory=list)

    @property
    def ended(self) -> Ended | None:
        return self.events[-1] if self.events and isinstance(self.events[-1], Ended) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A Drop on a WatchMany."""

    payment_id: str
    at_us: int


@dataclass(slots=True, kw_only=True)
class ManyStream:
    """One WatchMany: what was asked on it, and what came."""

    watcher: str
    commands: list[Asked | Dropped] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    @property
    def ended(self) -> Ended | None:
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Ended) and not last.payment_id else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of a feed."""

    payment_id: str
    revision: int
    relation: str
    """ENTERED, INSIDE or LEFT."""
    content: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedMessage:
    at_us: int
    changes: tuple[Change, ...]
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A walk through a list, which began a feed."""

    asked_us: int
    answered_us: int
    """When its first page came, which carried the cursor."""
    filter: pb.PaymentFilter
    revisions: dict[str, int]
    """The revision of each payment that was listed."""
    cursor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FromNow:
    """No cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AfterMessage:
    """The cursor of a message of an earlier feed, of whatever filter."""

    stream: FeedStream
    index: int


Origin = FromNow | AfterMessage | Listing


@dataclass(slots=True, kw_only=True)
class FeedStream:
    """One WatchPayments."""

    watcher: str
    filter: pb.PaymentFilter
    """What the caller can get to see, too: a payer's filter has its own id."""
    origin: Origin
    asked_us: int
    settled_xid: int
    """Every transaction below it had ended by the time the feed was asked for; 0 if that is not known."""
    until_caught_up: bool = False
    messages: list[FeedMessage] = field(default_factory=list)
    ended: Ended | None = None


Stream = TypeVar("Stream", Stretch, ManyStream, FeedStream)


@dataclass(slots=True, kw_only=True)
class Watcher(Generic[Stream]):
    """Who followed one payment, many, or a feed, over one stream after the other."""

    name: str
    streams: list[Stream] = field(default_factory=list)
    is_done: bool = False
    """It has gone home with all that it wanted to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """RecordTransition was answered."""

    revision: int
    transition: bytes
    standing: int
    """The revision of the payment in the answer."""
    payment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """RecordTransition was refused for good."""

    code: str
    reason: str
    current_revision: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """RecordTransition may have happened, or may happen yet."""

    code: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call of RecordTransition; or of OpenPayment, which expects revision 0."""

    payment_id: str
    request_id: str
    expected_revision: int
    snapshot: bytes
    asked_us: int
    ended_us: int
    outcome: Written | Refused | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A GetPayment."""

    payment_id: str
    asked_us: int
    answered_us: int
    revision: int
    payment: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that everybody reports of one run."""

    ones: Sequence[Watcher[Stretch]] = ()
    many: Sequence[Watcher[ManyStream]] = ()
    feeds: Sequence[Watcher[FeedStream]] = ()
    attempts: Sequence[Attempt] = ()
    readings: Sequence[Reading] = ()
