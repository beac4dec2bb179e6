"""What each record says of a payment, as values; None where it has none of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from services.orchestrator.domain.payment import Observation, Snapshot
from services.orchestrator.domain.plan import Plan
from services.orchestrator.domain.price import Price
from services.shared.diagnosis import Disagreement, Keeper, Side


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a plan stands beside what it says: its lease, what is due, and what waits."""

    fence: int
    is_held: bool
    is_due: bool
    """Its time has come, and somebody takes it any moment."""
    has_due_time: bool
    """It is looked at again, sooner or later."""
    problem: str
    """What went wrong last; empty where nothing did."""
    open_requests: int
    refusals: tuple[tuple[str, str], ...]
    """Facts that status refused for good, and why."""
    claims: Mapping[str, str]
    """The payment that has each of its bookings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """One revision, as status keeps it."""

    revision: int
    state: str
    snapshot: Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A payment as status has it."""

    revision: int
    state: str
    snapshot: Snapshot
    total_minor: int
    currency_code: str
    payer_id: str
    seller_ids: tuple[str, ...]
    booking_ids: tuple[str, ...]
    client_reference: str
    quote_id: str
    open_time: datetime | None
    history: tuple[HistoryEntry, ...] | None = None
    """None where it is too long to be read, or was taken out in part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt, as the gateway was asked for it."""

    attempt: int
    amount_minor: int
    taken_minor: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examination:
    """What the gateway says of a payment, and where its own records disagree."""

    payment_id: str
    observation: Observation
    payer_id: str
    currency_code: str
    attempts: tuple[Attempt, ...]
    sides: tuple[Side, ...]
    disagreements: tuple[Disagreement, ...]
    is_moving: bool
    is_delivering: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """All that is known of a payment."""

    plan: Plan
    told: Snapshot
    """The plan's newest snapshot, as status is told it."""
    standing: Standing
    is_moving: bool
    """It moved while it was read: what disagrees may be a moment between two."""
    recorded: Recorded | None
    price: Price | None
    examination: Examination | None
    problems: Mapping[Keeper, str] = field(default_factory=dict)
    """Who did not answer, and why: of them nothing is concluded."""

    def answered(self, keeper: Keeper) -> bool:
        """Whether what is said of a keeper is what it has."""
        return keeper not in self.problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is known of a payment side by side, and where it disagrees."""

    payment_id: str
    is_moving: bool
    is_whole: bool = True
    """Everybody answered who keeps something of it, but for Stripe."""
    sides: tuple[Side, ...]
    disagreements: tuple[Disagreement, ...]
