"""One payment as it is followed for everyone here who follows it in the same name: one watch, many readers. Pure.

The first reader's watch is the one that is added. Whoever joins later reads the payment first, under their own token:
that says whether they may, and where the payment stands now. Each reader has a backlog of its own; this is what they
share: how far the payment was heard, and what to do when the server refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from batzen import errors
from batzen.status.v1.status_pb2 import Payment, Transition, WatchManyRequest
from batzen.watching.assertions import Assertion, Principal
from batzen.watching.backlog import Backlog, as_transition
from batzen.watching.figures import Figures
from batzen.watching.limits import Backoff


class Verdict(Enum):
    """What becomes of a watch that the server did not begin, or ended."""

    AGAIN = auto()
    """Add it again, not before `retry_at`."""
    ELSEWHERE = auto()
    """This stream is full: add it on another."""
    OVER = auto()
    """No reader is left."""


@dataclass(slots=True)
class Asked:
    """In whose name the payment was watched."""

    assertion: Assertion | None = None
    """None: the client itself."""
    token: str = ""
    """What was asked with; empty when the client asks for itself."""
    newest_token: str = ""
    """What was said since then."""


class Topic:
    """What the readers of one payment share."""

    def __init__(
        self,
        payment_id: str,
        principal: Principal | None,
        *,
        backoff: Backoff,
        patience_s: float,
        figures: Figures,
        saw: Callable[[Transition], None],
    ) -> None:
        self.payment_id = payment_id
        self.principal = principal
        """In whose name it is followed; None for the client itself."""
        self.readers: dict[Backlog, None] = {}
        self.heard: int | None = None
        """The last revision that was received; every reader has what is up to it, or knows that it has to read it."""
        self.retry_at = 0.0
        """When to add it again, by the clock of `refused`."""
        self._backoff = backoff
        self._patience_s = patience_s
        self._figures = figures
        self._saw = saw
        self._trouble_since: float | None = None

    @property
    def is_opening(self) -> bool:
        """Whether a reader has yet to learn where the payment stands."""
        return any(reader.is_opening for reader in self.readers)

    def join(self, reader: Backlog) -> None:
        """Take a reader; the first one has to be the one with which the topic is made."""
        if self.readers:
            reader.read_first(known=self.heard or 0)
        else:
            self.heard = reader.tail
        self.readers[reader] = None

    def leave(self, reader: Backlog) -> None:
        """Let a reader go."""
        self.readers.pop(reader, None)

    def ask(self) -> Asked | None:
        """Choose in whose name to ask: one that was taken before, if there is any; None if nobody is left who can."""
        if self.principal is None:
            return Asked()
        tokens = self.tokens()
        if not tokens:
            return None
        assertion = max(tokens, key=lambda assertion: (assertion.is_verified, assertion.expire_time_s))
        return Asked(assertion, tokens[assertion], tokens[assertion])

    def add(self, asked: Asked) -> WatchManyRequest.Add:
        """Return the command that begins the watch."""
        return WatchManyRequest.Add(
            payment_id=self.payment_id,
            after_revision=self.heard,
            latest_only=all(reader.latest_only for reader in self.readers),
            assertion=asked.token,
        )

    def tokens(self) -> dict[Assertion, str]:
        """Return the current token of each assertion. A reader whose source of tokens fails, fails with it."""
        tokens = {}
        for reader in list(self.readers):
            if reader.assertion is None:
                continue
            try:
                tokens[reader.assertion] = reader.assertion.current()
            except Exception as error:  # noqa: BLE001 whatever a caller's function raises is its own reader's failure
                self._fail(reader, error)
        return tokens

    # What is received, by stream or by poll.

    def opened(self, asked: Asked, *, revision: int, payment: Payment | None) -> None:
        """Learn that the server lets us follow the payment, and where it stands."""
        self.answered()
        if asked.assertion is not None:
            asked.assertion.is_verified = True
        if payment is not None:
            self._saw(as_transition(payment))
        starts_here = self.heard is None
        if starts_here:
            self.heard = revision
        for reader in list(self.readers):
            if starts_here:
                reader.note(revision)
            reader.opened(revision=revision, payment=payment)
            if reader.error is not None:
                del self.readers[reader]

    def answered(self) -> None:
        """Learn that the server answered for this payment."""
        self._trouble_since = None
        self._backoff.succeeded()

    def transition(self, update: Transition) -> None:
        """Hand on what was received, if it is new."""
        if self.heard is not None and update.revision <= self.heard:
            self._figures.duplicates += 1
            return
        self.heard = update.revision
        self._figures.received += 1
        self._saw(update)
        for reader in self.readers:
            reader.offer(update)

    def refused(self, asked: Asked, error: errors.BatzenError, *, now: float) -> Verdict:
        """Learn that the server did not begin the watch, or ended it. `now` is in seconds of any clock."""
        self.retry_at = now
        if error.reason == "TOO_MANY_WATCHES":
            return Verdict.ELSEWHERE
        if isinstance(error, errors.OutOfRange):
            self._fail_those_at_the_end(error)
        elif not isinstance(error, errors.LASTING) or self._is_renewed(asked, error):
            self._wait(error, now=now)
        else:
            self._fail_those_who_asked(asked, error)
        return Verdict.AGAIN if self.readers else Verdict.OVER

    def fail(self, error: Exception) -> None:
        """End all readers with an error."""
        for reader in list(self.readers):
            self._fail(reader, error.again() if isinstance(error, errors.BatzenError) else error)

    def _wait(self, error: errors.BatzenError, *, now: float) -> None:
        if self._trouble_since is None:
            self._trouble_since = now
        if now - self._trouble_since > self._patience_s:
            self.fail(error)
        self.retry_at = now + self._backoff.failed()

    def _is_renewed(self, asked: Asked, error: errors.BatzenError) -> bool:
        """Return whether there is a newer token than the one that was asked with, also if it was said just too late."""
        if asked.assertion is None or not isinstance(error, errors.Unauthenticated):
            return False
        return self.tokens().get(asked.assertion, asked.token) != asked.token

    def _fail_those_who_asked(self, asked: Asked, error: errors.BatzenError) -> None:
        """Fail the reader whose token was refused; the others ask with their own."""
        for reader in list(self.readers):
            if reader.assertion is asked.assertion:
                self._fail(reader, error.again())

    def _fail_those_at_the_end(self, error: errors.BatzenError) -> None:
        """Fail the readers who asked for revisions that are not there; the others go on from where they are."""
        for reader in list(self.readers):
            if reader.tail == self.heard:
                self._fail(reader, error.again())
        self.heard = min((reader.tail for reader in self.readers if reader.tail is not None), default=None)

    def _fail(self, reader: Backlog, error: Exception) -> None:
        del self.readers[reader]
        reader.fail(error)
