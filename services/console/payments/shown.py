"""What pages of payments show of instants and states. Pure.

The console speaks English, as the command line and the runbook do, and says of each time which zone it is of.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from google.protobuf.timestamp_pb2 import Timestamp

from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.payment_pb2 import PaymentState

ZONE: Final = ZoneInfo("Europe/Zurich")
"""Whose clock the pages show."""
SPACE: Final = "\N{NO-BREAK SPACE}"
_STEPS: Final = (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1)))
_PREFIX: Final = "PAYMENT_STATE_"


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant, for a `<time>`."""

    iso: str
    text: str
    """With its seconds and zone."""
    brief: str
    """For a table: without year and seconds."""


@dataclass(frozen=True, slots=True)
class Badge:
    """A word with a colour and a shape."""

    word: str
    tone: str
    """`good`, `warn`, `bad`, `busy` or `quiet`."""


TONES: Final = {
    "INITIALIZED": "quiet",
    "REQUIRES_PAYMENT_METHOD": "quiet",
    "SCHEDULED": "quiet",
    "PROCESSING": "busy",
    "REQUIRES_ACTION": "busy",
    "AUTHORIZED": "busy",
    "SUCCEEDED": "good",
    "FAILED": "bad",
    "CANCELED": "quiet",
    "EXPIRED": "quiet",
    "PARTIALLY_REFUNDED": "warn",
    "REFUNDED": "warn",
    "DISPUTED": "bad",
    "DISPUTE_LOST": "bad",
}
"""Of each state; one that is newer than this front is `quiet`."""


SHORT: Final = {
    "REQUIRES_PAYMENT_METHOD": "Awaits method",
    "REQUIRES_ACTION": "Awaits payer",
    "PARTIALLY_REFUNDED": "Partly refunded",
}
"""States whose names are long, as a table shows them."""
FACTS: Final = {"bt": "Balance transaction"}
"""Facts of the ledger whose names say little."""


def moment(stamp: Timestamp) -> Moment:
    """Return an instant by the clock of the pages."""
    return moment_of(stamp.ToDatetime(UTC))


def moment_of(instant: datetime) -> Moment:
    """Return an instant by the clock of the pages."""
    at = instant.astimezone(ZONE)
    return Moment(
        iso=instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        text=at.strftime("%d %b %Y, %H:%M:%S %Z").replace(" ", SPACE),
        brief=at.strftime("%d %b, %H:%M").replace(" ", SPACE),
    )


def span(length: timedelta) -> str:
    """Return how long something is, by its largest unit: `3 d`, `12 min`, `4 s`."""
    for name, unit in _STEPS:
        if length >= unit:
            return f"{int(length / unit)}{SPACE}{name}"
    return f"{int(length.total_seconds())}{SPACE}s"


def words(name: str) -> str:
    """Return what people read for an UPPER_SNAKE_CASE name: `OUTCOME_UNKNOWN` is `Outcome unknown`."""
    return name.replace("_", " ").capitalize()


def fact_words(fact: str) -> str:
    """Return what people read for a fact of the ledger."""
    return FACTS.get(fact, words(fact))


def state_name(state: int) -> str:
    """Return the name of a payment's state, also of one that this front does not know."""
    known = PaymentState.DESCRIPTOR.values_by_number.get(state)
    return f"STATE_{state}" if known is None else str(known.name).removeprefix(_PREFIX)


def state_words(name: str) -> str:
    """Return what people read for a state's name."""
    return SHORT.get(name, words(name))


def state_of(payment: Payment | Transition) -> Badge:
    """Return how a payment stands."""
    name = state_name(payment.state)
    return Badge(state_words(name), TONES.get(name, "quiet"))
