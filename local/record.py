"""What happened to one payment of the demo, in order."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

from batzen.cli.states import name
from batzen.pricing.v1.pricing_pb2 import Quote
from batzen.status.v1.status_pb2 import Payment, Transition
from batzen.type.v1.money_pb2 import Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """Something the payer or the shop did."""

    time: datetime
    text: str


@dataclass(slots=True, kw_only=True)
class Record:
    """What happened to one payment, in order."""

    total: Money
    payment: Payment = field(default_factory=Payment)
    quote: Quote = field(default_factory=Quote)
    gave_back: set[str] = field(default_factory=set)
    """The sellers all of whose part of a cart went back."""
    happened: list[Deed | Transition] = field(default_factory=list)
    """As it came to us: what a stream tells comes a little after it was."""
    waited_s: float = 0.0
    """What callers waited for answers, Stripe's share included."""
    stripe_s: float | None = 0.0
    """The share of that which the stand-in says was its own; None where it cannot be told."""

    @property
    def events(self) -> list[Deed | Transition]:
        """What happened, in the order it happened in."""
        return sorted(self.happened, key=time_of)

    @property
    def updates(self) -> list[Transition]:
        return [event for event in self.happened if isinstance(event, Transition)]

    @property
    def states(self) -> list[str]:
        return [name(update.state) for update in self.updates]


def time_of(event: Deed | Transition) -> datetime:
    """Return when something happened, by this machine's clock."""
    return event.time if isinstance(event, Deed) else event.record_time.ToDatetime(UTC)
