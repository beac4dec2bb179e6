"""What is counted of mails: what became of them, how long a server took, and how long the oldest has waited."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Final

from services.orchestrator.mail.store import Waiting
from services.runtime.observability.metrics import OFF, Meter, Metric, counter, gauge, histogram, one_of

WAITING_COUNTED_MAX: Final = 10_000


class Outcome(StrEnum):
    """What became of a try."""

    SENT = "sent"
    REFUSED = "refused"
    """The address takes no mail."""
    SKIPPED = "skipped"
    """Nobody is to get it."""
    NOT_TAKEN = "not_taken"
    """Tried again: the server is away, or does not want it now, or its answer did not come."""


MAILS: Final = counter(
    "batzen_mails_total",
    "Tries to send a mail, by what became of them. What became of one in a process that died right after is missing.",
    one_of("outcome", *Outcome),
)
SEND: Final = histogram(
    "batzen_mail_send_seconds",
    "How long the server took for a mail that it took: connecting, TLS and all.",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60),
)
WAITING: Final = gauge(
    "batzen_mails_waiting",
    f"Mails that are not sent yet, but for those that were given up; at most {WAITING_COUNTED_MAX} are counted."
    " Each replica counts all: use max().",
)
OLDEST: Final = gauge(
    "batzen_mails_oldest_seconds",
    "For how long the oldest of them has waited; 0 where none does. Each replica says so of all: use max().",
)

METRICS: Final[tuple[Metric, ...]] = (MAILS, SEND, WAITING, OLDEST)


class MailMetrics:
    """What is counted in one process."""

    def __init__(self, meter: Meter) -> None:
        self._mails = meter.counter(MAILS)
        self._send = meter.histogram(SEND)
        self._waiting = meter.gauge(WAITING)
        self._oldest = meter.gauge(OLDEST)
        for outcome in Outcome:
            self._mails.begin(outcome)

    def tried(self, outcome: Outcome) -> None:
        """Count a try."""
        self._mails.add(outcome)

    def took(self, seconds: float) -> None:
        """Note how long a server took for a mail that it took."""
        self._send.observe(seconds)

    def waits(self, waiting: Waiting, *, now: datetime) -> None:
        """Show what waits."""
        oldest_s = 0.0 if waiting.oldest_time is None else max(0.0, (now - waiting.oldest_time).total_seconds())
        self._waiting.set(waiting.count)
        self._oldest.set(oldest_s)


UNCOUNTED: Final = MailMetrics(OFF)
