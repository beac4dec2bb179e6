"""Showing what is expected of a payment before it is true, and taking it back when it does not come true. Pure.

Only who asks for it is shown anything but the truth, and what is provisional says so. Money is never moved, nor a
booking confirmed, on a provisional update.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from batzen.status.v1.status_pb2 import Transition
from batzen.type.v1.payment_pb2 import PaymentState
from batzen.vocabularies import PHASES


class Kind(StrEnum):
    """What an update is."""

    TRUTH = "TRUTH"
    """A revision of the payment."""
    PROVISIONAL = "PROVISIONAL"
    """What is expected next: the last revision, with the expected state in place of its own."""
    ROLLBACK = "ROLLBACK"
    """The truth, after something else was shown. Either a new revision that is not what was expected, or the last one
    again, because nothing came in time or the expectation was withdrawn."""


@dataclass(frozen=True, slots=True)
class Update:
    """One thing to show of a payment; it takes the place of what was shown before."""

    transition: Transition
    kind: Kind


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Expectation:
    """What a payment is expected to become."""

    payment_id: str
    state: PaymentState
    through: Collection[PaymentState] = ()
    """States on the way there, at which it goes on being expected."""
    after_revision: int | None = None
    """The revision upon which it is expected; None means whichever a reader is at."""


class Optimism:
    """What one reader is shown: the truth, with what is expected of it laid over."""

    def __init__(self) -> None:
        self._truth: Transition | None = None
        self._expectation: Expectation | None = None
        self._after_revision: int | None = None
        self._shown: Expectation | None = None

    def heard(self, update: Transition) -> Update:
        """Take the next revision, and return what to show for it."""
        was_shown, self._shown = self._shown is not None, None
        self._truth = update
        is_denied = self._hold_against(update)
        return Update(update, Kind.ROLLBACK if is_denied and was_shown else Kind.TRUTH)

    def overlay(self) -> Update | None:
        """Return what to show though no revision came; None if what is shown is still right."""
        truth, wanted = self._truth, self._expectation
        if truth is None or (self._after_revision is not None and truth.revision < self._after_revision):
            wanted = None
        if truth is None or wanted is self._shown:
            return None
        self._shown = wanted
        return Update(truth, Kind.ROLLBACK) if wanted is None else _provisional(truth, wanted)

    def expected(self, expectation: Expectation) -> None:
        """Take an expectation in place of an earlier one."""
        self._expectation, self._after_revision = expectation, expectation.after_revision
        if self._truth is not None:
            self._hold_against(self._truth)

    def withdrawn(self, expectation: Expectation) -> None:
        """Learn that something is not expected any more."""
        if expectation is self._expectation:
            self._expectation = None

    def _hold_against(self, truth: Transition) -> bool:
        """End the expectation if a revision meets or denies it; return whether it was denied."""
        expectation = self._expectation
        if expectation is None:
            return False
        if self._after_revision is None:
            self._after_revision = truth.revision
        if truth.revision < self._after_revision:
            return False
        is_met = truth.state == expectation.state
        is_denied = not is_met and truth.revision > self._after_revision and truth.state not in expectation.through
        if is_met or is_denied:
            self._expectation = None
        return is_denied


def _provisional(truth: Transition, expectation: Expectation) -> Update:
    expected = Transition()
    expected.CopyFrom(truth)
    expected.state = expectation.state
    expected.phase = PHASES[expectation.state]
    expected.settled = False
    expected.request_id = ""
    return Update(expected, Kind.PROVISIONAL)
