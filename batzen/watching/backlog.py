"""What one reader has still to be given of a payment: each revision after its place, in order, in bounded memory. Pure.

A backlog takes what is offered if it is the very next revision. Where there is a gap or no room it is *behind*: it
takes nothing more, and its reader reads the history from its own place on, whenever it gets there. So a slow reader
costs a bounded amount, holds up nobody, and misses nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto
from itertools import islice

import grpc

from batzen import errors
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.watching.assertions import Assertion
from batzen.watching.figures import Figures


class Needs(Enum):
    """What a reader has to do when its backlog is empty."""

    NOTHING = auto()
    """Wait until something is offered."""
    PAYMENT = auto()
    """Read the payment, and `begin`."""
    HISTORY = auto()
    """Read transitions after `tail`, and `fill`."""


class Backlog:
    """One reader's place in a payment's history, and what is ready for it."""

    def __init__(
        self,
        *,
        queue_max: int,
        figures: Figures,
        after_revision: int | None = None,
        until_settled: bool = False,
        latest_only: bool = False,
        assertion: Assertion | None = None,
    ) -> None:
        self.assertion = assertion
        self.latest_only = latest_only
        self.changed: Callable[[], None] = lambda: None
        """Called when there may be something to take or to read."""
        self.tail = after_revision
        """The last revision in the queue, or delivered; None until the reader has a place."""
        self.is_opening = True
        """Whether it has yet to learn where the payment stands, from the stream."""
        self.is_over = False
        """Whether the last update was delivered: the payment is settled, and the reader ends there."""
        self.error: Exception | None = None
        """What ended it; comes after what is in the queue."""
        self._until_settled = until_settled
        self._queue_max = queue_max
        self._figures = figures
        self._queue: list[Transition] = []  # bounded, and empty most of the time: a deque takes 0.7 KB for nothing
        self._told = after_revision
        self._known = 0  # the newest revision that is known to be there
        self._reads_payment = False

    @property
    def needs(self) -> Needs:
        if self._reads_payment:
            return Needs.PAYMENT
        if self.is_behind:
            return Needs.PAYMENT if self.latest_only else Needs.HISTORY
        return Needs.NOTHING

    @property
    def waiting(self) -> int:
        """How many updates wait for the reader."""
        return len(self._queue)

    @property
    def is_ready(self) -> bool:
        """Whether there is something to tell, or it came to its end."""
        return bool(self._queue) or self.is_over or self.error is not None

    @property
    def is_behind(self) -> bool:
        """Whether there are revisions that it will have to read."""
        return self.tail is not None and self.tail < self._known

    @property
    def is_trusted(self) -> bool:
        """Whether the server has taken the token of whom it is for. Until then it gets only what it reads itself."""
        return self.assertion is None or self.assertion.is_verified

    def take(self) -> Transition | None:
        """Return the next update; None if there is none now."""
        if not self._queue:
            return None
        update = self._queue.pop(0)
        self._told = update.revision
        if self._until_settled and update.settled:
            self._end()
        return update

    def offer(self, update: Transition) -> None:
        """Take an update from the server, if it is the next."""
        if self.is_over:
            return
        was_behind = self.is_behind
        self._known = max(self._known, update.revision)
        if not self.is_trusted or self._reads_payment or self.tail is None or update.revision <= self.tail:
            return
        if self.latest_only:
            self._queue.clear()
            self._append(update)
        elif not was_behind and update.revision == self.tail + 1:
            if len(self._queue) < self._queue_max:
                self._append(update)
            else:
                self._overflow()
        self.changed()

    def opened(self, *, revision: int, payment: Payment | None) -> None:
        """Learn from the stream where the payment stands; what comes after that is offered."""
        if not self.is_opening or self._reads_payment:
            return
        if not self.is_trusted:
            self.read_first(known=revision)
            return
        self.is_opening = False
        if payment is not None and self.tail is None:
            self._append(as_transition(payment))
        elif self.tail is None or (self._until_settled and self.tail == revision):
            self._reads_payment = True
        elif self.tail > revision:
            self.fail(_revision_ahead(revision))
        self.changed()

    def read_first(self, *, known: int) -> None:
        """Begin with a payment that this reader reads for itself; `known` is the newest revision known so far."""
        self._reads_payment = True
        self.note(known)

    def note(self, revision: int) -> None:
        """Learn that there is a revision, which will not be offered."""
        self._known = max(self._known, revision)
        self.changed()

    def begin(self, payment: Payment) -> None:
        """Take a payment that its reader has read."""
        self._reads_payment = False
        is_first, self.is_opening = self.is_opening, False
        self._known = max(self._known, payment.revision)
        if self.tail is None or (self.latest_only and payment.revision > self.tail):
            self._append(as_transition(payment))
        elif payment.revision < self.tail and is_first:
            self.fail(_revision_ahead(payment.revision))
        elif payment.revision == self.tail and payment.settled and self._until_settled and not self._queue:
            self._end()

    def fill(self, transitions: Iterable[Transition]) -> None:
        """Take transitions that its reader has read after `tail`."""
        for update in islice(transitions, self._queue_max):
            if self.tail is not None and update.revision > self.tail + 1:
                raise ValueError(f"the history of {update.payment_id} has a gap after revision {self.tail}")
            if self.tail is None or update.revision == self.tail + 1:
                self._append(update)

    def fail(self, error: Exception) -> None:
        """End it with an error, once what is in the queue was delivered; the first error stands."""
        if self.error is None and not self.is_over:
            self.error = error
            self.changed()

    def _append(self, update: Transition) -> None:
        self._queue.append(update)
        self.tail = update.revision
        self._known = max(self._known, update.revision)

    def _overflow(self) -> None:
        self._figures.slow_readers += 1
        self._queue.clear()
        self.tail = self._told
        if self.tail is None:  # nothing was told yet: it may begin with the payment as it stands when it gets there
            self._reads_payment = True

    def _end(self) -> None:
        self.is_over = True
        self._queue.clear()
        self.changed()


def as_transition(payment: Payment) -> Transition:
    """Return a payment as it stands, in the form of a transition; without a `request_id`."""
    return Transition(
        payment_id=payment.payment_id,
        revision=payment.revision,
        state=payment.state,
        settled=payment.settled,
        phase=payment.phase,
        snapshot=payment.snapshot,
        record_time=payment.update_time,
    )


def _revision_ahead(revision: int) -> errors.BatzenError:
    return errors.refused(
        grpc.StatusCode.OUT_OF_RANGE,
        reason="REVISION_AHEAD",
        message="The payment has not come to this revision yet; resume after one that you have seen.",
        metadata={"current_revision": str(revision)},
    )
