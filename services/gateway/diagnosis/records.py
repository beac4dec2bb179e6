"""What is kept of a payment beside its mirror, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from services.gateway.ledger.domain import Account, Entry
from services.gateway.mirror.payment import MirroredPayment


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A row of work, if there is one."""

    is_due: bool
    """It is done by itself sooner or later."""
    is_dead: bool
    """It was given up, and waits for an operator."""
    problem: str
    """What went wrong last; empty where nothing did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement(Due):
    """What is still to be moved for sellers."""

    missing: str
    create_time: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery(Due):
    """What the orchestrator is to hear outside of an answer."""

    wanted_version: int
    delivered_version: int

    @property
    def is_open(self) -> bool:
        """Whether it has not heard it."""
        return self.delivered_version < self.wanted_version


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenCall(Due):
    """A call to Stripe without an answer."""

    operation: str
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """A balance transaction that is kept, and what of it is booked."""

    balance_transaction_id: str
    currency_code: str
    net_minor: int
    booked_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """All that is kept of one payment, as it was at one moment."""

    payment: MirroredPayment
    is_held: bool
    """Somebody moves it: what is kept may be a moment between two."""
    entries: tuple[Entry, ...]
    """What its own facts come to in the ledger, place by place."""
    balances: tuple[Entry, ...]
    """The same with what its balance transactions book."""
    unbalanced: tuple[tuple[str, str, int], ...]
    """Facts whose entries do not come to zero: fact, currency and sum."""
    found_by: tuple[tuple[int, str, str, str], ...]
    """Attempt, and Stripe's ids of its intent, charge and page by which it is found."""
    movements_found_by: tuple[tuple[str, str], ...]
    """A movement, and Stripe's id by which it is found."""
    receivables: tuple[tuple[int, str, int], ...]
    """Attempt, seller and amount, as they are listed."""
    transactions: tuple[Booked, ...] = ()
    calls: tuple[OpenCall, ...] = ()
    settlement: Settlement | None = None
    delivery: Delivery | None = None

    def balance_minor(self, account: Account, currency_code: str) -> int:
        """Return what an account comes to, of all its owners."""
        return sum(
            one.amount_minor
            for one in self.balances
            if one.place.account is account and one.place.currency_code == currency_code
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One object as Stripe shows it, and the same as it is mirrored: text for text where they agree."""

    stripe_id: str
    ours: str
    theirs: str
    """Empty where Stripe has none."""
    create_time: datetime | None = None
    """At Stripe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSeen:
    """One attempt beside what Stripe shows of it."""

    attempt: int
    stripe_id: str
    is_there: bool = True
    payment_id: str = ""
    """Whose Stripe's intent says it is; empty where it says none."""
    state: str = ""
    asked: str = ""
    amount: str = ""
    """What Stripe has; `asked` is what we asked for."""
    captured_minor: int = 0
    capturable_minor: int = 0
    state_here: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AtStripe:
    """What Stripe shows of a payment now, beside what is mirrored of it."""

    attempts: tuple[AttemptSeen, ...] = ()
    refunds: tuple[Seen, ...] = ()
    disputes: tuple[Seen, ...] = ()
    movements: tuple[Seen, ...] = ()
    refunded_minor: int = 0
    """Of the attempt that counts: given back, or on its way."""
    disputed_minor: int = 0
    """Of the attempt that counts: withdrawn by disputes."""
    problem: str = ""
    """Why it was not read, as a sentence; empty where it was."""
